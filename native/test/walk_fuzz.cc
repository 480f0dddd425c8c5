// Checks the walk on files of any size: chunks and hashes are those of the whole file at once, however small the buffer; files
// that end early or cannot be read are said so; nothing outside the buffers is touched (with AddressSanitizer).
// c++ -std=c++17 -g -O1 -fsanitize=address,undefined -I native native/test/walk_fuzz.cc native/{walk,chunk,hash}/*.cc && ./a.out SECONDS [SEED]
#include <cstring>
#include <memory>
#include <vector>

#include "walk/walk.h"
#include "test/fuzz.h"

namespace {

void round() {
  const shoal_chunk_params params = {4096 + below(30000), 40000 + below(30000), 150000 + below(100000)};
  std::vector<uint8_t> content(below(8) == 0 ? below(3) : below(4u << 20));
  const bool flat = below(5) == 0;
  for (uint8_t& byte : content) byte = flat ? 7 : static_cast<uint8_t>(random64());
  FILE* file = tmpfile();
  require(file != nullptr, "no temporary file");
  require(content.empty() || fwrite(content.data(), content.size(), 1, file) == 1, "cannot write");
  require(fflush(file) == 0, "cannot write");

  std::vector<uint32_t> cuts(content.size() / params.min + 1);
  const int64_t count = shoal_chunk_cuts(SHOAL_CHUNK_SCALAR, content.data(), content.size(), &params, 1, cuts.data(), cuts.size());
  require(count >= 0, "cannot cut");
  std::vector<uint32_t> lengths(static_cast<size_t>(count));
  for (size_t i = 0; i < lengths.size(); i++) lengths[i] = cuts[i] - (i == 0 ? 0 : cuts[i - 1]);
  std::vector<uint8_t> hashes(lengths.size() * SHOAL_HASH_BYTES);
  require(shoal_hash_pieces(SHOAL_HASH_SCALAR, content.data(), lengths.data(), lengths.size(), hashes.data()) == SHOAL_HASH_OK, "cannot hash");

  const size_t size = params.max + below(1u << 20), capacity = size / params.min + 1;
  std::unique_ptr<uint8_t[]> buffer(new uint8_t[size]), found(new uint8_t[capacity * SHOAL_HASH_BYTES]);
  std::unique_ptr<uint32_t[]> ends(new uint32_t[capacity]);
  uint64_t position = 0;
  size_t filled = 0, chunk = 0, offset = 0;
  shoal_walk_result result = {};
  while (!result.ended) {
    require(shoal_walk(fileno(file), position, buffer.get(), size, filled, &params, ends.get(), found.get(), capacity, &result) == SHOAL_WALK_OK, "the walk failed");
    position += result.filled - filled;
    size_t at = 0;
    for (size_t i = 0; i < result.chunks; i++, chunk++) {
      require(chunk < lengths.size() && ends[i] - at == lengths[chunk], "another chunk");
      require(memcmp(found.get() + i * SHOAL_HASH_BYTES, hashes.data() + chunk * SHOAL_HASH_BYTES, SHOAL_HASH_BYTES) == 0, "another hash");
      require(memcmp(buffer.get() + at, content.data() + offset, lengths[chunk]) == 0, "other bytes");
      offset += lengths[chunk];
      at = ends[i];
    }
    filled = result.filled - at;
    require(result.ended || result.chunks > 0, "no way on");
    if (filled > 0) memmove(buffer.get(), buffer.get() + at, filled);
  }
  require(chunk == lengths.size() && filled == 0, "chunks are missing");

  // Pieces of known lengths, from anywhere, in as much room as there happens to be; the last of them beyond the file's end.
  if (!lengths.empty()) {
    const size_t first = below(static_cast<uint32_t>(lengths.size()));
    size_t from = 0;
    for (size_t i = 0; i < first; i++) from += lengths[i];
    std::vector<uint32_t> wanted(lengths.begin() + static_cast<ptrdiff_t>(first), lengths.end());
    const uint32_t beyond = below(2) == 0 ? below(params.max) : 0;
    wanted.back() += beyond;
    wanted.push_back(below(1000));
    size_t all = 0, largest = 0;
    for (const uint32_t each : wanted) {
      all += each;
      largest = each > largest ? each : largest;
    }
    const size_t room = below(2) == 0 ? all : largest + below(400000);
    std::unique_ptr<uint8_t[]> into(new uint8_t[room]), out(new uint8_t[wanted.size() * SHOAL_HASH_BYTES]);
    uint64_t got;
    int error;
    require(shoal_walk_pieces(fileno(file), from, into.get(), room, wanted.data(), wanted.size(), 0, out.get(), &got, &error) == SHOAL_WALK_OK, "the pieces were not read");
    require(got == content.size() - from && memcmp(out.get(), hashes.data() + first * SHOAL_HASH_BYTES, (lengths.size() - first) * SHOAL_HASH_BYTES) == 0, "other pieces");
    require(room < all || content.size() == from || memcmp(into.get(), content.data() + from, content.size() - from) == 0, "other bytes of pieces");
    // The same from the medium, or wherever it comes from where that cannot be had.
    std::vector<uint32_t> again(wanted);
    require(shoal_walk_pieces(fileno(file), from, into.get(), room, again.data(), again.size(), 1, out.get(), &got, &error) == SHOAL_WALK_OK, "the pieces were not read from the medium");
    require(got == content.size() - from && again == wanted && memcmp(out.get(), hashes.data() + first * SHOAL_HASH_BYTES, (lengths.size() - first) * SHOAL_HASH_BYTES) == 0, "other pieces on the medium");
    require(shoal_walk_pieces(-1, 0, into.get(), room, wanted.data(), 1, 0, out.get(), &got, &error) == (wanted[0] == 0 ? SHOAL_WALK_OK : SHOAL_WALK_EREAD), "pieces of a closed file");
    wanted[0] = static_cast<uint32_t>(room) + 1;
    require(shoal_walk_pieces(fileno(file), 0, into.get(), room, wanted.data(), 1, 0, out.get(), &got, &error) == SHOAL_WALK_EPARAMS, "too little room for a piece");
  }
  fclose(file);
  require(shoal_walk(-1, 0, buffer.get(), size, 0, &params, ends.get(), found.get(), capacity, &result) == SHOAL_WALK_EREAD && result.error != 0, "a closed file was read");
  require(shoal_walk(-1, 0, buffer.get(), size, 0, &params, ends.get(), found.get(), capacity - 1, &result) == SHOAL_WALK_EPARAMS, "too little room was taken");
}

}  // namespace

int main(int argc, char** argv) { return fuzz(argc, argv, round); }
