// Checks the hash kernel on random pieces: every instruction set gives what the definition of BLAKE3 gives, wherever the
// data lies in memory, and nothing outside the buffers is touched (with AddressSanitizer).
// c++ -std=c++17 -g -O1 -fsanitize=address,undefined -I native native/test/hash_fuzz.cc native/hash/*.cc && ./a.out SECONDS [SEED]
// With -DSHOAL_HASH_EMULATE_AVX512 (libsimde-dev) also AVX-512, where the processor does not have it.
#include <cstring>
#include <memory>
#include <vector>

#include "hash/hash.h"
#include "test/fuzz.h"

namespace {

// Straight from the specification, one compression after another, the tree by recursion.
constexpr uint32_t kStart[8] = {0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};
constexpr int kMove[16] = {2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8};

struct Value {
  uint32_t word[8];
};

uint32_t right(uint32_t v, int by) { return v >> by | v << (32 - by); }

Value compress(const Value& before, const uint8_t* block, uint64_t counter, uint32_t length, uint32_t flags) {
  uint32_t m[16], v[16];
  memcpy(m, block, 64);
  memcpy(v, before.word, 32);
  memcpy(v + 8, kStart, 16);
  v[12] = static_cast<uint32_t>(counter), v[13] = static_cast<uint32_t>(counter >> 32), v[14] = length, v[15] = flags;
  const auto mix = [&](int a, int b, int c, int d, uint32_t x, uint32_t y) {
    v[a] += v[b] + x, v[d] = right(v[d] ^ v[a], 16), v[c] += v[d], v[b] = right(v[b] ^ v[c], 12);
    v[a] += v[b] + y, v[d] = right(v[d] ^ v[a], 8), v[c] += v[d], v[b] = right(v[b] ^ v[c], 7);
  };
  for (int round = 0; round < 7; round++) {
    for (int i = 0; i < 4; i++) mix(i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1]);
    for (int i = 0; i < 4; i++) mix(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i], m[9 + 2 * i]);
    uint32_t moved[16];
    for (int i = 0; i < 16; i++) moved[i] = m[kMove[i]];
    memcpy(m, moved, 64);
  }
  Value after;
  for (int i = 0; i < 8; i++) after.word[i] = v[i] ^ v[8 + i];
  return after;
}

Value initial() {
  Value value;
  memcpy(value.word, kStart, 32);
  return value;
}

Value hashed(const uint8_t* data, size_t size, uint64_t leaf, bool root) {
  if (size <= 1024) {
    Value value = initial();
    size_t at = 0;
    do {
      const size_t length = size - at < 64 ? size - at : 64;
      uint8_t block[64] = {};
      if (length > 0) memcpy(block, data + at, length);
      const bool last = at + length == size;
      value = compress(value, block, leaf, static_cast<uint32_t>(length), (at == 0 ? 1 : 0) | (last ? 2 | (root ? 8 : 0) : 0));
      at += 64;
    } while (at < size);
    return value;
  }
  size_t left = 1024;
  while (left * 2 < size) left *= 2;
  const Value pair[2] = {hashed(data, left, leaf, false), hashed(data + left, size - left, leaf + left / 1024, false)};
  uint8_t block[64];
  memcpy(block, pair, 64);
  return compress(initial(), block, 0, 64, 4 | (root ? 8 : 0));
}

void round() {
  // A few long pieces, or many short ones, at every alignment.
  std::vector<uint32_t> lengths(below(4) == 0 ? below(300) : below(6));
  const uint32_t most = 1 + below(lengths.size() > 6 ? 4096 : 1u << (8 + below(11)));
  size_t size = 0;
  for (uint32_t& length : lengths) {
    length = below(most + 1);
    // Lengths about which something may be decided wrongly.
    if (below(3) == 0) length = length / 1024 * 1024 + below(3) - (length >= 1024 ? 1 : 0);
    size += length;
  }
  const size_t skew = below(64);
  std::unique_ptr<uint8_t[]> memory(new uint8_t[skew + size]);
  uint8_t* data = memory.get() + skew;
  for (size_t i = 0; i < size; i++) data[i] = static_cast<uint8_t>(random64());
  std::vector<uint8_t> expected(lengths.size() * SHOAL_HASH_BYTES);
  size_t at = 0;
  for (size_t i = 0; i < lengths.size(); at += lengths[i++]) {
    const Value value = hashed(data + at, lengths[i], 0, true);
    memcpy(expected.data() + i * SHOAL_HASH_BYTES, value.word, SHOAL_HASH_BYTES);
  }
  for (int isa = SHOAL_HASH_SCALAR; isa <= SHOAL_HASH_AVX512; isa++) {
    if (!shoal_hash_has(static_cast<shoal_hash_isa>(isa))) continue;
    std::vector<uint8_t> out(expected.size());
    require(shoal_hash_pieces(static_cast<shoal_hash_isa>(isa), data, lengths.data(), lengths.size(), out.data()) == SHOAL_HASH_OK, "hashing failed");
    require(out == expected, "an instruction set gives another hash");
  }
  const uint32_t large = SHOAL_HASH_MOST + 1;
  require(shoal_hash_pieces(shoal_hash_best(), data, &large, 1, nullptr) == SHOAL_HASH_ESIZE, "a piece that is too large is taken");
}

}  // namespace

int main(int argc, char** argv) { return fuzz(argc, argv, round); }
