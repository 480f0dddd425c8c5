// Looks for a stretch near where it is expected: on diagonals that were right a little while ago, some bytes before or behind.
// Text whose lines were indented anew, or lists of which every entry grew, continue there, but an index of the whole base knows
// only a few of the many places that such common stretches have.
#ifndef SHOAL_DELTA_NEAR_H
#define SHOAL_DELTA_NEAR_H

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "delta/common/bytes.h"

#if defined(__SSE2__) && !defined(SHOAL_PORTABLE_LANES)
#include <emmintrin.h>
#endif

namespace shoal::delta {

constexpr int64_t kNearReach = 128;  // bytes before and behind a diagonal that are searched
constexpr size_t kRecent = 4;        // diagonals remembered
constexpr size_t kNearLength = 8;    // equal bytes that make a candidate

class Near {
 public:
  Near(const uint8_t* base, size_t size) : b_(base), n_(static_cast<int64_t>(size)) {}

  // A diagonal (base minus target position) that was right: remembered before the others, in place of one that it is near to.
  void remember(int64_t diagonal) {
    size_t i = 0;
    while (i < kRecent - 1 && std::abs(recent_[i] - diagonal) > kNearReach / 2) i++;
    for (; i > 0; i--) recent_[i] = recent_[i - 1];
    recent_[0] = diagonal;
  }

  // Calls found(place) for places of the base where eight bytes are those at `bytes`, which lie at `target`.
  template <class Found>
  void search(const uint8_t* bytes, size_t target, const Found& found) const {
    const uint64_t want = load64(bytes);
    int64_t from = 0, to = 0;
    for (const int64_t diagonal : recent_) {
      const int64_t middle = static_cast<int64_t>(target) + diagonal;
      // What the diagonal before was searched for is not searched again.
      int64_t begin = std::max<int64_t>(middle - kNearReach, 0);
      const int64_t end = std::min<int64_t>(middle + kNearReach, n_ - static_cast<int64_t>(kNearLength) - 15);
      if (begin < to && end > from) begin = std::max(begin, to);
      if (begin >= end) continue;
      from = middle - kNearReach;
      to = end;
      within(begin, end, want, found);
    }
  }

 private:
  template <class Found>
  void within(int64_t begin, int64_t end, uint64_t want, const Found& found) const {
#if defined(__SSE2__) && !defined(SHOAL_PORTABLE_LANES)
    const __m128i first = _mm_set1_epi8(static_cast<char>(want)), last = _mm_set1_epi8(static_cast<char>(want >> 56));
    for (int64_t i = begin; i < end; i += 16) {
      const __m128i a = _mm_cmpeq_epi8(first, _mm_loadu_si128(reinterpret_cast<const __m128i*>(b_ + i)));
      const __m128i b = _mm_cmpeq_epi8(last, _mm_loadu_si128(reinterpret_cast<const __m128i*>(b_ + i + 7)));
      for (uint32_t both = static_cast<uint32_t>(_mm_movemask_epi8(_mm_and_si128(a, b))); both != 0; both &= both - 1) {
        const int64_t place = i + __builtin_ctz(both);
        if (load64(b_ + place) == want) found(static_cast<size_t>(place));
      }
    }
#else
    for (int64_t i = begin; i < (end - begin + 15) / 16 * 16 + begin; i++)
      if (load64(b_ + i) == want) found(static_cast<size_t>(i));
#endif
  }

  const uint8_t* b_;
  int64_t n_;
  int64_t recent_[kRecent] = {};  // at first the same places of both
};

}  // namespace shoal::delta

#endif
