#include "residual.h"

#include <algorithm>
#include <memory>
#include <new>

#include "bytes.h"
#include "literals.h"
#include "range_coder.h"
#include "sites.h"
#include "table.h"

namespace shoal::delta {
namespace {

struct State {
  ChangeState changes;
  SiteState sites;
  TableState tables;
  LiteralState literals;

  explicit State(LiteralWay way) {
    changes.reset();
    sites.reset();
    tables.reset();
    literals.reset(way);
  }
};

constexpr size_t kHead = 7;
#ifdef SHOAL_SMALL_MODELS
constexpr uint64_t kLeastQuick = 64;
#else
constexpr uint64_t kLeastQuick = 1024;
#endif

// The small way costs some 600 cycles a byte: it is for segments that have time to spare.
LiteralWay chooseWay(const uint8_t* prediction, const uint8_t* target, size_t size, const Piece* pieces, size_t count) {
  uint64_t literals = 0, wrong = 0, at = 0;
  for (size_t i = 0; i < count; i++) {
    const size_t length = pieces[i].length;
    if (pieces[i].kind == SHOAL_DELTA_LITERAL)
      literals += length;
    else if (pieces[i].kind != SHOAL_DELTA_TABLE)
      wrong += length - countEqual(prediction + at, target + at, length);
    at += length;
  }
  return literals + wrong > std::max<uint64_t>(kLeastQuick, size / 128) ? kNibbleWay : kMixedWay;
}

template <class Coder>
void run(Coder& coder, Coder& cold, State& state, Aside& aside, uint8_t* bytes, const uint8_t* target, uint32_t origin,
         const Piece* pieces, size_t count) {
  Sites<Coder> sites(coder, cold, state.sites, state.changes, bytes, target);
  Literals<Coder> literals(coder, state.literals, bytes, target, aside);
  uint32_t at = 0;
  for (size_t i = 0; i < count; i++) {
    const Piece& p = pieces[i];
    const uint32_t end = at + p.length;
    switch (p.kind) {
      case SHOAL_DELTA_LITERAL: literals.run(at, end); break;
      case SHOAL_DELTA_BASE: sites.run(at, end, p.base - at, origin + at - p.base); break;
      case SHOAL_DELTA_FILL: sites.run(at, end, 0, 0); break;
      default: codeTable(coder, state.tables, state.changes, bytes, target, at, end);
    }
    at = end;
  }
  sites.finish();
}

size_t u24(const uint8_t* p) { return p[0] | static_cast<size_t>(p[1]) << 8 | static_cast<size_t>(p[2]) << 16; }

}  // namespace

bool encodePayload(uint8_t* prediction, const uint8_t* target, size_t size, uint32_t origin, const Piece* pieces,
                   size_t count, std::vector<uint8_t>& payload) {
  const LiteralWay way = chooseWay(prediction, target, size, pieces, count);
  const std::unique_ptr<State> state(new (std::nothrow) State(way));
  if (!state) return false;
  std::vector<uint8_t> coded, distances;
  payload.assign(kHead, 0);
  payload[0] = way;
  RangeEncoder coder(coded), cold(distances);
  Aside aside;
  aside.out = &payload;
  run(coder, cold, *state, aside, prediction, target, origin, pieces, count);
  coder.finish();
  cold.finish();
  const size_t passed = payload.size() - kHead;
  for (size_t k = 0; k < 3; k++) {
    payload[1 + k] = static_cast<uint8_t>(passed >> 8 * k);
    payload[4 + k] = static_cast<uint8_t>(distances.size() >> 8 * k);
  }
  payload.insert(payload.end(), distances.begin(), distances.end());
  payload.insert(payload.end(), coded.begin(), coded.end());
  return true;
}

int32_t decodePayload(const uint8_t* payload, size_t payloadSize, uint8_t* prediction, size_t size, uint32_t origin,
                      const Piece* pieces, size_t count) {
  (void)size;
  if (payloadSize < kHead || payload[0] > kNibbleWay) return SHOAL_DELTA_DAMAGED;
  const size_t passed = u24(payload + 1), distances = u24(payload + 4), rest = payloadSize - kHead;
  if (passed > rest || distances > rest - passed) return SHOAL_DELTA_DAMAGED;
  const std::unique_ptr<State> state(new (std::nothrow) State(static_cast<LiteralWay>(payload[0])));
  if (!state) return SHOAL_DELTA_NO_MEMORY;
  Aside aside;
  aside.in = payload + kHead;
  aside.end = aside.in + passed;
  RangeDecoder cold(aside.end, distances), coder(aside.end + distances, rest - passed - distances);
  run(coder, cold, *state, aside, prediction, static_cast<const uint8_t*>(nullptr), origin, pieces, count);
  return SHOAL_DELTA_OK;
}

}  // namespace shoal::delta
