// Decodes what it coded, and that with bits changed. Codes random bytes into places that are too short or just right: nothing outside is touched (with AddressSanitizer), and a
// stream does not depend on those before it in the same call.
// c++ -std=c++17 -g -O1 -fsanitize=address,undefined -I native native/test/deflate_fuzz.cc native/deflate/*.cc && ./a.out SECONDS [SEED]
#include <cstring>
#include <vector>

#include "deflate/deflate.h"
#include "test/fuzz.h"

namespace {

std::vector<uint8_t> content() {
  std::vector<uint8_t> out;
  const uint32_t size = below(3) == 0 ? below(200000) : below(3000);
  while (out.size() < size) {
    const uint32_t kind = below(4), length = 1 + below(1 + below(70000));
    if (kind == 0) out.insert(out.end(), length, static_cast<uint8_t>(random64()));
    if (kind == 1) for (uint32_t i = 0; i < length; i++) out.push_back(static_cast<uint8_t>(random64()));
    if (kind == 2) for (uint32_t i = 0; i < length; i++) out.push_back(static_cast<uint8_t>(below(3)));
    if (kind == 3 && !out.empty()) for (uint32_t i = 0, back = 1 + below(out.size()); i < length; i++) out.push_back(out[out.size() - back]);
  }
  out.resize(size);
  return out;
}

// Whatever is in it.
std::vector<uint64_t> work(SHOAL_DEFLATE_WORK / 8, 0x5555555555555555);

int32_t coded(shoal_deflate_stream* streams, size_t count) { return shoal_deflate(streams, count, work.data(), SHOAL_DEFLATE_WORK); }

void round() {
  std::vector<std::vector<uint8_t>> in(1 + below(4)), room(in.size());
  std::vector<shoal_deflate_stream> streams;
  for (size_t i = 0; i < in.size(); i++) {
    in[i] = content();
    room[i].resize(in[i].size() + in[i].size() / 8 + 64);
    streams.push_back({in[i].data(), room[i].data(), static_cast<uint32_t>(in[i].size()), static_cast<uint32_t>(room[i].size()), 0,
                       static_cast<uint8_t>(1 + below(9)), static_cast<uint8_t>(1 + below(9)), static_cast<uint8_t>(below(2)), 0});
    if (below(3) == 0) {
      streams.back().memory = 8;
      streams.back().zlib = 0;
      streams.back().gnu = 1;
    }
  }
  require(coded(streams.data(), streams.size()) == SHOAL_DEFLATE_OK, "coding failed");
  for (size_t i = 0; i < in.size(); i++) {
    require(streams[i].made != SHOAL_DEFLATE_LONGER, "a stream that does not fit into more than it holds");
    shoal_deflate_stream alone = streams[i];
    std::vector<uint8_t> exact(alone.made), tight(alone.made > 0 ? below(alone.made) : 0);
    alone.out = exact.data();
    alone.room = static_cast<uint32_t>(exact.size());
    require(coded(&alone, 1) == SHOAL_DEFLATE_OK && alone.made == exact.size() && memcmp(exact.data(), room[i].data(), exact.size()) == 0,
            "a stream that depends on others");
    alone.out = tight.data();
    alone.room = static_cast<uint32_t>(tight.size());
    require(coded(&alone, 1) == SHOAL_DEFLATE_OK && alone.made == SHOAL_DEFLATE_LONGER, "a stream that fits where there is no room");
  }
  for (size_t i = 0; i < in.size(); i++) {
    const size_t head = streams[i].zlib ? 2 : 0, size = streams[i].made - (streams[i].zlib ? 6 : 0);
    std::vector<uint8_t> raw(room[i].begin() + static_cast<long>(head), room[i].begin() + static_cast<long>(head + size)), out(in[i].size());
    require(shoal_inflate(raw.data(), raw.size(), out.data(), out.size()) == SHOAL_DEFLATE_OK && out == in[i], "decoding gives something else");
    // The same with something behind it, and with zlib's head and checksum.
    std::vector<uint8_t> more(room[i].begin(), room[i].begin() + streams[i].made);
    for (uint32_t n = below(30); n > 0; n--) more.push_back(static_cast<uint8_t>(random64()));
    size_t used = 0, held = 0;
    require(shoal_inflate_first(more.data(), more.size(), out.data(), out.size(), streams[i].zlib, &used, &held) == SHOAL_DEFLATE_OK && used == streams[i].made && held == in[i].size() && out == in[i],
            "decoding what a stream begins with gives something else");
    if (!more.empty()) more[below(more.size())] ^= static_cast<uint8_t>(1u << below(8));
    if (below(2) == 0) out.resize(below(out.size() + 1));
    if (shoal_inflate_first(more.data(), more.size(), out.data(), out.size(), streams[i].zlib, &used, &held) == SHOAL_DEFLATE_OK)
      require(used <= more.size() && held <= out.size(), "a stream that leaves what there is");
    for (uint32_t edits = 1 + below(4); edits > 0 && !raw.empty(); edits--) {
      if (below(3) == 0) raw.resize(below(raw.size() + 1));
      else raw[below(raw.size())] ^= static_cast<uint8_t>(1u << below(8));
    }
    if (below(2) == 0) out.resize(below(out.size() + 1000));
    const int32_t status = shoal_inflate(raw.data(), raw.size(), out.data(), out.size());
    require(status == SHOAL_DEFLATE_OK || status == SHOAL_DEFLATE_DAMAGED, "decoding ends otherwise");
  }
  shoal_deflate_stream wrong = streams[0];
  wrong.level = 10;
  require(coded(&wrong, 1) == SHOAL_DEFLATE_BAD_ARGUMENT, "a level that there is not");
}

}  // namespace

int main(int argc, char** argv) { return fuzz(argc, argv, round); }
