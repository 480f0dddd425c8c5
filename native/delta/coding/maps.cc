#include "maps.h"

#include <memory>
#include <new>

#include "delta/common/numbers.h"
#include "range_coder.h"

namespace shoal::delta {

namespace {

// Numbers of each kind, of maps with a parent and without.
struct MapNumbers {
  GammaState parents, counts, from[2], by[2];

  MapNumbers() {
    parents.reset();
    counts.reset();
    for (int k = 0; k < 2; k++) {
      from[k].reset();
      by[k].reset();
    }
  }
};

uint32_t folded(uint32_t v) { return v >> 31 ? ~v << 1 | 1 : v << 1; }
uint32_t unfolded(uint32_t v) { return v & 1 ? ~(v >> 1) : v >> 1; }

}  // namespace

void writeMaps(const std::vector<ValueMap>& maps, std::vector<uint8_t>& out) {
  putNumber(maps.size(), out);
  if (maps.empty()) return;
  const std::unique_ptr<MapNumbers> n(new (std::nothrow) MapNumbers);
  std::vector<uint8_t> coded;
  RangeEncoder coder(coded);
  for (const ValueMap& m : maps) {
    if (!n) break;
    codeGamma(coder, n->parents, m.parent);
    codeGamma(coder, n->counts, static_cast<uint32_t>(m.from.size()));
    const uint32_t kind = m.parent == 0 ? 0 : 1;
    uint32_t last = 0, by = 0;
    for (size_t k = 0; k < m.from.size(); k++) {
      codeGamma(coder, n->from[kind], m.from[k] - last);
      codeGamma(coder, n->by[kind], folded(m.by[k] - by));
      last = m.from[k];
      by = m.by[k];
    }
  }
  coder.finish();
  putNumber(coded.size(), out);
  out.insert(out.end(), coded.begin(), coded.end());
}

bool readMaps(const uint8_t*& at, const uint8_t* end, std::vector<ValueMap>& maps) {
  uint64_t count, size;
  if (!getNumber(at, end, kMostMaps, count)) return false;
  if (count == 0) return true;
  if (!getNumber(at, end, static_cast<uint64_t>(end - at), size) || size > static_cast<uint64_t>(end - at)) return false;
  const std::unique_ptr<MapNumbers> n(new (std::nothrow) MapNumbers);
  if (!n) return false;
  RangeDecoder coder(at, static_cast<size_t>(size));
  at += size;
  maps.resize(static_cast<size_t>(count));
  size_t left = kMostValues;
  for (size_t i = 0; i < maps.size(); i++) {
    ValueMap& m = maps[i];
    m.parent = codeGamma(coder, n->parents, 0);
    const uint32_t values = codeGamma(coder, n->counts, 0);
    if (m.parent > i || (m.parent != 0 && maps[m.parent - 1].parent != 0) || values > left) return false;
    left -= values;
    const uint32_t kind = m.parent == 0 ? 0 : 1;
    uint64_t from = 0;
    uint32_t by = 0;
    for (uint32_t k = 0; k < values; k++) {
      const uint32_t more = codeGamma(coder, n->from[kind], 0);
      from += more;
      by += unfolded(codeGamma(coder, n->by[kind], 0));
      if ((more == 0 && k > 0) || from > UINT32_MAX) return false;
      m.from.push_back(static_cast<uint32_t>(from));
      m.by.push_back(by);
    }
  }
  return true;
}

}  // namespace shoal::delta
