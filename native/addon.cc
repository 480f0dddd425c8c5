// The one file that knows N-API. Each kernel lives in its own folder as pure C++ behind a C interface; here its
// functions are wrapped: arguments are checked, caller-owned buffers are passed through, nothing is kept.
#include <node_api.h>

namespace {

// Raised when an exported function changes meaning, so that a stale build is never mistaken for a current one.
constexpr int32_t kAbi = 1;

napi_value Abi(napi_env env, napi_callback_info) {
  napi_value value;
  return napi_create_int32(env, kAbi, &value) == napi_ok ? value : nullptr;
}

bool Export(napi_env env, napi_value exports, const char* name, napi_callback function) {
  napi_value value;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value) == napi_ok &&
         napi_set_named_property(env, exports, name, value) == napi_ok;
}

}  // namespace

NAPI_MODULE_INIT() {
  if (!Export(env, exports, "abi", Abi)) {
    napi_throw_error(env, "SHOAL_NATIVE", "cannot register the native kernels");
    return nullptr;
  }
  return exports;
}
