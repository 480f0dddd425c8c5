#include "covered.h"

#include <algorithm>
#include <cstring>

#include "delta/common/bytes.h"
#include "delta/common/touch.h"

namespace shoal::delta {

size_t Covered::at(uint64_t at) const {
  return static_cast<size_t>(std::partition_point(covers.begin(), covers.end(), [&](const Cover& c) { return c.target + c.length <= at; }) - covers.begin());
}

void Covered::predict(uint64_t begin, uint64_t end, uint8_t* out, std::vector<Piece>& pieces) const {
  uint64_t done = begin;
  Touch touch;
  auto freshTo = [&](uint64_t to) {
    if (to == done) return;
    memset(out + (done - begin), 0, to - done);
    pieces.push_back({static_cast<uint32_t>(to - done), SHOAL_DELTA_LITERAL, 0});
  };
  for (size_t i = at(begin); i < covers.size() && covers[i].target < end; i++) {
    const Cover& c = covers[i];
    const uint64_t from = std::max(begin, c.target), to = std::min(end, c.target + c.length);
    freshTo(from);
    const uint32_t length = static_cast<uint32_t>(to - from);
    if (c.base & kFill) {
      memset(out + (from - begin), static_cast<int>(c.base & 0xFF), length);
      pieces.push_back({length, SHOAL_DELTA_FILL, 0});
    } else {
      const uint64_t place = (c.base & ~kTable) + (from - c.target);
      touch.place();
      touch(length);
      memcpy(out + (from - begin), place < baseSize ? base + place : target + (place - baseSize), length);
      pieces.push_back({length, c.base & kTable ? SHOAL_DELTA_TABLE : SHOAL_DELTA_BASE, place});
    }
    done = to;
  }
  freshTo(end);
}

uint64_t expectedPayload(const uint8_t* prediction, const uint8_t* target, const std::vector<Piece>& pieces) {
  uint64_t wrong = 0, fresh = 0, at = 0;
  for (const Piece& p : pieces) {
    if (p.kind == SHOAL_DELTA_TABLE)
      wrong += p.length / 32;
    else if (p.kind == SHOAL_DELTA_LITERAL)
      fresh += p.length;
    else
      wrong += p.length - countEqual(prediction + at, target + at, p.length);
    at += p.length;
  }
  return wrong / 3 + fresh / 2;
}

}  // namespace shoal::delta
