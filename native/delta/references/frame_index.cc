#include "frame_index.h"

#include <algorithm>
#include <cstring>

#include "delta/coding/change.h"
#include "delta/coding/maps.h"

// Field names and order: Linux Standard Base, Core, "Exception Frames".

namespace shoal::delta {

void clearIndexes(const Rules& rules, uint8_t* bytes) {
  for (const Rule& r : rules.rules)
    if (r.kind == kFrameIndex) memset(bytes + r.begin, 0, r.size);
}

void makeIndexes(const Rules& rules, uint8_t* bytes) {
  for (const Rule& r : rules.rules) {
    if (r.kind != kFrameIndex || r.size == 0) continue;
    const std::vector<uint8_t> rows = indexOf(r, bytes);
    memcpy(bytes + r.begin, rows.data(), rows.size());
  }
}

std::vector<uint8_t> indexOf(const Rule& rule, const uint8_t* bytes) {
  struct Row {
    int32_t place;    // of the code, from the head
    uint32_t record;  // of the segment
  };
  std::vector<Row> rows;
  const uint32_t head = rule.begin - kIndexHead, end = rule.records + rule.recordsSize;
  for (uint32_t at = rule.records; end - at >= 12 && rows.size() < rule.size / kIndexRow;) {
    const uint32_t length = load32(bytes + at);
    if (length < 4 || length > end - at - 4) break;
    // What has no distance back to another is none of code.
    if (load32(bytes + at + 4) != 0 && length >= 8) rows.push_back({static_cast<int32_t>(at + 8 + load32(bytes + at + 8) - head), at});
    at += 4 + length;
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.place != b.place ? a.place < b.place : a.record < b.record; });
  std::vector<uint8_t> out(rule.size);
  for (size_t i = 0; i < rows.size(); i++) {
    store32(out.data() + i * kIndexRow, static_cast<uint32_t>(rows[i].place));
    store32(out.data() + i * kIndexRow + 4, rows[i].record - head);
  }
  return out;
}

}  // namespace shoal::delta
