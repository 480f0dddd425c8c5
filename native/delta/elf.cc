#include "elf.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "bytes.h"
#include "change.h"

// Field names and numbers: System V ABI, "Object Files"; the processors' supplements.

namespace shoal::delta {
namespace {

constexpr uint16_t kMachineX86 = 62, kMachineArm64 = 183;
constexpr uint32_t kProgBits = 1, kSymTab = 2, kRela = 4, kInitArray = 14, kFiniArray = 15, kDynSym = 11, kDynamic = 6;
constexpr uint64_t kWrite = 1, kAlloc = 2, kExec = 4;
constexpr size_t kMostImages = 1 << 16;

struct Section {
  std::string name;
  uint32_t type, link;
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
  std::vector<Load> loads;
};

bool readImage(const uint8_t* bytes, size_t size, size_t at, Image& image) {
  const uint8_t* p = bytes + at;
  const uint64_t left = size - at;
  if (left < 64 || p[4] != 2 || p[5] != 1 || p[6] != 1) return false;
  const uint32_t type = load16(p + 16);
  image.at = at;
  image.machine = static_cast<uint16_t>(load16(p + 18));
  const uint64_t programs = load64(p + 32), sections = load64(p + 40);
  const uint32_t programSize = load16(p + 54), programCount = load16(p + 56), sectionSize = load16(p + 58),
                 sectionCount = load16(p + 60), names = load16(p + 62);
  if ((type != 2 && type != 3) || programSize != 56 || sectionSize != 64 || names >= sectionCount) return false;
  if (programs > left || programCount * uint64_t{56} > left - programs) return false;
  if (sections > left || sectionCount * uint64_t{64} > left - sections) return false;
  image.end = at + sections + sectionCount * uint64_t{64};
  for (uint32_t i = 0; i < programCount; i++) {
    const uint8_t* h = p + programs + i * 56;
    if (load32(h) != 1) continue;
    const Load l = {load64(h + 8), load64(h + 16), load64(h + 32), load64(h + 40), load32(h + 4)};
    if (l.offset > left || l.fileSize > left - l.offset || l.memorySize < l.fileSize || l.address >> 52 || l.memorySize >> 40) return false;
    image.loads.push_back(l);
  }
  const uint8_t* table = p + sections;
  const uint64_t text = load64(table + names * 64 + 24), textSize = load64(table + names * 64 + 32);
  if (text > left || textSize > left - text) return false;
  for (uint32_t i = 0; i < sectionCount; i++) {
    const uint8_t* h = table + i * 64;
    Section s = {"", load32(h + 4), load32(h + 40), load64(h + 8), load64(h + 16), load64(h + 24), load64(h + 32)};
    const uint32_t name = load32(h);
    if (name < textSize) s.name.assign(reinterpret_cast<const char*>(p + text + name), strnlen(reinterpret_cast<const char*>(p + text + name), textSize - name));
    // Sections without bytes, and what is out of bounds, keep their number.
    if (s.type == 8 || s.offset > left || s.size > left - s.offset) s.size = 0;
    image.sections.push_back(s);
  }
  return true;
}

std::vector<Image> imagesIn(const uint8_t* bytes, size_t size) {
  std::vector<Image> found;
  for (size_t at = 0; at + 64 <= size && found.size() < kMostImages;) {
    const void* next = memmem(bytes + at, size - at, "\x7f" "ELF", 4);
    if (next == nullptr) break;
    at = static_cast<size_t>(static_cast<const uint8_t*>(next) - bytes);
    Image image;
    if (readImage(bytes, size, at, image)) found.push_back(std::move(image));
    at += 4;
  }
  return found;
}

// Base position that the longest cover of [begin, end) comes from; false: none.
bool comesFrom(const std::vector<Cover>& covers, uint64_t begin, uint64_t end, uint64_t& from) {
  auto c = std::partition_point(covers.begin(), covers.end(), [&](const Cover& x) { return x.target + x.length <= begin; });
  uint64_t longest = 0;
  for (; c != covers.end() && c->target < end; ++c) {
    const uint64_t first = std::max(begin, c->target), length = std::min(end, c->target + c->length) - first;
    if (c->base & (kFill | kTable) || length <= longest) continue;
    longest = length;
    from = c->base + (first - c->target);
  }
  return longest != 0;
}

// Of a target's image against the base's.
class Pair {
 public:
  Pair(const Image& base, const Image& target, FoundRules& found) : b_(base), t_(target), found_(found) {}

  void run() {
    addresses_ = found_.spaces.size();
    found_.spaces.push_back(addresses());
    if (found_.spaces.back().empty()) {
      found_.spaces.pop_back();
      return;
    }
    for (const Section& s : t_.sections) {
      if (s.size < 64) continue;
      if ((s.flags & kAlloc) && (s.flags & kExec)) {
        code(s);
      } else if (s.name == ".eh_frame") {
        at(s, kFrames);
      } else if (s.type == kSymTab || s.type == kDynSym) {
        pointers(s, addresses_, 24, 8, 8);
        strings(s);
      } else if (s.type == kRela) {
        pointers(s, addresses_, 24, 0, 8);
        pointers(s, addresses_, 24, 16, 8);
      } else if (s.type == kDynamic) {
        pointers(s, addresses_, 16, 8, 8);
      } else if (s.type == kInitArray || s.type == kFiniArray || (s.type == kProgBits && (s.flags & kAlloc))) {
        pointers(s, addresses_, 8, 0, 8);
      }
    }
  }

 private:
  Space addresses() const {
    Space space;
    if (b_.loads.size() != t_.loads.size()) return space;
    for (size_t i = 0; i < b_.loads.size(); i++) {
      const Load &b = b_.loads[i], &t = t_.loads[i];
      const uint64_t base = b_.at + b.offset, drift = (t.address - (t_.at + t.offset)) - (b.address - base);
      if (b.fileSize > 0) {
        Range* last = space.empty() ? nullptr : &space.back();
        if (last != nullptr && !last->bare && last->drift == drift && b.address - base == last->begin - last->base && b.address > last->begin)
          last->size = b.address + b.fileSize - last->begin;
        else if (space.size() < kMostRanges)
          space.push_back({b.address, b.fileSize, base, drift, false});
      }
      if (b.memorySize > b.fileSize && space.size() < kMostRanges)
        space.push_back({b.address + b.fileSize, b.memorySize - b.fileSize, 0, (t.address + t.fileSize) - (b.address + b.fileSize), true});
    }
    return space;
  }
  void add(const Section& s, Rule rule) const {
    rule.begin = 0;
    found_.rules.push_back({t_.at + s.offset, t_.at + s.offset + s.size, rule});
  }
  void at(const Section& s, uint8_t kind) const {
    // The range that the section of this name lies in.
    for (const Section& b : b_.sections) {
      if (b.name != s.name || b.size == 0) continue;
      const Space& space = found_.spaces[addresses_];
      for (size_t i = 0; i < space.size(); i++) {
        if (space[i].bare || b.address - space[i].begin >= space[i].size) continue;
        Rule rule;
        rule.kind = kind;
        rule.space = static_cast<uint32_t>(addresses_);
        rule.home = static_cast<uint8_t>(i);
        add(s, rule);
        return;
      }
    }
  }
  void code(const Section& s) const {
    if (t_.machine == kMachineX86) at(s, kCodeX86);
    if (t_.machine == kMachineArm64) at(s, kCodeArm64);
  }
  void pointers(const Section& s, size_t space, uint8_t stride, uint8_t field, uint8_t width) const {
    Rule rule;
    rule.kind = kPointers;
    rule.space = static_cast<uint32_t>(space);
    rule.stride = stride;
    rule.field = field;
    rule.width = width;
    add(s, rule);
  }
  void strings(const Section& s) const {
    if (s.link >= t_.sections.size()) return;
    const Section& target = t_.sections[s.link];
    for (const Section& b : b_.sections) {
      if (b.type != s.type || b.link >= b_.sections.size()) continue;
      const Section& base = b_.sections[b.link];
      if (base.size == 0 || target.size == 0) return;
      const uint64_t from = b_.at + base.offset;
      found_.spaces.push_back({{0, base.size, from, from - (t_.at + target.offset), false}});
      pointers(s, found_.spaces.size() - 1, 24, 0, 4);
      return;
    }
  }

  const Image &b_, &t_;
  FoundRules& found_;
  size_t addresses_ = 0;
};

}  // namespace

void findReferences(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize,
                    const std::vector<Cover>& covers, FoundRules& found) {
  const std::vector<Image> wanted = imagesIn(target, targetSize);
  if (wanted.empty()) return;
  const std::vector<Image> given = imagesIn(base, baseSize);
  for (const Image& t : wanted) {
    const Section* largest = nullptr;
    for (const Section& s : t.sections)
      if ((s.flags & kAlloc) && (largest == nullptr || s.size > largest->size)) largest = &s;
    uint64_t from;
    if (largest == nullptr || !comesFrom(covers, t.at + largest->offset, t.at + largest->offset + largest->size, from)) continue;
    // The innermost that holds it.
    const Image* best = nullptr;
    for (const Image& b : given)
      if (b.at <= from && from < b.end && b.machine == t.machine) best = &b;
    if (best != nullptr) Pair(*best, t, found).run();
  }
  std::stable_sort(found.rules.begin(), found.rules.end(), [](const FoundRule& a, const FoundRule& b) { return a.begin < b.begin; });
}

}  // namespace shoal::delta
