// Scratch memory for JavaScript: part of addon.cc.
#ifndef SHOAL_ADDON_SCRATCH_H
#define SHOAL_ADDON_SCRATCH_H

#include <cerrno>
#include <cstring>

#include "addon_call.h"
#include "scratch/scratch.h"

namespace {

struct ScratchArea {
  uint8_t* bytes;
  size_t size;
};

// scratchMemory(path: string, size: number): Uint8Array | string (why not)
napi_value ScratchMemory(napi_env env, napi_callback_info info) {
  napi_value args[2];
  size_t count = 2, length;
  double size;
  char path[4096];
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 2 ||
      napi_get_value_string_utf8(env, args[0], path, sizeof path, &length) != napi_ok || length + 1 >= sizeof path ||
      napi_get_value_double(env, args[1], &size) != napi_ok || !Whole(size) || size < 1)
    return Refuse(env, "scratchMemory: a wrong argument");
  napi_value value, buffer;
  errno = ENOSYS;
  uint8_t* bytes = shoal_scratch_make(path, static_cast<size_t>(size));
  if (bytes == nullptr) return napi_create_string_utf8(env, strerror(errno), NAPI_AUTO_LENGTH, &value) == napi_ok ? value : nullptr;
  ScratchArea* area = new (std::nothrow) ScratchArea{bytes, static_cast<size_t>(size)};
  const auto release = [](napi_env, void*, void* hint) {
    ScratchArea* gone = static_cast<ScratchArea*>(hint);
    shoal_scratch_release(gone->bytes, gone->size);
    delete gone;
  };
  if (area == nullptr || napi_create_external_arraybuffer(env, bytes, area->size, release, area, &buffer) != napi_ok) {
    shoal_scratch_release(bytes, static_cast<size_t>(size));
    delete area;
    return Refuse(env, "scratchMemory: no memory");
  }
  return napi_create_typedarray(env, napi_uint8_array, static_cast<size_t>(size), buffer, 0, &value) == napi_ok ? value : nullptr;
}

// scratchKeepBelow(bytes: number): boolean
napi_value ScratchKeepBelow(napi_env env, napi_callback_info info) {
  napi_value args[1], value;
  size_t count = 1;
  double bytes;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 1 ||
      napi_get_value_double(env, args[0], &bytes) != napi_ok || !Whole(bytes))
    return Refuse(env, "scratchKeepBelow: a wrong argument");
  return napi_get_boolean(env, shoal_scratch_keep_below(static_cast<uint64_t>(bytes)) != 0, &value) == napi_ok ? value : nullptr;
}

// scratchCheck(): now, not when the thread that keeps it comes to run.
napi_value ScratchCheck(napi_env, napi_callback_info) {
  shoal_scratch_check();
  return nullptr;
}

}  // namespace
#endif
