// Fuzzes the delta decoders, and the round trip on small inputs: guided by coverage with libFuzzer (SHOAL_LIBFUZZER), from a
// seed alone where there is none (./a.out SECONDS [SEED]). `npm run fuzz` builds and runs it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include "../delta/delta.h"
#include "delta_inputs.h"

namespace {

constexpr uint64_t kMarks = uint64_t{3} << 62;  // what a cover's source is (delta.h)

uint32_t kindOf(const shoal_delta_cover& c) {
  return c.base >> 63 ? SHOAL_DELTA_FILL : c.base >> 62 ? SHOAL_DELTA_TABLE : SHOAL_DELTA_BASE;
}

void fuzzPage(Input in) {
  // In one order whatever the compiler: seeds (tools/fuzz.ts) are written for it.
  const uint64_t begin = in.next32(), length = in.next32(), shift = in.next() % 32, base = in.next32();
  const uint64_t end = begin + (length >> shift);
  std::vector<shoal_delta_cover> covers(in.next() * 4);
  const int32_t status = shoal_delta_decode_page(in.rest(), in.left(), begin, end, base, covers.data(), covers.size());
  if (status != SHOAL_DELTA_OK) return;
  uint64_t at = begin;
  for (const auto& c : covers) {
    require(c.target >= at && c.length > 0 && c.length <= end - c.target && c.target <= end, "a cover leaves its page");
    const uint64_t from = c.base & ~kMarks;
    if (!(c.base >> 63)) require(from <= base && c.length <= base - from, "a cover leaves the base");
    at = c.target + c.length;
  }
}

void fuzzSegment(Input in) {
  std::vector<shoal_delta_piece> pieces;
  std::vector<shoal_delta_cover> covers;
  size_t size = 0;
  for (uint32_t n = in.next() % 16; n > 0; n--) {
    uint32_t length = in.next();
    length |= (in.next() % 32) << 8;
    const uint32_t kind = in.next() % 4, from = in.next();
    // Some lie behind the base's end, as what comes from earlier segments does, or at it.
    pieces.push_back({length, kind, from < 199 ? from : from * 200});
    if (kind == SHOAL_DELTA_BASE && from < 199) covers.push_back({size + from * 3, from, length});
    size += length;
  }
  const uint32_t codec = in.next() % 5;
  size += in.next() == 77;
  std::vector<uint8_t> buffer(size);
  for (auto& b : buffer) b = static_cast<uint8_t>(&b - buffer.data());
  const uint32_t origin = in.next32();
  shoal_delta_shifts* shifts = shoal_delta_shifts_make(covers.data(), covers.size(), 40000);
  (void)shoal_delta_decode_segment(codec, in.rest(), in.left(), buffer.data(), size, origin, pieces.data(), pieces.size(), shifts);
  shoal_delta_shifts_release(shifts);
}

// Decodes a segment; `place` is where its payload says that it lies.
void rebuild(const shoal_delta_result& r, const shoal_delta_segment& s, const std::vector<shoal_delta_cover>& covers, const std::vector<uint8_t>& base,
           uint64_t place, const shoal_delta_shifts* shifts, std::vector<uint8_t>& buffer) {
  buffer.assign(s.target_end - s.target_begin, 0);
  std::vector<shoal_delta_piece> pieces;
  uint64_t at = s.target_begin;
  for (const auto& c : covers) {
    const uint64_t from = std::max(s.target_begin, c.target), to = std::min(s.target_end, c.target + c.length);
    if (from >= to) continue;
    if (from > at) pieces.push_back({static_cast<uint32_t>(from - at), SHOAL_DELTA_LITERAL, 0});
    for (uint64_t k = from; k < to; k++)
      buffer[k - s.target_begin] = c.base >> 63 ? static_cast<uint8_t>(c.base) : base[(c.base & ~kMarks) + (k - c.target)];
    pieces.push_back({static_cast<uint32_t>(to - from), kindOf(c),
                      c.base >> 63 ? 0 : (c.base & ~kMarks) + (from - c.target)});
    at = to;
  }
  if (at < s.target_end) pieces.push_back({static_cast<uint32_t>(s.target_end - at), SHOAL_DELTA_LITERAL, 0});
  require(shoal_delta_decode_segment(s.codec, r.payloads + s.payload_offset, s.payload_size, buffer.data(),
                                     buffer.size(), static_cast<uint32_t>(place), pieces.data(), pieces.size(), shifts) == SHOAL_DELTA_OK, "segment");
}

void fuzzRoundTrip(Input in) {
  std::vector<uint8_t> base, target;
  pair(in, base, target);
  std::vector<uint64_t> ends;
  for (uint64_t at = 0; at < target.size();) ends.push_back(at = std::min<uint64_t>(target.size(), at + 20000));
  shoal_delta_options options = {};
  options.threads = 1;
  options.segment_payload = 1000;
  const uint8_t cap = in.next();
  options.memory_cap = static_cast<uint64_t>(cap) << 8;
  options.look_back = cap & 1;
  shoal_delta_result r;
  require(shoal_delta_encode(base.data(), base.size(), target.data(), target.size(), ends.data(), ends.size(), &options,
                             &r) == SHOAL_DELTA_OK, "encode");
  uint64_t done = 0;
  const uint64_t reach = base.size() + (options.look_back ? target.size() : 0);
  std::vector<shoal_delta_cover> all;
  for (size_t i = 0; i < r.page_count; i++) {
    const auto& p = r.pages[i];
    std::vector<shoal_delta_cover> covers(p.covers);
    require(shoal_delta_decode_page(r.map + p.offset, p.size, p.target_begin, p.target_end, reach, covers.data(), p.covers) == SHOAL_DELTA_OK, "page");
    for (const auto& c : covers) {
      const uint64_t from = c.base & ~kMarks;
      require(c.base >> 63 || from >= base.size() || from + c.length <= base.size(), "a cover goes beyond the base's end");
      if (c.base >> 63 || from < base.size()) all.push_back(c);
    }
  }
  shoal_delta_shifts* shifts = shoal_delta_shifts_make(all.data(), all.size(), base.size());
  // What is made so far lies behind the base, and garbage where nothing is made yet.
  std::vector<uint8_t> behind = base;
  behind.resize(reach, 0xA5);
  for (size_t i = 0; i < r.segment_count; i++) {
    const auto& s = r.segments[i];
    const auto& p = r.pages[s.page];
    std::vector<shoal_delta_cover> covers(p.covers);
    require(shoal_delta_decode_page(r.map + p.offset, p.size, p.target_begin, p.target_end, reach, covers.data(),
                                    covers.size()) == SHOAL_DELTA_OK, "page");
    std::vector<uint8_t> buffer;
    rebuild(r, s, covers, behind, s.target_begin, shifts, buffer);
    require(s.target_begin == done && memcmp(buffer.data(), target.data() + done, buffer.size()) == 0, "bytes");
    done = s.target_end;
    if (options.look_back) memcpy(behind.data() + base.size() + s.target_begin, buffer.data(), buffer.size());
  }
  require(done == target.size(), "the end");
  shoal_delta_shifts_release(shifts);
  shoal_delta_release(&r);
}

// The same of an opened target (docs/containers.md): units that begin before the last one ends, parts, streams; half of the time whatever the input says,
// which is refused or makes the target all the same.
void fuzzUnits(Input in) {
  std::vector<uint8_t> base, target;
  const bool lawful = in.next() & 1;
  const uint32_t step = 64 + in.next() * 40, overlap = in.next();
  std::vector<uint64_t> begins, ends, units;
  std::vector<shoal_delta_stream> streams;
  const uint32_t parts = 1 + in.next() % 4, wild = in.next32(), streamStep = 1 + in.next() * 8;
  uint8_t said[64];
  for (uint8_t& each : said) each = static_cast<uint8_t>(in.next());
  pair(in, base, target);
  if (target.empty()) return;
  for (uint64_t at = 0; at < target.size();) {
    const uint64_t back = begins.empty() ? 0 : std::min<uint64_t>(overlap, at);
    const size_t first = ends.size();
    for (uint64_t from = at - back, n = 0; n < parts && from < target.size(); n++, from = ends.back()) {
      begins.push_back(from);
      ends.push_back(std::min<uint64_t>(target.size(), from + step + (n == 0 ? back : 0)));
    }
    units.push_back(ends.size() - first);
    at = ends.back();
  }
  for (uint64_t at = 0; at + streamStep < target.size(); at += 3 * streamStep) streams.push_back({at, streamStep, 1 + streamStep / 2});
  for (size_t i = 0; !lawful && i < 8; i++) {
    const uint64_t value = said[8 * i + 1] < 8 ? UINT64_MAX - said[8 * i + 2] : said[8 * i + 1] * uint64_t{said[8 * i + 2]};
    const size_t at = said[8 * i + 3];
    switch (said[8 * i] % 8) {
      case 0: begins[at % begins.size()] = value; break;
      case 1: ends[at % ends.size()] = value; break;
      case 2: units[at % units.size()] = value; break;
      case 3: if (!streams.empty()) streams[at % streams.size()].at = value; break;
      case 4: if (!streams.empty()) streams[at % streams.size()].held = value; break;
      case 5: if (!streams.empty()) streams[at % streams.size()].size = value; break;
      case 6: if (units.size() > 1) units.pop_back(); break;
      default: if (wild & 1) ends.back() = value;
    }
  }
  shoal_delta_options options = {};
  options.threads = 1;
  options.span_begins = begins.data();
  options.unit_spans = units.data();
  options.unit_count = units.size();
  options.streams = streams.data();
  options.stream_count = streams.size();
  shoal_delta_result r;
  const int32_t status = shoal_delta_encode(base.data(), base.size(), target.data(), target.size(), ends.data(), ends.size(), &options, &r);
  require(status == SHOAL_DELTA_OK || (!lawful && status == SHOAL_DELTA_BAD_ARGUMENT), "encode");
  if (status != SHOAL_DELTA_OK) return;
  require(r.segment_count == begins.size(), "a segment for each part");
  // Covers by where they lie in the target: cut where one unit ends and another begins before that.
  std::vector<std::vector<shoal_delta_cover>> pages(r.page_count);
  std::vector<shoal_delta_cover> placed;
  auto moved = [&](size_t i) { return begins[i] - r.segments[i].target_begin; };
  size_t s = 0;
  for (size_t i = 0; i < r.page_count; i++) {
    const auto& p = r.pages[i];
    pages[i].resize(p.covers);
    require(shoal_delta_decode_page(r.map + p.offset, p.size, p.target_begin, p.target_end, base.size(), pages[i].data(), p.covers) == SHOAL_DELTA_OK, "page");
    for (shoal_delta_cover c : pages[i]) {
      while (r.segments[s].target_end <= c.target) s++;
      for (size_t k = s; k + 1 < r.segment_count && r.segments[k].target_end < c.target + c.length; k++) {
        if (moved(k) == moved(k + 1)) continue;
        const uint64_t here = r.segments[k].target_end - c.target;
        placed.push_back({c.target + moved(k), c.base, here});
        c = {c.target + here, c.base >> 63 ? c.base : c.base + here, c.length - here};
        s = k + 1;
      }
      placed.push_back({c.target + moved(s), c.base, c.length});
    }
  }
  shoal_delta_shifts* shifts = shoal_delta_shifts_make(placed.data(), placed.size(), base.size());
  for (size_t i = 0; i < r.segment_count; i++) {
    const auto& segment = r.segments[i];
    std::vector<uint8_t> buffer;
    rebuild(r, segment, pages[segment.page], base, segment.codec == SHOAL_DELTA_MOVED ? begins[i] : segment.target_begin, shifts, buffer);
    require(buffer.size() == ends[i] - begins[i] && memcmp(buffer.data(), target.data() + begins[i], buffer.size()) == 0, "bytes");
  }
  shoal_delta_shifts_release(shifts);
  shoal_delta_release(&r);
}

}  // namespace

// Which parser: the environment says page, payload, pair or units; else the input's first byte.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const char* only = getenv("SHOAL_FUZZ");
  Input in(data, size);
  const uint32_t first = in.next() % 4;
  const char* which = only != nullptr ? only : first == 0 ? "page" : first == 1 ? "payload" : first == 2 ? "pair" : "units";
  if (strcmp(which, "page") == 0) fuzzPage(in);
  else if (strcmp(which, "payload") == 0) fuzzSegment(in);
  else if (strcmp(which, "pair") == 0) fuzzRoundTrip(in);
  else fuzzUnits(in);
  return 0;
}

#ifndef SHOAL_LIBFUZZER
int main(int argc, char** argv) {
  const double seconds = argc > 1 ? atof(argv[1]) : 10;
  uint64_t seed = argc > 2 ? strtoull(argv[2], nullptr, 10) : static_cast<uint64_t>(time(nullptr));
  printf("seed %llu\n", static_cast<unsigned long long>(seed));
  const auto start = std::chrono::steady_clock::now();
  uint64_t runs = 0;
  std::vector<uint8_t> data;
  while (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds) {
    auto random = [&] {
      seed ^= seed << 13;
      seed ^= seed >> 7;
      seed ^= seed << 17;
      return seed;
    };
    if (seed == 0) seed = 1;
    data.resize(random() % 400);
    const bool skewed = random() & 1;
    for (auto& b : data) b = static_cast<uint8_t>(skewed ? (random() & random() & random()) : random());
    LLVMFuzzerTestOneInput(data.data(), data.size());
    runs++;
  }
  printf("runs %llu\n", static_cast<unsigned long long>(runs));
  return 0;
}
#endif
