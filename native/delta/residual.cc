#include "residual.h"

#include <algorithm>
#include <memory>
#include <new>

#include "delta/coding/few.h"
#include "delta/coding/literals.h"
#include "delta/coding/meter.h"
#include "delta/coding/passages.h"
#include "delta/coding/range_coder.h"
#include "delta/coding/sites.h"
#include "delta/coding/table.h"
#include "delta/common/bytes.h"
#include "delta/common/numbers.h"

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

constexpr size_t kCounts = 3;
constexpr uint64_t kMostPart = (uint64_t{1} << 28) - 1;  // bytes of a part, as four bytes of a number say it
#ifdef SHOAL_SMALL_MODELS
constexpr uint64_t kLeastQuick = 64;
#else
constexpr uint64_t kLeastQuick = 1024;
#endif

// The small way costs some 600 cycles a byte: it is for segments that have time to spare. Where little else is wrong, as in
// text, it saves most: there more time may go into it.
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
  const uint64_t share = literals > 4 * wrong ? 20 : 128;
  return literals + wrong > std::max<uint64_t>(kLeastQuick, size / share) ? kNibbleWay : kMixedWay;
}

template <class Coder>
void run(Coder& coder, Coder* counts, State& state, Aside& aside, uint8_t* bytes, const uint8_t* target, uint32_t origin,
         const Piece* pieces, size_t count) {
  Sites<Coder> sites(coder, counts, state.sites, state.changes, bytes, target);
  Literals<Coder> literals(coder, state.literals, bytes, target, aside);
  uint32_t at = 0;
  for (size_t i = 0; i < count; i++) {
    const Piece& p = pieces[i];
    const uint32_t end = at + p.length;
    coder.piece(p.kind);
    switch (p.kind) {
      case SHOAL_DELTA_LITERAL: literals.run(at, end); break;
      case SHOAL_DELTA_BASE: sites.run(at, end, static_cast<uint32_t>(p.base) - at, origin + at - static_cast<uint32_t>(p.base)); break;
      case SHOAL_DELTA_FILL: sites.run(at, end, 0, 0); break;
      default: codeTable(coder, state.tables, state.changes, bytes, target, at, end);
    }
    at = end;
  }
  sites.finish();
}

}  // namespace

bool encodePayload(uint8_t* prediction, const uint8_t* target, size_t size, uint32_t origin, const Piece* pieces,
                   size_t count, std::vector<uint8_t>& payload) {
  const LiteralWay way = chooseWay(prediction, target, size, pieces, count);
  const std::unique_ptr<State> state(new (std::nothrow) State(way));
  if (!state) return false;
  std::vector<uint8_t> few;
  std::vector<FewChange> changes;
  if (findFew(prediction, target, size, changes)) encodeFew(prediction, target, size, changes, few);
  std::vector<uint8_t> coded, counted[kCounts], passed;
  RangeEncoder coder(coded), counts[kCounts] = {RangeEncoder(counted[0]), RangeEncoder(counted[1]), RangeEncoder(counted[2])};
  Aside aside;
  aside.out = &passed;
  run(coder, counts, *state, aside, prediction, target, origin, pieces, count);
  coder.finish();
  payload.assign(1, way);
  auto part = [&](size_t number, size_t bytes) {
    if (bytes == 0) return;
    payload[0] = static_cast<uint8_t>(payload[0] | 2 << number);
    putNumber(bytes, payload);
  };
  part(0, passed.size());
  for (size_t k = 0; k < kCounts; k++) {
    counts[k].finish();
    part(1 + k, counted[k].size());
  }
  payload.insert(payload.end(), passed.begin(), passed.end());
  for (const auto& bytes : counted) payload.insert(payload.end(), bytes.begin(), bytes.end());
  payload.insert(payload.end(), coded.begin(), coded.end());
  if (!few.empty() && few.size() <= payload.size()) payload.swap(few);
  return true;
}

bool meterFew(const uint8_t* payload, size_t payloadSize, const uint8_t* prediction, const uint8_t* target, size_t size, const Piece* pieces,
              Meter& meter) {
  const uint8_t* at = payload;
  size_t listed, end = pieces[0].length;
  FewWay way;
  std::vector<FewChange> changes;
  if (!readFewHead(at, payload + payloadSize, listed, way) || !findFew(prediction, target, size, changes) || listed != changes.size())
    return false;
  MeterCoder coder(meter);
  const Piece* piece = pieces;
  return codeFew(coder, way, listed, changes.data(), prediction, target, size, [&](size_t place) {
    while (end <= place) end += (++piece)->length;
    coder.at(place);
    coder.piece(piece->kind);
  });
}

bool meterPayload(uint8_t* prediction, const uint8_t* target, size_t size, const Piece* pieces, size_t count, uint32_t origin, Meter& meter) {
  const LiteralWay way = chooseWay(prediction, target, size, pieces, count);
  const std::unique_ptr<State> state(new (std::nothrow) State(way));
  if (!state) return false;
  std::vector<uint8_t> passed;
  MeterCoder coder(meter), counts[kCounts] = {MeterCoder(meter), MeterCoder(meter), MeterCoder(meter)};
  Aside aside;
  aside.out = &passed;
  run(coder, counts, *state, aside, prediction, target, origin, pieces, count);
  return true;
}

int32_t decodePayload(const uint8_t* payload, size_t payloadSize, uint8_t* prediction, size_t size, uint32_t origin,
                      const Piece* pieces, size_t count) {
  const uint8_t *at = payload, *end = payload + payloadSize;
  if (payloadSize == 0) return SHOAL_DELTA_DAMAGED;
  if (*at >= kPassagesHead) return decodePassages(payload, payloadSize, prediction, size);
  if (*at >= kFewHead) return decodeFew(payload, payloadSize, prediction, size) ? SHOAL_DELTA_OK : SHOAL_DELTA_DAMAGED;
  const uint32_t head = *at++;
  const LiteralWay way = static_cast<LiteralWay>(head & 1);
  uint64_t sizes[1 + kCounts] = {}, sum = 0;
  for (size_t k = 0; k < 1 + kCounts; k++) {
    if ((head & 2u << k) != 0 && !getNumber(at, end, kMostPart, sizes[k], 4)) return SHOAL_DELTA_DAMAGED;
    sum += sizes[k];
  }
  if (sum > static_cast<uint64_t>(end - at)) return SHOAL_DELTA_DAMAGED;
  const std::unique_ptr<State> state(new (std::nothrow) State(way));
  if (!state) return SHOAL_DELTA_NO_MEMORY;
  Aside aside;
  aside.in = at;
  aside.end = at += sizes[0];
  auto next = [&](size_t n) {
    at += sizes[n];
    return RangeDecoder(at - sizes[n], sizes[n]);
  };
  RangeDecoder first = next(1), second = next(2), counts[kCounts] = {first, second, next(3)};
  RangeDecoder coder(at, static_cast<size_t>(end - at));
  run(coder, counts, *state, aside, prediction, static_cast<const uint8_t*>(nullptr), origin, pieces, count);
  return SHOAL_DELTA_OK;
}

}  // namespace shoal::delta
