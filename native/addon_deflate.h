// The deflate kernel for JavaScript: part of addon.cc.
#ifndef SHOAL_ADDON_DEFLATE_H
#define SHOAL_ADDON_DEFLATE_H

#include "addon_call.h"
#include "deflate/deflate.h"

namespace {

static_assert(SHOAL_DEFLATE_OK == kDone, "the deflate kernel returns another status when nothing is wrong");

struct DeflateWork : Work {
  std::vector<shoal_deflate_stream> streams;
  uint32_t* made;
  void run() override {
    status = shoal_deflate(streams.data(), streams.size());
    if (status != SHOAL_DEFLATE_OK) return;
    for (size_t i = 0; i < streams.size(); i++) made[i] = streams[i].made;
  }
  napi_value result(napi_env) override { return nullptr; }
};

// deflateStreams(data: Uint8Array, sizes: Uint32Array, out: Uint8Array, rooms: Uint32Array, settings: Uint8Array,
//   made: Uint32Array): Promise<number>
napi_value DeflateStreams(napi_env env, napi_callback_info info) {
  napi_value args[6];
  size_t count = 6, size, capacity, streams, rooms, settings, makes;
  const uint8_t *data, *setting;
  uint8_t* out;
  const uint32_t *sizes, *room;
  uint32_t* made;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 6 ||
      !Array(env, args[0], napi_uint8_array, &data, &size) || !Array(env, args[1], napi_uint32_array, &sizes, &streams) ||
      !Array(env, args[2], napi_uint8_array, &out, &capacity) || !Array(env, args[3], napi_uint32_array, &room, &rooms) ||
      !Array(env, args[4], napi_uint8_array, &setting, &settings) || !Array(env, args[5], napi_uint32_array, &made, &makes) ||
      rooms != streams || settings != streams || makes != streams)
    return Refuse(env, "deflateStreams: a wrong argument");
  DeflateWork* work = new (std::nothrow) DeflateWork;
  if (work == nullptr) return Refuse(env, "no memory");
  work->made = made;
  uint64_t from = 0, to = 0;
  for (size_t i = 0; i < streams; i++) {
    if (sizes[i] > size - from || room[i] > capacity - to) {
      delete work;
      return Refuse(env, "deflateStreams: the streams leave the buffers");
    }
    work->streams.push_back({data + from, out + to, sizes[i], room[i], 0, static_cast<uint8_t>(setting[i] & 15),
                             static_cast<uint8_t>(setting[i] >> 4)});
    from += sizes[i];
    to += room[i];
  }
  const napi_value held[3] = {args[0], args[2], args[5]};
  return Start(env, work, held, 3);
}

}  // namespace
#endif
