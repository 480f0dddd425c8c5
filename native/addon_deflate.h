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
  void* memory;
  size_t memorySize;
  void run() override {
    status = shoal_deflate(streams.data(), streams.size(), memory, memorySize);
    if (status != SHOAL_DEFLATE_OK) return;
    for (size_t i = 0; i < streams.size(); i++) made[i] = streams[i].made;
  }
  napi_value result(napi_env) override { return nullptr; }
};

// deflateStreams(data: Uint8Array, sizes: Uint32Array, out: Uint8Array, rooms: Uint32Array, settings: Uint16Array,
//   made: Uint32Array, work: Uint8Array): Promise<number>. A setting is level + 16 * memory level + 256 with zlib's head and checksum, + 512 as
//   GNU gzip.
napi_value DeflateStreams(napi_env env, napi_callback_info info) {
  napi_value args[7];
  size_t count = 7, size, capacity, streams, rooms, settings, makes, works;
  const uint8_t* data;
  const uint16_t* setting;
  uint8_t *out, *memory;
  const uint32_t *sizes, *room;
  uint32_t* made;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 7 ||
      !Array(env, args[0], napi_uint8_array, &data, &size) || !Array(env, args[1], napi_uint32_array, &sizes, &streams) ||
      !Array(env, args[2], napi_uint8_array, &out, &capacity) || !Array(env, args[3], napi_uint32_array, &room, &rooms) ||
      !Array(env, args[4], napi_uint16_array, &setting, &settings) || !Array(env, args[5], napi_uint32_array, &made, &makes) ||
      !Array(env, args[6], napi_uint8_array, &memory, &works) || rooms != streams || settings != streams || makes != streams)
    return Refuse(env, "deflateStreams: a wrong argument");
  DeflateWork* work = new (std::nothrow) DeflateWork;
  if (work == nullptr) return Refuse(env, "no memory");
  work->made = made;
  work->memory = memory;
  work->memorySize = works;
  uint64_t from = 0, to = 0;
  for (size_t i = 0; i < streams; i++) {
    if (sizes[i] > size - from || room[i] > capacity - to) {
      delete work;
      return Refuse(env, "deflateStreams: the streams leave the buffers");
    }
    work->streams.push_back({data + from, out + to, sizes[i], room[i], 0, static_cast<uint8_t>(setting[i] & 15),
                             static_cast<uint8_t>(setting[i] >> 4 & 15), static_cast<uint8_t>(setting[i] >> 8 & 1), static_cast<uint8_t>(setting[i] >> 9 & 1)});
    from += sizes[i];
    to += room[i];
  }
  const napi_value held[4] = {args[0], args[2], args[5], args[6]};
  return Start(env, work, held, 4);
}

struct InflateWork : Work {
  const uint8_t* data;
  uint8_t* out;
  size_t size, held;
  void run() override { status = shoal_inflate(data, size, out, held); }
  napi_value result(napi_env) override { return nullptr; }
};

// inflate(data: Uint8Array, out: Uint8Array, later: boolean): number | Promise<number>
napi_value Inflate(napi_env env, napi_callback_info info) {
  napi_value args[3];
  size_t count = 3, size, held;
  const uint8_t* data;
  uint8_t* out;
  bool later;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 3 ||
      !Array(env, args[0], napi_uint8_array, &data, &size) || !Array(env, args[1], napi_uint8_array, &out, &held) ||
      napi_get_value_bool(env, args[2], &later) != napi_ok || held > SHOAL_DEFLATE_MOST)
    return Refuse(env, "inflate: a wrong argument");
  if (later) {
    InflateWork* work = new (std::nothrow) InflateWork;
    if (work == nullptr) return Refuse(env, "no memory");
    work->data = data;
    work->out = out;
    work->size = size;
    work->held = held;
    return Start(env, work, args, 2);
  }
  napi_value value;
  return napi_create_int32(env, shoal_inflate(data, size, out, held), &value) == napi_ok ? value : nullptr;
}

// inflateFirst(data: Uint8Array, out: Uint8Array, zlib: boolean, found: Uint32Array): number. `found` has two entries.
napi_value InflateFirst(napi_env env, napi_callback_info info) {
  napi_value args[4];
  size_t count = 4, size, room, founds, used = 0, held = 0;
  const uint8_t* data;
  uint8_t* out;
  uint32_t* found;
  bool zlib;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 4 ||
      !Array(env, args[0], napi_uint8_array, &data, &size) || !Array(env, args[1], napi_uint8_array, &out, &room) ||
      napi_get_value_bool(env, args[2], &zlib) != napi_ok || !Array(env, args[3], napi_uint32_array, &found, &founds) || founds != 2 ||
      size > UINT32_MAX || room > SHOAL_DEFLATE_MOST)
    return Refuse(env, "inflateFirst: a wrong argument");
  const int32_t status = shoal_inflate_first(data, size, out, room, zlib, &used, &held);
  if (status == SHOAL_DEFLATE_OK) {
    found[0] = static_cast<uint32_t>(used);
    found[1] = static_cast<uint32_t>(held);
  }
  napi_value value;
  return napi_create_int32(env, status, &value) == napi_ok ? value : nullptr;
}

}  // namespace
#endif
