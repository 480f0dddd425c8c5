#include "chunk/chunk.h"

#include <string.h>

#include "chunk/comb.h"

namespace shoal_chunk {
namespace {

struct GearTable {
  uint32_t of[256];
  constexpr GearTable() : of() {
    for (uint32_t b = 0; b < 256; b++) of[b] = kLow[b & 15] ^ kHigh[b >> 4];
  }
};
constexpr GearTable kGear;

inline uint32_t SampleGear(const uint8_t* at) { return kGear.of[static_cast<uint8_t>(at[0] + at[-ptrdiff_t{kPartner}])]; }

FindCut Implementation(shoal_chunk_isa isa) {
  switch (isa) {
    case SHOAL_CHUNK_SCALAR: return FindCutScalar;
#if defined(__x86_64__)
    case SHOAL_CHUNK_SSE41: return __builtin_cpu_supports("sse4.1") ? FindCutSse41 : nullptr;
    case SHOAL_CHUNK_AVX2: return __builtin_cpu_supports("avx2") ? FindCutAvx2 : nullptr;
#elif defined(__aarch64__)
    case SHOAL_CHUNK_NEON: return FindCutNeon;
#endif
    default: return nullptr;
  }
}

}  // namespace

uint32_t HashAt(const uint8_t* at) {
  // Four sums of eight teeth, so that the additions do not wait for one another.
  uint32_t part[4] = {0, 0, 0, 0};
  const uint8_t* tooth = at - ptrdiff_t{kStride} * 7;
  for (int step = 0; step < 8; step++, tooth += kStride) {
    for (int group = 0; group < 4; group++) {
      part[group] = (part[group] << 1) + SampleGear(tooth - ptrdiff_t{kStride} * 8 * group);
    }
  }
  return part[0] + (part[1] << 8) + (part[2] << 16) + (part[3] << 24);
}

size_t Stepper::Run(const Scan& scan, size_t from, size_t to) {
  if (from >= to) return 0;
  size_t at = from;
  if (next_ != from) {
    memset(hashes_, 0, sizeof hashes_);
    tooth_ = 0;
    at = from - kStride * (kTeeth - 1);
  }
  const uint8_t* data = scan.data;
  while (at < to) {
    // As far as the comb goes without turning round, and not across `from`: before it nothing is tested.
    size_t stop = at + (kStride - tooth_);
    const size_t limit = at < from ? from : to;
    if (stop > limit) stop = limit;
    uint32_t* hash = hashes_ + tooth_;
    tooth_ = (tooth_ + static_cast<uint32_t>(stop - at)) % kStride;
    if (at < from) {
      for (; at < stop; at++, hash++) *hash = (*hash << 1) + SampleGear(data + at);
      continue;
    }
    for (; at < stop; at++, hash++) {
      const uint32_t value = *hash = (*hash << 1) + SampleGear(data + at);
      if ((value & kFilter) == 0 && scan.rule.Cuts(value, static_cast<uint32_t>(at + 1 - scan.start))) return at + 1;
    }
  }
  next_ = to;
  return 0;
}

size_t FindCutScalar(const Scan& scan) {
  Stepper stepper;
  return stepper.Run(scan, scan.start + scan.rule.min - 1, scan.end);
}

}  // namespace shoal_chunk

extern "C" int shoal_chunk_has(shoal_chunk_isa isa) { return shoal_chunk::Implementation(isa) != nullptr; }

extern "C" shoal_chunk_isa shoal_chunk_best(void) {
  constexpr shoal_chunk_isa kByRate[] = {SHOAL_CHUNK_NEON, SHOAL_CHUNK_AVX2, SHOAL_CHUNK_SSE41};
  for (const shoal_chunk_isa isa : kByRate) {
    if (shoal_chunk_has(isa)) return isa;
  }
  return SHOAL_CHUNK_SCALAR;
}

extern "C" int64_t shoal_chunk_cuts(shoal_chunk_isa isa, const uint8_t* data, size_t size,
                                    const shoal_chunk_params* params, int final, uint32_t* cuts, size_t capacity) {
  if (params->min < SHOAL_CHUNK_LEAST_MIN || params->avg < SHOAL_CHUNK_LEAST_AVG || params->avg < params->min ||
      params->max > SHOAL_CHUNK_MOST_MAX || params->avg > params->max / 2) {
    return SHOAL_CHUNK_EPARAMS;
  }
  if (size > INT32_MAX) return SHOAL_CHUNK_ESIZE;
  const shoal_chunk::FindCut find = shoal_chunk::Implementation(isa);
  if (find == nullptr) return SHOAL_CHUNK_EISA;

  const shoal_chunk::Rule rule(*params);
  size_t count = 0;
  for (size_t start = 0; start < size;) {
    const size_t left = size - start;
    size_t cut = 0;
    if (left >= rule.min) {
      const size_t end = left > rule.max ? start + rule.max : size;
      cut = find({data, start, end, size, rule});
    }
    if (cut == 0) {
      if (left >= rule.max) {
        cut = start + rule.max;
      } else if (final) {
        cut = size;
      } else {
        break;
      }
    }
    if (count == capacity) return SHOAL_CHUNK_ECAPACITY;
    cuts[count++] = static_cast<uint32_t>(cut);
    start = cut;
  }
  return static_cast<int64_t>(count);
}
