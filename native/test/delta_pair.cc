// delta_pair BASE TARGET [memory-cap-MiB] [threads]: encodes, decodes segment by segment, compares, prints one line.
// Build: c++ -O3 -std=c++17 native/test/delta_pair.cc native/delta/*.cc native/scratch/*.cc -lpthread
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../delta/delta.h"

namespace {

constexpr uint64_t kMarks = uint64_t{3} << 62;  // what a cover's source is (delta.h)

uint32_t kindOf(const shoal_delta_cover& c) {
  return c.base >> 63 ? SHOAL_DELTA_FILL : c.base >> 62 ? SHOAL_DELTA_TABLE : SHOAL_DELTA_BASE;
}

std::vector<uint8_t> readFile(const char* path) {
  std::vector<uint8_t> bytes;
  FILE* file = fopen(path, "rb");
  if (file == nullptr) {
    perror(path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  bytes.resize(static_cast<size_t>(ftell(file)));
  rewind(file);
  if (fread(bytes.data(), 1, bytes.size(), file) != bytes.size()) exit(1);
  fclose(file);
  return bytes;
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  const auto base = readFile(argv[1]), target = readFile(argv[2]);
  std::vector<uint64_t> ends;
  constexpr uint64_t kSpan = uint64_t{2} << 20;  // spans are 1 to 4 MiB
  for (uint64_t at = 0; at < target.size();) ends.push_back(at = std::min<uint64_t>(target.size(), at + kSpan));
  shoal_delta_options options = {};
  if (argc > 3) options.memory_cap = strtoull(argv[3], nullptr, 10) << 20;
  options.threads = argc > 4 ? static_cast<uint32_t>(atoi(argv[4])) : 2;
  shoal_delta_result result;
  double t = now();
  const int32_t status =
      shoal_delta_encode(base.data(), base.size(), target.data(), target.size(), ends.data(), ends.size(), &options, &result);
  const double encodeSeconds = now() - t;
  if (status != SHOAL_DELTA_OK) return fprintf(stderr, "encode: %d\n", status), 1;
  double decodeSeconds = 0;
  std::vector<shoal_delta_cover> covers;
  uint32_t page = UINT32_MAX;
  size_t coverTotal = 0;
  t = now();
  std::vector<shoal_delta_cover> all;
  for (size_t i = 0; i < result.page_count; i++) {
    const auto& p = result.pages[i];
    all.resize(all.size() + p.covers);
    if (shoal_delta_decode_page(result.map + p.offset, p.size, p.target_begin, p.target_end, base.size(), all.data() + all.size() - p.covers,
                                p.covers) != SHOAL_DELTA_OK)
      return fprintf(stderr, "page %zu is damaged\n", i), 1;
  }
  shoal_delta_shifts* shifts = shoal_delta_shifts_make(all.data(), all.size(), base.size());
  decodeSeconds += now() - t;
  for (size_t i = 0; i < result.segment_count; i++) {
    const auto& s = result.segments[i];
    t = now();
    if (s.page != page) {
      page = s.page;
      const auto& p = result.pages[page];
      covers.resize(p.covers);
      coverTotal += p.covers;
      if (shoal_delta_decode_page(result.map + p.offset, p.size, p.target_begin, p.target_end, base.size(),
                                  covers.data(), covers.size()) != SHOAL_DELTA_OK)
        return fprintf(stderr, "page %u is damaged\n", page), 1;
    }
    std::vector<uint8_t> buffer(s.target_end - s.target_begin);
    std::vector<shoal_delta_piece> pieces;
    uint64_t at = s.target_begin;
    for (const auto& c : covers) {
      if (c.target + c.length <= s.target_begin || c.target >= s.target_end) continue;
      const uint64_t from = std::max(s.target_begin, c.target), to = std::min(s.target_end, c.target + c.length);
      if (from > at) pieces.push_back({static_cast<uint32_t>(from - at), SHOAL_DELTA_LITERAL, 0});
      if (c.base >> 63)
        memset(buffer.data() + (from - s.target_begin), static_cast<int>(c.base & 0xFF), to - from);
      else
        memcpy(buffer.data() + (from - s.target_begin), base.data() + (c.base & ~kMarks) + (from - c.target), to - from);
      pieces.push_back({static_cast<uint32_t>(to - from), kindOf(c),
                        c.base >> 63 ? 0 : (c.base & ~kMarks) + (from - c.target)});
      at = to;
    }
    if (at < s.target_end) pieces.push_back({static_cast<uint32_t>(s.target_end - at), SHOAL_DELTA_LITERAL, 0});
    if (shoal_delta_decode_segment(s.codec, result.payloads + s.payload_offset, s.payload_size, buffer.data(),
                                   buffer.size(), static_cast<uint32_t>(s.target_begin), pieces.data(), pieces.size(), shifts) != SHOAL_DELTA_OK)
      return fprintf(stderr, "segment %zu is damaged\n", i), 1;
    decodeSeconds += now() - t;
    if (memcmp(buffer.data(), target.data() + s.target_begin, buffer.size()) != 0)
      return fprintf(stderr, "segment %zu differs\n", i), 1;
  }
  printf("{\"payloads\":%zu,\"map\":%zu,\"segments\":%zu,\"pages\":%zu,\"covers\":%zu,\"encodeSeconds\":%.2f,\"applyMBs\":%.0f}\n",
         result.payload_size, result.map_size, result.segment_count, result.page_count, coverTotal, encodeSeconds,
         static_cast<double>(target.size()) / 1e6 / decodeSeconds);
  shoal_delta_shifts_release(shifts);
  shoal_delta_release(&result);
  return 0;
}
