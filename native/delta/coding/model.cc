#include "model.h"

namespace shoal::delta {
namespace {

// 65536 / (1 + exp(-x)) at x = -8, -7.5 … 8; between them straight lines.
constexpr uint16_t kKnots[33] = {22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514};

constexpr uint32_t squashAt(int x) {  // x: -2048..2047
  const int i = (x + 2048) >> 7, w = (x + 2048) & 127;
  return static_cast<uint32_t>((kKnots[i] * (128 - w) + kKnots[i + 1] * w) >> 7);
}

struct TableMaker : Tables {
  constexpr TableMaker() : Tables() {
    for (int i = 0; i < 4096; i++) squash[i] = static_cast<uint16_t>(squashAt(i - 2048));
    int x = -2048;
    for (int i = 0; i < 4096; i++) {
      // The first x whose probability reaches the middle of this step.
      const uint32_t p = static_cast<uint32_t>(i) * 16 + 8;
      while (x < 2047 && squashAt(x) < p) x++;
      stretch[i] = static_cast<int16_t>(x);
    }
    for (int n = 0; n < 128; n++) rate[n] = 65536 / (2 * n + 3);
  }
};

}  // namespace

const Tables kTables = TableMaker();

}  // namespace shoal::delta
