// A segment's payload: what the prediction got wrong, and what nothing predicted (docs/delta.md). Internal C++ interface.
#ifndef SHOAL_DELTA_RESIDUAL_H
#define SHOAL_DELTA_RESIDUAL_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/references/references.h"

namespace shoal::delta {


// `prediction` becomes the target. False: no memory.
bool encodePayload(uint8_t* prediction, const uint8_t* target, size_t size, uint32_t origin, const Piece* pieces,
                   size_t count, std::vector<uint8_t>& payload);

// `prediction` becomes the target; pieces add up to `size`. A status of delta.h.
int32_t decodePayload(const uint8_t* payload, size_t payloadSize, uint8_t* prediction, size_t size, uint32_t origin,
                      const Piece* pieces, size_t count);

struct Meter;
// What a payload that lists few changes is spent on; false: it is not of this target. Then of all others: what encodePayload makes;
// `prediction` becomes the target, false: no memory.
bool meterFew(const uint8_t* payload, size_t payloadSize, const uint8_t* prediction, const uint8_t* target, size_t size,
              const Piece* pieces, Meter& meter);
bool meterPayload(uint8_t* prediction, const uint8_t* target, size_t size, const Piece* pieces, size_t count,
                  uint32_t origin, Meter& meter);

}  // namespace shoal::delta

#endif
