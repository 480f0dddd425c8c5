#include "residual.h"

#include <memory>
#include <new>

#include "literals.h"
#include "range_coder.h"
#include "sites.h"

namespace shoal::delta {
namespace {

struct State {
  SiteState sites;
  LiteralState literals;
};

constexpr size_t kHead = 3;

template <class Coder>
bool run(Coder& coder, Aside& aside, uint8_t* bytes, const uint8_t* target, uint32_t origin, const Piece* pieces,
         size_t count) {
  const std::unique_ptr<State> state(new (std::nothrow) State);
  if (!state) return false;
  state->sites.reset();
  state->literals.reset();
  Sites<Coder> sites(coder, state->sites, bytes, target);
  Literals<Coder> literals(coder, state->literals, bytes, target, aside);
  uint32_t at = 0;
  for (size_t i = 0; i < count; i++) {
    const Piece& p = pieces[i];
    const uint32_t end = at + p.length;
    if (p.kind == SHOAL_DELTA_LITERAL)
      literals.run(at, end);
    else if (p.kind == SHOAL_DELTA_BASE)
      sites.run(at, end, p.base - at, origin + at - p.base);
    else
      sites.run(at, end, 0, 0);
    at = end;
  }
  return true;
}

}  // namespace

bool encodePayload(uint8_t* prediction, const uint8_t* target, size_t size, uint32_t origin, const Piece* pieces,
                   size_t count, std::vector<uint8_t>& payload) {
  (void)size;
  std::vector<uint8_t> coded;
  payload.assign(kHead, 0);
  RangeEncoder coder(coded);
  Aside aside;
  aside.out = &payload;
  if (!run(coder, aside, prediction, target, origin, pieces, count)) return false;
  coder.finish();
  const size_t passed = payload.size() - kHead;
  for (size_t k = 0; k < kHead; k++) payload[k] = static_cast<uint8_t>(passed >> 8 * k);
  payload.insert(payload.end(), coded.begin(), coded.end());
  return true;
}

int32_t decodePayload(const uint8_t* payload, size_t payloadSize, uint8_t* prediction, size_t size, uint32_t origin,
                      const Piece* pieces, size_t count) {
  (void)size;
  if (payloadSize < kHead) return SHOAL_DELTA_DAMAGED;
  const size_t passed = payload[0] | static_cast<size_t>(payload[1]) << 8 | static_cast<size_t>(payload[2]) << 16;
  if (passed > payloadSize - kHead) return SHOAL_DELTA_DAMAGED;
  Aside aside;
  aside.in = payload + kHead;
  aside.end = aside.in + passed;
  RangeDecoder coder(aside.end, payloadSize - kHead - passed);
  return run(coder, aside, prediction, static_cast<const uint8_t*>(nullptr), origin, pieces, count)
             ? SHOAL_DELTA_OK
             : SHOAL_DELTA_NO_MEMORY;
}

}  // namespace shoal::delta
