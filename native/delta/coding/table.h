// Corrects a stretch of pairs of 32-bit numbers that go up together, as an index of functions does: each differs from its
// prediction by what the number eight bytes before did, until something grew, came or went.
#ifndef SHOAL_DELTA_TABLE_H
#define SHOAL_DELTA_TABLE_H

#include <cstddef>
#include <cstdint>

#include "change.h"
#include "model.h"

namespace shoal::delta {

constexpr size_t kTableStride = 8;

struct TableState {
  Bit same[2][64];
  uint32_t moved[2], recent[2];

  void reset() {
    fill(same[0], 2 * 64, kEven);
    for (int column = 0; column < 2; column++) moved[column] = recent[column] = 0;
  }
};

template <class Coder>
void codeTable(Coder& coder, TableState& s, ChangeState& changes, uint8_t* bytes, const uint8_t* target, size_t begin,
               size_t end) {
  uint32_t column = 0;
  for (size_t i = begin; i < end; i += 4, column ^= 1) {
    coder.at(i);
    Field f(bytes + i, Coder::kDecodes ? nullptr : target + i, end - i);
    uint32_t by = s.moved[column];
    f.value += by;
    const uint32_t context = (s.recent[column] & 7) | (s.recent[column ^ 1] & 7) << 3;
    const int same = plain(coder, s.same[column][context], Coder::kDecodes ? 0 : ((f.value ^ f.want) & f.mask) == 0);
    uint32_t more = 0;
    if (!same) {
      more = codeChange(coder, changes, kChangeRows - 2 + column, f);
      s.moved[column] = by + more;
    }
    s.recent[column] = s.recent[column] << 1 | static_cast<uint32_t>(!same);
    f.write(bytes + i, more);
  }
}

}  // namespace shoal::delta

#endif
