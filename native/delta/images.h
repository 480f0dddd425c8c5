// ELF files (64 bits, little-endian) anywhere in an artifact. Internal C++ interface of the encoder.
#ifndef SHOAL_DELTA_IMAGES_H
#define SHOAL_DELTA_IMAGES_H

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "match.h"

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

std::vector<ImagePair> pairImages(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize,
                                  const std::vector<Cover>& covers);

}  // namespace shoal::delta

#endif
