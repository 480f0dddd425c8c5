// How addon.cc and addon_delta.h take arguments, refuse them, and do work on a thread of the pool.
#ifndef SHOAL_ADDON_CALL_H
#define SHOAL_ADDON_CALL_H

#include <node_api.h>

#include <new>
#include <vector>

namespace {

napi_value Refuse(napi_env env, const char* message) {
  napi_throw_range_error(env, "SHOAL_NATIVE", message);
  return nullptr;
}

// What every kernel returns when nothing is wrong.
constexpr int32_t kDone = 0;

// A call on a thread of the pool: what it needs, what it made, and the promise its caller waits for. The buffers it was
// given are referenced until it is done.
struct Work {
  napi_deferred deferred = nullptr;
  napi_async_work work = nullptr;
  std::vector<napi_ref> held;
  int32_t status = kDone;
  virtual void run() = 0;
  virtual napi_value result(napi_env env) = 0;
  virtual ~Work() = default;
};

napi_value Start(napi_env env, Work* work, const napi_value* buffers, size_t count) {
  for (size_t i = 0; i < count; i++) {
    napi_ref ref;
    if (napi_create_reference(env, buffers[i], 1, &ref) == napi_ok) work->held.push_back(ref);
  }
  napi_value promise, name;
  const bool started =
      work->held.size() == count && napi_create_promise(env, &work->deferred, &promise) == napi_ok &&
      napi_create_string_utf8(env, "shoal", NAPI_AUTO_LENGTH, &name) == napi_ok &&
      napi_create_async_work(
          env, nullptr, name, [](napi_env, void* data) { static_cast<Work*>(data)->run(); },
          [](napi_env done, napi_status, void* data) {
            Work* self = static_cast<Work*>(data);
            napi_value value = nullptr;
            if (self->status == kDone) value = self->result(done);
            if (value == nullptr) napi_create_int32(done, self->status, &value);
            napi_resolve_deferred(done, self->deferred, value);
            for (napi_ref ref : self->held) napi_delete_reference(done, ref);
            napi_delete_async_work(done, self->work);
            delete self;
          },
          work, &work->work) == napi_ok &&
      napi_queue_async_work(env, work->work) == napi_ok;
  if (started) return promise;
  for (napi_ref ref : work->held) napi_delete_reference(env, ref);
  delete work;
  return Refuse(env, "cannot start the work");
}

template <typename T>
bool Array(napi_env env, napi_value value, napi_typedarray_type type, T** data, size_t* length) {
  napi_typedarray_type found;
  void* bytes;
  if (napi_get_typedarray_info(env, value, &found, length, &bytes, nullptr, nullptr) != napi_ok || found != type)
    return false;
  *data = static_cast<T*>(bytes);
  return true;
}

bool Whole(double value) { return value >= 0 && value <= 9007199254740991.0; }

napi_value Doubles(napi_env env, const std::vector<double>& values) {
  void* data;
  napi_value buffer, array;
  if (napi_create_arraybuffer(env, values.size() * sizeof(double), &data, &buffer) != napi_ok) return nullptr;
  for (size_t i = 0; i < values.size(); i++) static_cast<double*>(data)[i] = values[i];
  return napi_create_typedarray(env, napi_float64_array, values.size(), buffer, 0, &array) == napi_ok ? array : nullptr;
}

}  // namespace
#endif
