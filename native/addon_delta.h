// The delta kernels for JavaScript: part of addon.cc.
#ifndef SHOAL_ADDON_DELTA_H
#define SHOAL_ADDON_DELTA_H

#include <cstring>

#include "addon_call.h"
#include "delta/delta.h"
#include "delta/plan.h"
#include "scratch/scratch.h"

namespace {

static_assert(SHOAL_DELTA_OK == kDone, "the delta kernels return another status when nothing is wrong");

struct PageWork : Work {
  const uint8_t* page;
  size_t size;
  uint64_t begin, end, base;
  std::vector<shoal_delta_cover> covers;
  void run() override {
    status = shoal_delta_decode_page(page, size, begin, end, base, covers.data(), covers.size());
  }
  napi_value result(napi_env env) override {
    std::vector<double> out;
    out.reserve(covers.size() * 4);
    for (const shoal_delta_cover& c : covers) {
      // As in src/delta/types.ts: a run's byte, -1 for base bytes, -2 for a table.
      const bool runs = c.base >> 63, table = c.base >> 62 & 1;
      const uint64_t base = c.base & ~(uint64_t{3} << 62);
      out.insert(out.end(), {static_cast<double>(c.target), static_cast<double>(c.length),
                             runs ? 0 : static_cast<double>(base),
                             runs ? static_cast<double>(base & 0xFF) : table ? -2.0 : -1.0});
    }
    return Doubles(env, out);
  }
};

// deltaDecodePage(page: Uint8Array, begin, end, baseSize, covers: number): Promise<Float64Array | number>
napi_value DeltaDecodePage(napi_env env, napi_callback_info info) {
  napi_value args[5];
  size_t count = 5;
  double begin, end, base;
  uint32_t covers;
  const uint8_t* page;
  size_t size;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 5 ||
      !Array(env, args[0], napi_uint8_array, &page, &size) || napi_get_value_double(env, args[1], &begin) != napi_ok ||
      napi_get_value_double(env, args[2], &end) != napi_ok || napi_get_value_double(env, args[3], &base) != napi_ok ||
      napi_get_value_uint32(env, args[4], &covers) != napi_ok || !Whole(begin) || !Whole(end) || !Whole(base) ||
      covers > SHOAL_DELTA_MAX_PAGE_COVERS)
    return Refuse(env, "deltaDecodePage: a wrong argument");
  PageWork* started = new (std::nothrow) PageWork;
  if (started == nullptr) return Refuse(env, "no memory");
  started->page = page;
  started->size = size;
  started->begin = static_cast<uint64_t>(begin);
  started->end = static_cast<uint64_t>(end);
  started->base = static_cast<uint64_t>(base);
  started->covers.resize(covers);
  return Start(env, started, args, 1);
}

napi_value Words(napi_env env, const std::vector<uint32_t>& values) {
  void* data;
  napi_value buffer, array;
  if (napi_create_arraybuffer(env, values.size() * 4, &data, &buffer) != napi_ok) return nullptr;
  for (size_t i = 0; i < values.size(); i++) static_cast<uint32_t*>(data)[i] = values[i];
  return napi_create_typedarray(env, napi_uint32_array, values.size(), buffer, 0, &array) == napi_ok ? array : nullptr;
}

struct PlanWork : Work {
  const double* covers;
  size_t count, size;
  uint64_t begin;
  uint8_t* into;
  shoal::delta::Plan plan;
  void run() override {
    shoal_scratch_check();
    if (!shoal::delta::makePlan(covers, count, begin, into, size, plan)) status = SHOAL_DELTA_BAD_ARGUMENT;
  }
  napi_value result(napi_env env) override {
    const napi_value parts[3] = {Words(env, plan.pieces), Doubles(env, plan.reads), Words(env, plan.copies)};
    napi_value list;
    if (napi_create_array_with_length(env, 3, &list) != napi_ok) return nullptr;
    for (uint32_t i = 0; i < 3; i++)
      if (parts[i] == nullptr || napi_set_element(env, list, i, parts[i]) != napi_ok) return nullptr;
    return list;
  }
};

// deltaPlan(covers: Float64Array, begin: number, into: Uint8Array): Promise<[pieces: Uint32Array, reads: Float64Array, copies: Uint32Array] | number>
napi_value DeltaPlan(napi_env env, napi_callback_info info) {
  napi_value args[3];
  size_t count = 3, numbers, size;
  const double* covers;
  double begin;
  uint8_t* into;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 3 ||
      !Array(env, args[0], napi_float64_array, &covers, &numbers) || numbers % 4 != 0 ||
      napi_get_value_double(env, args[1], &begin) != napi_ok || !Whole(begin) ||
      !Array(env, args[2], napi_uint8_array, &into, &size) || size > SHOAL_DELTA_MAX_SEGMENT)
    return Refuse(env, "deltaPlan: a wrong argument");
  PlanWork* work = new (std::nothrow) PlanWork;
  if (work == nullptr) return Refuse(env, "no memory");
  work->covers = covers;
  work->count = numbers / 4;
  work->begin = static_cast<uint64_t>(begin);
  work->into = into;
  work->size = size;
  const napi_value held[2] = {args[0], args[2]};
  return Start(env, work, held, 2);
}

// deltaCopy(window: Uint8Array, into: Uint8Array, copies: Uint32Array, from, to: number): the copies of a plan from number `from` up to `to`.
napi_value DeltaCopy(napi_env env, napi_callback_info info) {
  napi_value args[5];
  size_t count = 5, have, room, numbers;
  const uint8_t* window;
  uint8_t* into;
  const uint32_t* copies;
  uint32_t from, to;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 5 ||
      !Array(env, args[0], napi_uint8_array, &window, &have) || !Array(env, args[1], napi_uint8_array, &into, &room) ||
      !Array(env, args[2], napi_uint32_array, &copies, &numbers) || napi_get_value_uint32(env, args[3], &from) != napi_ok ||
      napi_get_value_uint32(env, args[4], &to) != napi_ok || to > numbers || from > to || (to - from) % 3 != 0)
    return Refuse(env, "deltaCopy: a wrong argument");
  for (uint32_t i = from; i < to; i += 3) {
    const uint64_t source = copies[i], place = copies[i + 1], length = copies[i + 2];
    if (source + length > have || place + length > room) return Refuse(env, "deltaCopy: out of bounds");
    memmove(into + place, window + source, length);
  }
  return nullptr;
}

// What deltaShifts returns, and deltaDecodeSegment takes.
constexpr napi_type_tag kShiftsTag = {0x5d0a1b3c9e6f4782ull, 0x8c41f7e2a95b3d60ull};

struct ShiftsWork : Work {
  uint64_t base;
  std::vector<shoal_delta_cover> covers;
  shoal_delta_shifts* made = nullptr;
  void run() override {
    made = shoal_delta_shifts_make(covers.data(), covers.size(), base);
    if (made == nullptr) status = SHOAL_DELTA_NO_MEMORY;
  }
  napi_value result(napi_env env) override {
    napi_value value;
    if (napi_create_external(env, made, [](napi_env, void* data, void*) { shoal_delta_shifts_release(static_cast<shoal_delta_shifts*>(data)); }, nullptr, &value) != napi_ok) {
      shoal_delta_shifts_release(made);
      return nullptr;
    }
    return napi_type_tag_object(env, value, &kShiftsTag) == napi_ok ? value : nullptr;
  }
};

// deltaShifts(pages: Float64Array[], baseSize: number): Promise<External | number>
napi_value DeltaShifts(napi_env env, napi_callback_info info) {
  napi_value args[2];
  size_t count = 2;
  uint32_t pages;
  double base;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 2 ||
      napi_get_array_length(env, args[0], &pages) != napi_ok || napi_get_value_double(env, args[1], &base) != napi_ok || !Whole(base))
    return Refuse(env, "deltaShifts: a wrong argument");
  ShiftsWork* work = new (std::nothrow) ShiftsWork;
  if (work == nullptr) return Refuse(env, "no memory");
  work->base = static_cast<uint64_t>(base);
  for (uint32_t i = 0; i < pages; i++) {
    napi_value page;
    const double* numbers;
    size_t size;
    bool right = napi_get_element(env, args[0], i, &page) == napi_ok && Array(env, page, napi_float64_array, &numbers, &size) && size % 4 == 0 &&
                 work->covers.size() + size / 4 <= SHOAL_DELTA_MAX_MAP_COVERS;
    for (size_t k = 0; right && k < size; k += 4) {
      // As deltaDecodePage wrote them.
      const double *c = numbers + k, fill = c[3];
      right = Whole(c[0]) && Whole(c[1]) && Whole(c[2]) && c[2] <= base && c[1] <= base - c[2];
      if (fill < 0) work->covers.push_back({static_cast<uint64_t>(c[0]), static_cast<uint64_t>(c[2]), static_cast<uint64_t>(c[1])});
      else right = Whole(c[0]) && Whole(c[1]);
    }
    if (right) continue;
    delete work;
    return Refuse(env, "deltaShifts: a wrong argument");
  }
  return Start(env, work, args, 1);
}

struct SegmentWork : Work {
  const shoal_delta_shifts* shifts = nullptr;
  uint32_t codec, origin;
  const uint8_t* payload;
  uint8_t* buffer;
  size_t payloadSize, size;
  std::vector<shoal_delta_piece> pieces;
  void run() override {
    // Comparing what is made with the target, and what the next one reads, lies between two calls.
    shoal_scratch_check();
    status = shoal_delta_decode_segment(codec, payload, payloadSize, buffer, size, origin, pieces.data(), pieces.size(), shifts);
  }
  napi_value result(napi_env) override { return nullptr; }
};

// Of its arguments the first six.
bool ReadSegment(napi_env env, const napi_value* args, SegmentWork& work) {
  size_t words;
  napi_valuetype type;
  void* shifts = nullptr;
  bool tagged = false;
  const uint32_t* pieces;
  if (napi_get_value_uint32(env, args[0], &work.codec) != napi_ok || !Array(env, args[1], napi_uint8_array, &work.payload, &work.payloadSize) ||
      !Array(env, args[2], napi_uint8_array, &work.buffer, &work.size) || napi_get_value_uint32(env, args[3], &work.origin) != napi_ok ||
      !Array(env, args[4], napi_uint32_array, &pieces, &words) || words % 4 != 0 || work.size > SHOAL_DELTA_MAX_SEGMENT ||
      napi_typeof(env, args[5], &type) != napi_ok ||
      (type == napi_external && (napi_check_object_type_tag(env, args[5], &kShiftsTag, &tagged) != napi_ok || !tagged ||
                                 napi_get_value_external(env, args[5], &shifts) != napi_ok)))
    return false;
  for (size_t i = 0; i < words; i += 4)
    work.pieces.push_back({pieces[i], pieces[i + 1], pieces[i + 2] | static_cast<uint64_t>(pieces[i + 3]) << 32});
  work.shifts = static_cast<const shoal_delta_shifts*>(shifts);
  return true;
}

// deltaDecodeSegment(codec, payload: Uint8Array, buffer: Uint8Array, origin, pieces: Uint32Array, shifts: External | undefined): Promise<number>
napi_value DeltaDecodeSegment(napi_env env, napi_callback_info info) {
  napi_value args[6];
  size_t count = 6;
  SegmentWork* work = new (std::nothrow) SegmentWork;
  if (work == nullptr) return Refuse(env, "no memory");
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 6 || !ReadSegment(env, args, *work)) {
    delete work;
    return Refuse(env, "deltaDecodeSegment: a wrong argument");
  }
  const napi_value held[3] = {args[1], args[2], args[5]};
  return Start(env, work, held, work->shifts == nullptr ? 2 : 3);
}

struct SpentWork : Work {
  SegmentWork segment;
  const uint8_t* target = nullptr;
  std::vector<uint32_t> ends;
  std::vector<double> bits;
  void run() override {
    uint64_t rules = 0;
    bits.resize(4 * ends.size());
    status = shoal_delta_spent(segment.codec, segment.payload, segment.payloadSize, segment.buffer, target, segment.size, segment.origin,
                               segment.pieces.data(), segment.pieces.size(), segment.shifts, ends.data(), ends.size(), bits.data(), &rules);
    bits.push_back(static_cast<double>(8 * rules));
  }
  napi_value result(napi_env env) override { return Doubles(env, bits); }
};

// deltaSpent(codec, payload, buffer: Uint8Array, origin, pieces: Uint32Array, shifts: External | undefined, target: Uint8Array,
//   ends: Uint32Array): Promise<Float64Array | number>
napi_value DeltaSpent(napi_env env, napi_callback_info info) {
  napi_value args[8];
  size_t count = 8, targetSize, endCount;
  const uint8_t* target;
  const uint32_t* ends;
  SpentWork* work = new (std::nothrow) SpentWork;
  if (work == nullptr) return Refuse(env, "no memory");
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 8 || !ReadSegment(env, args, work->segment) ||
      !Array(env, args[6], napi_uint8_array, &target, &targetSize) || targetSize != work->segment.size ||
      !Array(env, args[7], napi_uint32_array, &ends, &endCount)) {
    delete work;
    return Refuse(env, "deltaSpent: a wrong argument");
  }
  work->target = target;
  work->ends.assign(ends, ends + endCount);
  const napi_value held[4] = {args[1], args[2], args[6], args[5]};
  return Start(env, work, held, work->segment.shifts == nullptr ? 3 : 4);
}

struct EncodeWork : Work {
  const uint8_t *base, *target;
  size_t baseSize, targetSize;
  std::vector<uint64_t> begins, ends, units, skips;
  std::vector<shoal_delta_stream> streams;
  shoal_delta_options options = {};
  shoal_delta_result made = {};
  void run() override {
    status = shoal_delta_encode(base, baseSize, target, targetSize, ends.data(), ends.size(), &options, &made);
  }
  static napi_value copied(napi_env env, const uint8_t* bytes, size_t size) {
    void* data;
    napi_value buffer, array;
    if (napi_create_arraybuffer(env, size, &data, &buffer) != napi_ok) return nullptr;
    for (size_t i = 0; i < size; i++) static_cast<uint8_t*>(data)[i] = bytes[i];
    return napi_create_typedarray(env, napi_uint8_array, size, buffer, 0, &array) == napi_ok ? array : nullptr;
  }
  napi_value result(napi_env env) override {
    std::vector<double> segments, pages;
    for (size_t i = 0; i < made.segment_count; i++) {
      const shoal_delta_segment& s = made.segments[i];
      segments.insert(segments.end(), {static_cast<double>(s.target_begin), static_cast<double>(s.target_end),
                                       static_cast<double>(s.payload_offset), static_cast<double>(s.payload_size),
                                       static_cast<double>(s.codec), static_cast<double>(s.page)});
    }
    for (size_t i = 0; i < made.page_count; i++) {
      const shoal_delta_page& p = made.pages[i];
      pages.insert(pages.end(), {static_cast<double>(p.target_begin), static_cast<double>(p.target_end),
                                 static_cast<double>(p.offset), static_cast<double>(p.size),
                                 static_cast<double>(p.covers)});
    }
    const napi_value parts[4] = {Doubles(env, segments), Doubles(env, pages),
                                 copied(env, made.payloads, made.payload_size), copied(env, made.map, made.map_size)};
    shoal_delta_release(&made);
    napi_value list;
    if (napi_create_array_with_length(env, 4, &list) != napi_ok) return nullptr;
    for (uint32_t i = 0; i < 4; i++)
      if (parts[i] == nullptr || napi_set_element(env, list, i, parts[i]) != napi_ok) return nullptr;
    return list;
  }
};

// deltaEncode(base, target: Uint8Array, ends, units: Float64Array, memoryCap, segmentPayload, threads: number, control: BigUint64Array,
//   begins, streams: Float64Array, plain: boolean, skips: Float64Array, lookBack: boolean): Promise<[segments, pages: Float64Array, payloads, map: Uint8Array] | number>
// control[0]: progress, of about 3 * target bytes; control[1]: not 0 cancels. begins: one for each end, where there are units.
// streams: at, held, size of each. plain: bytes alone. lookBack: covers may show earlier segments, behind the base's end. skips: begins and ends of base bytes that are left out of the index, by turns.
napi_value DeltaEncode(napi_env env, napi_callback_info info) {
  napi_value args[13];
  size_t count = 13, baseSize, targetSize, endCount, unitCount, controls, beginCount, streamNumbers, skipCount;
  const uint8_t *base, *target;
  const double *ends, *units, *begins, *streams, *skips;
  double cap;
  uint32_t payload, threads;
  bool plain, lookBack;
  uint64_t* control;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 13 || napi_get_value_bool(env, args[12], &lookBack) != napi_ok ||
      !Array(env, args[0], napi_uint8_array, &base, &baseSize) ||
      !Array(env, args[1], napi_uint8_array, &target, &targetSize) ||
      !Array(env, args[2], napi_float64_array, &ends, &endCount) ||
      !Array(env, args[3], napi_float64_array, &units, &unitCount) || napi_get_value_double(env, args[4], &cap) != napi_ok ||
      !Whole(cap) || napi_get_value_uint32(env, args[5], &payload) != napi_ok ||
      napi_get_value_uint32(env, args[6], &threads) != napi_ok ||
      !Array(env, args[7], napi_biguint64_array, &control, &controls) || controls < 2 ||
      !Array(env, args[8], napi_float64_array, &begins, &beginCount) || !Array(env, args[9], napi_float64_array, &streams, &streamNumbers) ||
      beginCount != (unitCount == 0 ? 0 : endCount) || streamNumbers % 3 != 0 || napi_get_value_bool(env, args[10], &plain) != napi_ok ||
      !Array(env, args[11], napi_float64_array, &skips, &skipCount) || skipCount % 2 != 0)
    return Refuse(env, "deltaEncode: a wrong argument");
  EncodeWork* work = new (std::nothrow) EncodeWork;
  if (work == nullptr) return Refuse(env, "no memory");
  work->base = base;
  work->baseSize = baseSize;
  work->target = target;
  work->targetSize = targetSize;
  auto whole = [](double v) { return Whole(v) ? static_cast<uint64_t>(v) : 0; };
  for (size_t i = 0; i < endCount; i++) work->ends.push_back(whole(ends[i]));
  for (size_t i = 0; i < unitCount; i++) work->units.push_back(whole(units[i]));
  for (size_t i = 0; i < beginCount; i++) work->begins.push_back(whole(begins[i]));
  for (size_t i = 0; i < streamNumbers; i += 3) work->streams.push_back({whole(streams[i]), whole(streams[i + 1]), whole(streams[i + 2])});
  for (size_t i = 0; i < skipCount; i++) work->skips.push_back(whole(skips[i]));
  work->options.skips = work->skips.data();
  work->options.skip_count = work->skips.size();
  work->options.span_begins = work->begins.data();
  work->options.unit_spans = work->units.data();
  work->options.unit_count = work->units.size();
  work->options.streams = work->streams.data();
  work->options.stream_count = work->streams.size();
  work->options.memory_cap = static_cast<uint64_t>(cap);
  work->options.segment_payload = payload;
  work->options.threads = threads;
  work->options.plain = plain ? 1 : 0;
  work->options.look_back = lookBack ? 1 : 0;
  work->options.progress = control;
  work->options.cancel = reinterpret_cast<const volatile uint32_t*>(control + 1);
  const napi_value held[3] = {args[0], args[1], args[7]};
  return Start(env, work, held, 3);
}

}  // namespace
#endif
