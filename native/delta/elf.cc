#include "elf.h"

#include <algorithm>

// Field names and numbers: System V ABI, "Object Files"; the processors' supplements.

namespace shoal::delta {
namespace {

constexpr uint16_t kMachineX86 = 62, kMachineArm64 = 183, kMachineRiscV = 243;
constexpr uint32_t kProgBits = 1, kSymTab = 2, kRela = 4, kInitArray = 14, kFiniArray = 15, kDynSym = 11, kDynamic = 6;
constexpr uint64_t kWrite = 1, kAlloc = 2, kExec = 4;

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
    if (t_.machine == kMachineRiscV) at(s, kCodeRiscV);
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

void findReferences(const std::vector<ImagePair>& pairs, FoundRules& found) {
  for (const ImagePair& pair : pairs) Pair(pair.base, pair.target, found).run();
  std::stable_sort(found.rules.begin(), found.rules.end(), [](const FoundRule& a, const FoundRule& b) { return a.begin < b.begin; });
}

}  // namespace shoal::delta
