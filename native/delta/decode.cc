#include <cstring>
#include <new>

#include "delta.h"
#include "map.h"
#include "references.h"
#include "residual.h"
#include "shifts.h"

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
  if (codec != SHOAL_DELTA_SITES && (codec != SHOAL_DELTA_MOVED || shifts == nullptr)) return SHOAL_DELTA_BAD_ARGUMENT;
  const uint64_t most = codec == SHOAL_DELTA_MOVED ? shifts->baseSize() : SHOAL_DELTA_MAX_SIZE;
  size_t left = size;
  for (size_t i = 0; i < piece_count; i++) {
    if (pieces[i].length > left || pieces[i].length == 0 || pieces[i].kind > SHOAL_DELTA_TABLE ||
        (pieces[i].kind == SHOAL_DELTA_BASE && (pieces[i].base > most || pieces[i].length > most - pieces[i].base)))
      return SHOAL_DELTA_BAD_ARGUMENT;
    left -= pieces[i].length;
  }
  if (left != 0) return SHOAL_DELTA_BAD_ARGUMENT;
  if (codec == SHOAL_DELTA_MOVED) {
    shoal::delta::Rules rules;
    const uint8_t* at = payload;
    if (!shoal::delta::readRules(at, payload + payload_size, size, most, rules)) return SHOAL_DELTA_DAMAGED;
    shoal::delta::moveReferences(rules, *shifts, buffer, origin, pieces, piece_count);
    payload_size -= static_cast<size_t>(at - payload);
    payload = at;
  }
  return shoal::delta::decodePayload(payload, payload_size, buffer, size, origin, pieces, piece_count);
}

shoal_delta_shifts* shoal_delta_shifts_make(const shoal_delta_cover* covers, size_t count, uint64_t base_size) {
  if ((covers == nullptr && count != 0) || count > SHOAL_DELTA_MAX_MAP_COVERS || base_size > SHOAL_DELTA_MAX_SIZE) return nullptr;
  shoal_delta_shifts* shifts = new (std::nothrow) shoal_delta_shifts;
  if (shifts != nullptr) shifts->build(covers, count, base_size);
  return shifts;
}

void shoal_delta_shifts_release(shoal_delta_shifts* shifts) { delete shifts; }
