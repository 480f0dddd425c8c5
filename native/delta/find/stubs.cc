#include "stubs.h"

#include <algorithm>
#include <cstring>

#include "delta/coding/change.h"
#include "follow.h"

// Field names and numbers: System V ABI, "Object Files"; the processors' supplements, "Procedure Linkage Table".

namespace shoal::delta {
namespace {

constexpr uint16_t kMachineArm = 40;
constexpr uint32_t kRela = 4, kRel = 9;
constexpr uint64_t kHeads[] = {32, 20, 16, 0};  // bytes before the first stub
constexpr uint8_t kFromThumb[] = {0x78, 0x47};  // bx pc, and one more that does nothing

constexpr uint64_t kMostName = 4096;  // bytes of it that count

struct Stub {
  uint64_t at, size;
};

class Stubs {
 public:
  Stubs(const uint8_t* bytes, const Image& image) : bytes_(bytes), image_(image) {
    const Section* calls = image.section(".rela.plt");
    if (calls == nullptr) calls = image.section(".rel.plt");
    const Section* stubs = image.section(".plt");
    if (calls == nullptr || stubs == nullptr || (calls->type != kRela && calls->type != kRel) || calls->link >= image.sections.size()) return;
    const uint64_t word = image.wide ? 8 : 4, entry = (calls->type == kRela ? 3 : 2) * word, count = calls->size / entry;
    if (count == 0 || !place(*stubs, count)) return;
    const Section& symbols = image.sections[calls->link];
    for (uint64_t i = 0; i < count; i++) {
      const uint8_t* info = bytes + image.at + calls->offset + i * entry + word;
      says.push_back(nameOf(symbols, image.wide ? load32(info + 4) : load32(info) >> 8));
    }
  }

  uint64_t span() const { return all.back().at + all.back().size - all.front().at; }

  std::vector<Stub> all;
  std::vector<uint64_t> says;  // of each

 private:
  bool place(const Section& s, uint64_t count) {
    const uint64_t begin = image_.at + s.offset;
    for (const uint64_t head : kHeads) {
      if (s.size <= head || (s.size - head) % count != 0) continue;
      const uint64_t size = (s.size - head) / count;
      if (size != 12 && size != 16) continue;
      for (uint64_t i = 0; i < count; i++) all.push_back({begin + head + i * size, size});
      return true;
    }
    if (image_.machine != kMachineArm) return false;
    // Some begin with what switches from one instruction set to the other.
    uint64_t at = kHeads[1];
    for (uint64_t i = 0; i < count && at + 16 <= s.size + 4; i++) {
      const bool longer = at + 16 <= s.size && memcmp(bytes_ + begin + at, kFromThumb, sizeof kFromThumb) == 0;
      all.push_back({begin + at, longer ? 16u : 12u});
      at += all.back().size;
    }
    if (at == s.size && all.size() == count) return true;
    all.clear();
    return false;
  }
  uint64_t nameOf(const Section& symbols, uint32_t number) const {
    const uint64_t size = image_.wide ? 24 : 16;
    if ((number + uint64_t{1}) * size > symbols.size || symbols.link >= image_.sections.size()) return number;
    const Section& text = image_.sections[symbols.link];
    uint64_t h = 7;
    const uint64_t from = load32(bytes_ + image_.at + symbols.offset + number * size), end = std::min(text.size, from + kMostName);
    for (uint64_t k = from; k < end && bytes_[image_.at + text.offset + k] != 0; k++)
      h = mixed(h, bytes_[image_.at + text.offset + k]);
    return h;
  }

  const uint8_t* bytes_;
  const Image& image_;
};

}  // namespace

void coverStubs(const uint8_t* base, const uint8_t* target, const std::vector<ImagePair>& pairs, std::vector<Cover>& covers) {
  std::vector<Stretch> stretches;
  std::vector<Cover> found;
  for (const ImagePair& pair : pairs) {
    if (pair.target.loads.empty()) continue;
    const Stubs given(base, pair.base), wanted(target, pair.target);
    if (given.all.empty() || wanted.all.empty() || (given.says == wanted.says && given.span() == wanted.span())) continue;
    const std::vector<uint32_t> comes = follow(given.says, wanted.says, [](size_t, size_t) { return false; });
    stretches.push_back({wanted.all.front().at, wanted.all.back().at + wanted.all.back().size});
    for (size_t i = 0; i < comes.size(); i++) {
      if (comes[i] == kNone) continue;
      const Stub &t = wanted.all[i], &b = given.all[comes[i]];
      // By their ends: what switches comes first.
      const uint64_t size = std::min(t.size, b.size);
      addCover(found, {t.at + t.size - size, b.at + b.size - size, size});
    }
  }
  replaceCovers(covers, std::move(stretches), std::move(found));
}

}  // namespace shoal::delta
