// ELF files (little-endian) anywhere in an artifact. Internal C++ interface of the encoder.
#ifndef SHOAL_DELTA_IMAGES_H
#define SHOAL_DELTA_IMAGES_H

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "delta/common/cover.h"
#include "delta/delta.h"

namespace shoal::delta {

struct Section {
  std::string_view name;  // of the bytes
  uint32_t type, link, info;
  uint64_t flags, address, offset, size;
};
struct Load {
  uint64_t offset, address, fileSize, memorySize;
  uint32_t flags;
};
struct Image {
  uint64_t at, end;
  uint16_t machine;
  bool wide;  // 64 bits
  std::vector<Section> sections;
  std::vector<Load> loads;  // none in relocatable objects

  const Section* section(std::string_view name) const {
    for (const Section& s : sections)
      if (s.size > 0 && s.name == name) return &s;
    return nullptr;
  }
};

// An image of the target and the one of the base, for the same machine, that most of it comes from.
struct ImagePair {
  Image base, target;
};

// What of an artifact was compressed, by where it lies now: offsets in executables count the bytes that were there.
class Opened {
 public:
  Opened() = default;
  Opened(const shoal_delta_stream* streams, size_t count);
  // Where the byte `offset` bytes behind the place `at` lies, counted from `at`; UINT64_MAX: in a stream.
  uint64_t offset(uint64_t at, uint64_t offset) const;

 private:
  struct Stream {
    uint64_t at, held, raw, size;
  };
  std::vector<Stream> streams_;
};

// `opened`: of the target.
std::vector<ImagePair> pairImages(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize, const Opened& opened,
                                  const std::vector<Cover>& covers);

}  // namespace shoal::delta

#endif
