#include <cstring>
#include <new>

#include "delta.h"
#include "delta/coding/few.h"
#include "delta/coding/map.h"
#include "delta/coding/meter.h"
#include "delta/coding/passages.h"
#include "delta/references/frame_index.h"
#include "delta/references/references.h"
#include "delta/references/shifts.h"
#include "residual.h"

int32_t shoal_delta_decode_page(const uint8_t* page, size_t size, uint64_t target_begin, uint64_t target_end,
                                uint64_t base_size, shoal_delta_cover* covers, size_t cover_count) {
  if ((page == nullptr && size != 0) || (covers == nullptr && cover_count != 0) || target_begin > target_end ||
      target_end > SHOAL_DELTA_MAX_SIZE || base_size > SHOAL_DELTA_MAX_SIZE ||
      cover_count > SHOAL_DELTA_MAX_PAGE_COVERS)
    return SHOAL_DELTA_BAD_ARGUMENT;
  return shoal::delta::decodeMapPage(page, size, target_begin, target_end, base_size, covers, cover_count)
             ? SHOAL_DELTA_OK
             : SHOAL_DELTA_DAMAGED;
}

namespace {

// What decoding a segment is asked for lies within its bounds.
int32_t checkPieces(uint32_t codec, size_t size, const shoal_delta_piece* pieces, size_t count, const shoal_delta_shifts* shifts) {
  if (codec != SHOAL_DELTA_SITES && (codec != SHOAL_DELTA_MOVED || shifts == nullptr)) return SHOAL_DELTA_BAD_ARGUMENT;
  // Places behind the base's end are those of earlier segments: no piece lies in both.
  const uint64_t most = codec == SHOAL_DELTA_MOVED ? shifts->baseSize() : SHOAL_DELTA_MAX_SIZE;
  size_t left = size;
  for (size_t i = 0; i < count; i++) {
    if (pieces[i].length > left || pieces[i].length == 0 || pieces[i].kind > SHOAL_DELTA_TABLE ||
        (pieces[i].kind == SHOAL_DELTA_BASE && (pieces[i].base > SHOAL_DELTA_MAX_SIZE || pieces[i].length > SHOAL_DELTA_MAX_SIZE - pieces[i].base ||
                                                (pieces[i].base < most && pieces[i].length > most - pieces[i].base))))
      return SHOAL_DELTA_BAD_ARGUMENT;
    left -= pieces[i].length;
  }
  return left == 0 ? SHOAL_DELTA_OK : SHOAL_DELTA_BAD_ARGUMENT;
}

// Moves references in `buffer` by the rules at the payload's beginning; `used`: the bytes of these.
bool applyRules(const uint8_t* payload, size_t payloadSize, uint8_t* buffer, size_t size, uint32_t origin,
                const shoal_delta_piece* pieces, size_t count, const shoal_delta_shifts& shifts, shoal::delta::Rules& rules, size_t& used) {
  const uint8_t* at = payload;
  if (!shoal::delta::readRules(at, payload + payloadSize, size, shifts.baseSize(), rules)) return false;
  shoal::delta::moveReferences(rules, shifts, buffer, origin, pieces, count);
  used = static_cast<size_t>(at - payload);
  return true;
}

}  // namespace

int32_t shoal_delta_decode_segment(uint32_t codec, const uint8_t* payload, size_t payload_size, uint8_t* buffer,
                                   size_t size, uint32_t origin, const shoal_delta_piece* pieces, size_t piece_count,
                                   const shoal_delta_shifts* shifts) {
  if (buffer == nullptr || size == 0 || size > SHOAL_DELTA_MAX_SEGMENT || (payload == nullptr && payload_size != 0) ||
      (pieces == nullptr && piece_count != 0) || payload_size > size)
    return SHOAL_DELTA_BAD_ARGUMENT;
  if (codec == SHOAL_DELTA_COPY) return payload_size == 0 ? SHOAL_DELTA_OK : SHOAL_DELTA_DAMAGED;
  if (codec == SHOAL_DELTA_RAW) {
    if (payload_size != size) return SHOAL_DELTA_DAMAGED;
    memcpy(buffer, payload, size);
    return SHOAL_DELTA_OK;
  }
  const int32_t status = checkPieces(codec, size, pieces, piece_count, shifts);
  if (status != SHOAL_DELTA_OK) return status;
  size_t used = 0;
  shoal::delta::Rules rules;
  if (codec == SHOAL_DELTA_MOVED && !applyRules(payload, payload_size, buffer, size, origin, pieces, piece_count, *shifts, rules, used)) return SHOAL_DELTA_DAMAGED;
  const int32_t decoded = shoal::delta::decodePayload(payload + used, payload_size - used, buffer, size, origin, pieces, piece_count);
  if (decoded == SHOAL_DELTA_OK) shoal::delta::makeIndexes(rules, buffer);
  return decoded;
}

int32_t shoal_delta_spent(uint32_t codec, const uint8_t* payload, size_t payload_size, uint8_t* buffer, const uint8_t* target, size_t size,
                          uint32_t origin, const shoal_delta_piece* pieces, size_t piece_count, const shoal_delta_shifts* shifts,
                          const uint32_t* ends, size_t end_count, double* bits, uint64_t* rules) {
  if (buffer == nullptr || target == nullptr || payload == nullptr || size == 0 || size > SHOAL_DELTA_MAX_SEGMENT || ends == nullptr ||
      end_count == 0 || bits == nullptr || rules == nullptr || ends[end_count - 1] != size || (pieces == nullptr && piece_count != 0))
    return SHOAL_DELTA_BAD_ARGUMENT;
  for (size_t i = 1; i < end_count; i++)
    if (ends[i] <= ends[i - 1]) return SHOAL_DELTA_BAD_ARGUMENT;
  const int32_t status = checkPieces(codec, size, pieces, piece_count, shifts);
  if (status != SHOAL_DELTA_OK) return status;
  size_t used = 0;
  shoal::delta::Rules moved;
  if (codec == SHOAL_DELTA_MOVED && !applyRules(payload, payload_size, buffer, size, origin, pieces, piece_count, *shifts, moved, used)) return SHOAL_DELTA_DAMAGED;
  *rules = used;
  std::vector<uint8_t> without(target, target + size);
  shoal::delta::clearIndexes(moved, without.data());
  target = without.data();
  for (size_t i = 0; i < 4 * end_count; i++) bits[i] = 0;
  shoal::delta::Meter meter;
  meter.ends = ends;
  meter.bits = bits;
  if (payload_size > used && payload[used] >= shoal::delta::kPassagesHead)
    return shoal::delta::meterPassages(payload + used, payload_size - used, buffer, size, meter);
  if (payload_size > used && payload[used] >= shoal::delta::kFewHead)
    return shoal::delta::meterFew(payload + used, payload_size - used, buffer, target, size, pieces, meter) ? SHOAL_DELTA_OK : SHOAL_DELTA_DAMAGED;
  return shoal::delta::meterPayload(buffer, target, size, pieces, piece_count, origin, meter) ? SHOAL_DELTA_OK : SHOAL_DELTA_NO_MEMORY;
}

shoal_delta_shifts* shoal_delta_shifts_make(const shoal_delta_cover* covers, size_t count, uint64_t base_size) {
  if ((covers == nullptr && count != 0) || count > SHOAL_DELTA_MAX_MAP_COVERS || base_size > SHOAL_DELTA_MAX_SIZE) return nullptr;
  shoal_delta_shifts* shifts = new (std::nothrow) shoal_delta_shifts;
  if (shifts != nullptr) shifts->build(covers, count, base_size);
  return shifts;
}

void shoal_delta_shifts_release(shoal_delta_shifts* shifts) { delete shifts; }
