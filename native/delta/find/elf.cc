#include "elf.h"

#include <algorithm>

#include "delta/references/frame_index.h"

// Field names and numbers: System V ABI, "Object Files"; the processors' supplements.

namespace shoal::delta {
namespace {

constexpr uint16_t kMachineI386 = 3, kMachineArm = 40, kMachineX86 = 62, kMachineArm64 = 183, kMachineRiscV = 243;
constexpr uint32_t kProgBits = 1, kSymTab = 2, kRela = 4, kRel = 9, kArmIndex = 0x70000001, kInitArray = 14, kFiniArray = 15, kDynSym = 11, kDynamic = 6;
constexpr uint64_t kWrite = 1, kAlloc = 2, kExec = 4;

// Of a target's image against the base's.
class Pair {
 public:
  Pair(const Image& base, const Image& target, FoundRules& found) : b_(base), t_(target), found_(found) {}

  void run(const std::vector<JumpsFound>& all, size_t number) {
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
      } else if (s.type == kArmIndex || s.name == ".ARM.extab") {
        at(s, kPlaces31);
      } else if (s.type == kSymTab || s.type == kDynSym) {
        pointers(s, addresses_, t_.wide ? 24 : 16, t_.wide ? 8 : 4, word());
        strings(s);
      } else if (s.type == kRela || s.type == kRel) {
        const uint8_t entry = static_cast<uint8_t>((s.type == kRela ? 3 : 2) * word());
        pointers(s, addresses_, entry, 0, word());
        if (s.type == kRela) pointers(s, addresses_, entry, 2 * word(), word());
      } else if (s.type == kDynamic) {
        pointers(s, addresses_, 2 * word(), word(), word());
      } else if (s.type == kInitArray || s.type == kFiniArray || (s.type == kProgBits && (s.flags & kAlloc))) {
        pointers(s, addresses_, word(), 0, word());
      }
    }
    const Section *rows = t_.section(".eh_frame_hdr"), *records = t_.section(".eh_frame");
    if (rows != nullptr && records != nullptr && rows->size > kIndexHead + kIndexRow) index(*rows, *records);
    for (size_t i = 0; i < all.size(); i++)
      if (all[i].pair == number) jumps(all[i], i);
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
  void add(const Section& s, const Rule& rule) const { found_.rules.push_back({t_.at + s.offset, t_.at + s.offset + s.size, rule}); }
  // Of an index whose records lie as far from it in memory as in the file.
  void index(const Section& s, const Section& records) const {
    if (records.address - s.address != records.offset - s.offset) return;
    Rule rule;
    rule.kind = kFrameIndex;
    const uint64_t begin = t_.at + s.offset + kIndexHead;
    found_.rules.push_back({begin, begin + (s.size - kIndexHead) / kIndexRow * kIndexRow, rule, t_.at + records.offset, records.size});
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
  // Those tables' own rule.
  void jumps(const JumpsFound& jumps, size_t number) const {
    const Space& space = found_.spaces[addresses_];
    for (size_t i = 0; i < space.size(); i++) {
      if (space[i].bare || jumps.starts.front() - space[i].base >= space[i].size) continue;
      Rule rule;
      rule.kind = kJumps;
      rule.space = static_cast<uint32_t>(addresses_);
      rule.home = static_cast<uint8_t>(i);
      rule.ids = static_cast<uint32_t>(number);
      found_.rules.push_back({jumps.begin, jumps.end, rule, 0, 0});
      return;
    }
  }
  // Bytes of an address.
  uint8_t word() const { return t_.wide ? 8 : 4; }
  void code(const Section& s) const {
    if (t_.machine == kMachineX86) at(s, kCodeX86);
    if (t_.machine == kMachineArm64) at(s, kCodeArm64);
    if (t_.machine == kMachineRiscV) at(s, kCodeRiscV);
    if (t_.machine == kMachineI386) at(s, kCodeI386);
    if (t_.machine == kMachineArm) {
      at(s, kCodeArm32);
      at(s, kCodeThumb);
      // Pools of words between functions.
      pointers(s, addresses_, 4, 0, 4);
    }
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
      pointers(s, found_.spaces.size() - 1, t_.wide ? 24 : 16, 0, 4);
      return;
    }
  }

  const Image &b_, &t_;
  FoundRules& found_;
  size_t addresses_ = 0;
};

}  // namespace

void findReferences(const std::vector<ImagePair>& pairs, const std::vector<JumpsFound>& jumps, FoundRules& found) {
  for (size_t i = 0; i < pairs.size(); i++) Pair(pairs[i].base, pairs[i].target, found).run(jumps, i);
  std::stable_sort(found.rules.begin(), found.rules.end(), [](const FoundRule& a, const FoundRule& b) { return a.begin < b.begin; });
}

}  // namespace shoal::delta
