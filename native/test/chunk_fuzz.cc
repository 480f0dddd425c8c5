// Checks the chunk kernels on random and hostile input: every scan gives what a step-by-step reading of docs/chunking.md
// gives, wherever the data lies in memory, and nothing outside the buffers is touched (with AddressSanitizer).
// c++ -std=c++17 -g -O1 -fsanitize=address,undefined -I native native/test/chunk_fuzz.cc native/chunk/*.cc && ./a.out SECONDS [SEED]
#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "chunk/chunk.h"
#include "chunk/comb.h"
#include "test/fuzz.h"

namespace {

// Straight from the definition: one position after another, nothing kept.
std::vector<uint32_t> expected(const uint8_t* data, size_t size, const shoal_chunk_params& p, bool final) {
  std::vector<uint32_t> cuts;
  const shoal_chunk::Rule rule(p);
  for (size_t start = 0; start < size;) {
    size_t cut = 0;
    // The running hash of 31 interleaved combs, from the first position whose comb lies in the chunk.
    uint32_t hash[shoal_chunk::kStride] = {};
    const size_t reach = shoal_chunk::kReach;
    for (size_t n = 1; cut == 0 && start + n <= size && n <= p.max; n++) {
      const size_t at = start + n - 1;
      if (n > shoal_chunk::kPartner) {
        uint32_t& h = hash[n % shoal_chunk::kStride];
        h = (h << 1) + shoal_chunk::Gear(static_cast<uint8_t>(data[at] + data[at - shoal_chunk::kPartner]));
        if (n > reach && n >= p.min && rule.Cuts(h, static_cast<uint32_t>(n))) cut = at + 1;
      }
      if (cut == 0 && n == p.max) cut = at + 1;
    }
    if (cut == 0) {
      if (!final) break;
      cut = size;
    }
    cuts.push_back(static_cast<uint32_t>(cut));
    start = cut;
  }
  return cuts;
}

// Bytes whose samples make the low half of the hash vanish often: all of a block is candidates.
void fill(uint8_t* data, size_t size) {
  const uint32_t kind = below(7), period = 1 + below(kind == 3 ? 64 : 70000);
  const uint8_t mask = static_cast<uint8_t>(random64() & random64());
  for (size_t i = 0; i < size; i++) {
    switch (kind) {
      case 0: data[i] = static_cast<uint8_t>(random64() >> 32); break;
      case 1: data[i] = static_cast<uint8_t>((random64() >> 32) & mask); break;
      case 2: data[i] = 0; break;
      case 3:
      case 4: data[i] = i < period ? static_cast<uint8_t>(random64() >> 32) : data[i - period]; break;
      case 5: data[i] = below(64) == 0 ? static_cast<uint8_t>(random64() >> 32) : (i > 0 ? data[i - 1] : 0); break;
      default: data[i] = static_cast<uint8_t>(i % 31 == 0 ? random64() >> 32 : mask);
    }
  }
}

void once() {
  shoal_chunk_params p;
  p.avg = SHOAL_CHUNK_LEAST_AVG + below(60000);
  p.min = SHOAL_CHUNK_LEAST_MIN + below(p.avg - SHOAL_CHUNK_LEAST_MIN + 1);
  p.max = std::min<uint32_t>(SHOAL_CHUNK_MOST_MAX, 2 * p.avg + below(200000));
  const size_t size = below(4) == 0 ? below(6000) : below(500000);
  // Exactly as long as it says, at any alignment: one byte too far is found.
  const size_t shift = below(64);
  std::unique_ptr<uint8_t[]> memory(new uint8_t[size + shift]);
  uint8_t* data = memory.get() + shift;
  fill(data, size);
  const bool final = random64() & 1;
  const std::vector<uint32_t> wanted = expected(data, size, p, final);
  for (int isa = SHOAL_CHUNK_SCALAR; isa <= SHOAL_CHUNK_NEON + 1; isa++) {
    const auto which = static_cast<shoal_chunk_isa>(isa);
    const size_t capacity = size / p.min + 1;
    std::unique_ptr<uint32_t[]> cuts(new uint32_t[capacity]);
    const int64_t count = shoal_chunk_cuts(which, data, size, &p, final, cuts.get(), capacity);
    if (isa > SHOAL_CHUNK_NEON || !shoal_chunk_has(which)) {
      require(count == SHOAL_CHUNK_EISA, "an instruction set that is not here was used");
      continue;
    }
    require(count == static_cast<int64_t>(wanted.size()), "the number of cuts");
    require(wanted.empty() || memcmp(cuts.get(), wanted.data(), wanted.size() * sizeof(uint32_t)) == 0, "the cuts");
    if (wanted.empty()) continue;
    const size_t few = below(wanted.size());
    std::unique_ptr<uint32_t[]> small(new uint32_t[few]);
    require(shoal_chunk_cuts(which, data, size, &p, final, small.get(), few) == SHOAL_CHUNK_ECAPACITY, "too little room");
  }
  // Parameters that may come from a manifest.
  shoal_chunk_params bad = p;
  switch (below(5)) {
    case 0: bad.min = below(SHOAL_CHUNK_LEAST_MIN); break;
    case 1: bad.avg = below(SHOAL_CHUNK_LEAST_AVG); break;
    case 2: bad.max = SHOAL_CHUNK_MOST_MAX + 1 + below(1000); break;
    case 3: bad.min = bad.avg + 1 + below(1000); break;
    default: bad.max = 2 * bad.avg - 1 - below(1000);
  }
  uint32_t none[1];
  require(shoal_chunk_cuts(SHOAL_CHUNK_SCALAR, data, size, &bad, final, none, 0) == SHOAL_CHUNK_EPARAMS, "bad parameters");
}

}  // namespace

int main(int argc, char** argv) { return fuzz(argc, argv, once); }
