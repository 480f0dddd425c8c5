// The one file that knows N-API. Each kernel lives in its own folder as pure C++ behind a C interface; here its
// functions are wrapped: arguments are checked, caller-owned buffers are passed through, nothing is kept.
#include <node_api.h>

#include "chunk/chunk.h"

namespace {

// Raised when an exported function changes meaning, so that a stale build is never mistaken for a current one.
constexpr int32_t kAbi = 2;

napi_value Abi(napi_env env, napi_callback_info) {
  napi_value value;
  return napi_create_int32(env, kAbi, &value) == napi_ok ? value : nullptr;
}

napi_value Refuse(napi_env env, const char* message) {
  napi_throw_range_error(env, "SHOAL_NATIVE", message);
  return nullptr;
}

// chunkCuts(data: Uint8Array, min, avg, max: number, final: boolean, cuts: Uint32Array, isa: number): number
// Synchronous: the caller keeps `data` to the few MiB that take less than a millisecond.
napi_value ChunkCuts(napi_env env, napi_callback_info info) {
  napi_value args[7];
  size_t count = 7;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 7) {
    return Refuse(env, "chunkCuts takes seven arguments");
  }
  napi_typedarray_type data_type, cuts_type;
  size_t size, capacity;
  void *data, *cuts;
  shoal_chunk_params params;
  bool final;
  int32_t isa;
  if (napi_get_typedarray_info(env, args[0], &data_type, &size, &data, nullptr, nullptr) != napi_ok ||
      data_type != napi_uint8_array ||
      napi_get_value_uint32(env, args[1], &params.min) != napi_ok ||
      napi_get_value_uint32(env, args[2], &params.avg) != napi_ok ||
      napi_get_value_uint32(env, args[3], &params.max) != napi_ok ||
      napi_get_value_bool(env, args[4], &final) != napi_ok ||
      napi_get_typedarray_info(env, args[5], &cuts_type, &capacity, &cuts, nullptr, nullptr) != napi_ok ||
      cuts_type != napi_uint32_array || napi_get_value_int32(env, args[6], &isa) != napi_ok) {
    return Refuse(env, "chunkCuts: an argument has the wrong type");
  }
  if (isa < SHOAL_CHUNK_SCALAR || isa > SHOAL_CHUNK_NEON) return Refuse(env, "chunkCuts: no such instruction set");
  const int64_t found =
      shoal_chunk_cuts(static_cast<shoal_chunk_isa>(isa), static_cast<const uint8_t*>(data), size, &params, final,
                       static_cast<uint32_t*>(cuts), capacity);
  switch (found) {
    case SHOAL_CHUNK_EPARAMS: return Refuse(env, "chunkCuts: parameters out of bounds");
    case SHOAL_CHUNK_ESIZE: return Refuse(env, "chunkCuts: too many bytes");
    case SHOAL_CHUNK_ECAPACITY: return Refuse(env, "chunkCuts: no room for the cuts");
    case SHOAL_CHUNK_EISA: return Refuse(env, "chunkCuts: this processor does not have that instruction set");
    default: break;
  }
  napi_value value;
  return napi_create_int64(env, found, &value) == napi_ok ? value : nullptr;
}

// chunkIsas(): number — bit n is set when instruction set n can run here.
napi_value ChunkIsas(napi_env env, napi_callback_info) {
  uint32_t bits = 0;
  for (uint32_t isa = SHOAL_CHUNK_SCALAR; isa <= SHOAL_CHUNK_NEON; isa++) {
    if (shoal_chunk_has(static_cast<shoal_chunk_isa>(isa))) bits |= 1u << isa;
  }
  napi_value value;
  return napi_create_uint32(env, bits, &value) == napi_ok ? value : nullptr;
}

bool Export(napi_env env, napi_value exports, const char* name, napi_callback function) {
  napi_value value;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value) == napi_ok &&
         napi_set_named_property(env, exports, name, value) == napi_ok;
}

}  // namespace

NAPI_MODULE_INIT() {
  if (!Export(env, exports, "abi", Abi) || !Export(env, exports, "chunkCuts", ChunkCuts) ||
      !Export(env, exports, "chunkIsas", ChunkIsas)) {
    napi_throw_error(env, "SHOAL_NATIVE", "cannot register the native kernels");
    return nullptr;
  }
  return exports;
}
