#include "jumps.h"

#include <algorithm>

#include "delta/coding/change.h"
#include "delta/common/bytes.h"
#include "delta/common/touch.h"
#include "delta/references/shifts.h"
#include "follow.h"

namespace shoal::delta {
namespace {

constexpr uint16_t kMachineArm = 40, kMachineX86 = 62, kMachineRiscV = 243;
constexpr uint64_t kAlloc = 2, kExec = 4;
constexpr uint32_t kProgBits = 1, kArmIndex = 0x70000001;
constexpr size_t kLeastEntries = 3;
constexpr uint32_t kReach = 8;  // instructions within which the rest of an address is looked for

// An instruction and the place that it names, both as positions.
struct Named {
  uint64_t code, place;
};
struct Table {
  uint64_t at;
  size_t entries;
  uint32_t stride = 4;  // bytes of an entry; those of 4 count from the table's beginning, others from themselves
  uint64_t end() const { return at + stride * uint64_t{entries}; }
};

// Which positions an image's addresses are, and which of these are code.
class Places {
 public:
  Places(const uint8_t* bytes, const Image& image) : bytes_(bytes), image_(image) {}

  // Of the position; false: not in memory.
  bool address(uint64_t position, uint64_t& address) const {
    for (const Load& l : image_.loads) {
      if (position - image_.at - l.offset >= l.fileSize) continue;
      address = l.address + (position - image_.at - l.offset);
      return true;
    }
    return false;
  }
  bool position(uint64_t address, uint64_t& position) const {
    for (const Load& l : image_.loads) {
      if (address - l.address >= l.fileSize) continue;
      position = image_.at + l.offset + (address - l.address);
      return true;
    }
    return false;
  }
  const Section* data(uint64_t address) const { return sectionOf(address, 0); }
  bool isCode(uint64_t address) const { return sectionOf(address, kExec) != nullptr; }

  // What instructions name in data, by where these are.
  std::vector<Named> named() const {
    std::vector<Named> all;
    Touch touch;
    for (const Section& s : image_.sections) {
      if (s.type != kProgBits || (s.flags & (kAlloc | kExec)) != (kAlloc | kExec) || s.size < 8) continue;
      touch.place();
      touch(s.size);
      const uint8_t* p = bytes_ + image_.at + s.offset;
      auto add = [&](uint64_t at, uint64_t address) {
        uint64_t place;
        if (data(address) != nullptr && position(address, place)) all.push_back({image_.at + s.offset + at, place});
      };
      if (image_.machine == kMachineX86)
        for (uint64_t i = 0; i + 6 <= s.size; i++) {
          if (p[i] != 0x8D || (p[i + 1] & 0xC7) != 0x05) continue;
          add(i, s.address + i + 6 + static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(load32(p + i + 2)))));
        }
      else
        for (uint64_t i = 0; i + 8 <= s.size; i += (p[i] & 3) == 3 ? 4 : 2) {
          const uint32_t w = load32(p + i);
          if ((w & 0x7F) != 0x17) continue;
          for (uint64_t k = i + 4, left = kReach; k + 4 <= s.size && left > 0; k += (p[k] & 3) == 3 ? 4 : 2, left--) {
            const uint32_t u = load32(p + k);
            if ((u & 0x707F) != 0x13 || (u >> 15 & 31) != (w >> 7 & 31)) continue;
            add(i, s.address + i + static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>((w & 0xFFFFF000u) + static_cast<uint32_t>(static_cast<int32_t>(u) >> 20)))));
            break;
          }
        }
    }
    return all;
  }

  // Of the places named those that tables begin at.
  std::vector<Table> tables(const std::vector<Named>& named) const {
    std::vector<uint64_t> starts;
    for (const Named& n : named)
      if (n.place % 4 == 0) starts.push_back(n.place);
    std::sort(starts.begin(), starts.end());
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    std::vector<Table> all;
    for (size_t i = 0; i < starts.size(); i++) {
      uint64_t begin;
      if (!address(starts[i], begin)) continue;
      const Section* s = data(begin);
      if (s == nullptr) continue;
      const uint64_t most = std::min(i + 1 < starts.size() ? starts[i + 1] : UINT64_MAX, image_.at + s->offset + s->size);
      size_t n = 0;
      while (starts[i] + 4 * n + 4 <= most && isCode(begin + signedAt(starts[i] + 4 * n))) n++;
      if (n >= kLeastEntries) all.push_back({starts[i], n, 4});
    }
    return all;
  }
  // Where an entry of a table at this address leads to.
  uint64_t leadsTo(const Table& t, uint64_t address, size_t entry) const {
    if (t.stride == 4) return address + signedAt(t.at + 4 * entry);
    // A distance of 31 bits.
    const uint32_t v = load32(bytes_ + t.at + t.stride * entry);
    return address + t.stride * entry + static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(v << 1) >> 1));
  }
  uint64_t signedAt(uint64_t position) const { return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(load32(bytes_ + position)))); }

 private:
  const Section* sectionOf(uint64_t address, uint64_t exec) const {
    for (const Section& s : image_.sections)
      if (s.type == kProgBits && address - s.address < s.size && (s.flags & (kAlloc | kExec)) == (kAlloc | exec)) return &s;
    return nullptr;
  }

  const uint8_t* bytes_;
  const Image& image_;
};

class Aligner {
 public:
  Aligner(const uint8_t* base, const uint8_t* target, const ImagePair& pair, const std::vector<Cover>& covers, const Shifts& shifts)
      : b_(base), t_(target), base_(base, pair.base), target_(target, pair.target), covers_(covers), shifts_(shifts) {}

  bool run(std::vector<Stretch>& stretches, std::vector<Cover>& made, JumpsFound& found) {
    const std::vector<Named> namedB = base_.named(), namedT = target_.named();
    const std::vector<Table> given = base_.tables(namedB), wanted = target_.tables(namedT);
    if (given.empty() || wanted.empty()) return false;
    const std::vector<const Table*> comes = pairUp(namedB, namedT, given, wanted);
    for (size_t i = 0; i < wanted.size(); i++)
      if (comes[i] != nullptr) align(*comes[i], wanted[i], stretches, made);
    found.begin = wanted.front().at;
    found.end = wanted.back().end();
    for (const Table& t : given) found.starts.push_back(t.at);
    return true;
  }

  // Indexes of functions.
  void runIndexes(const ImagePair& pair, std::vector<Stretch>& stretches, std::vector<Cover>& made) const {
    for (const Section& t : pair.target.sections) {
      if (t.type != kArmIndex) continue;
      const Section* b = pair.base.section(t.name);
      if (b != nullptr && b->type == kArmIndex)
        align({pair.base.at + b->offset, static_cast<size_t>(b->size / 8), 8}, {pair.target.at + t.offset, static_cast<size_t>(t.size / 8), 8}, stretches, made);
    }
  }

 private:
  static const Table* tableAt(const std::vector<Table>& tables, uint64_t at) {
    auto next = std::partition_point(tables.begin(), tables.end(), [&](const Table& t) { return t.at < at; });
    return next != tables.end() && next->at == at ? &*next : nullptr;
  }

  // Of each table of the target that of the base which an instruction names at the place that it comes from.
  std::vector<const Table*> pairUp(const std::vector<Named>& namedB, const std::vector<Named>& namedT, const std::vector<Table>& given,
                                   const std::vector<Table>& wanted) const {
    std::vector<const Table*> comes(wanted.size());
    auto c = covers_.begin();
    for (const Named& n : namedT) {
      const Table* t = tableAt(wanted, n.place);
      if (t == nullptr) continue;
      while (c != covers_.end() && c->target + c->length <= n.code) ++c;
      if (c == covers_.end() || c->target > n.code || c->base & (kFill | kTable)) continue;
      const uint64_t from = c->base + (n.code - c->target);
      auto b = std::partition_point(namedB.begin(), namedB.end(), [&](const Named& x) { return x.code < from; });
      if (b == namedB.end() || b->code != from) continue;
      const Table* table = tableAt(given, b->place);
      if (table != nullptr) comes[static_cast<size_t>(t - wanted.data())] = table;
    }
    return comes;
  }

  void align(const Table& from, const Table& to, std::vector<Stretch>& stretches, std::vector<Cover>& made) const {
    uint64_t baseAt = 0, targetAt = 0;
    base_.address(from.at, baseAt);
    target_.address(to.at, targetAt);
    // Entries by where they lead to in the target.
    std::vector<uint64_t> saysB, saysT;
    for (size_t i = 0; i < from.entries; i++) {
      uint64_t place = 0, now = 0;
      const uint64_t address = base_.leadsTo(from, baseAt, i);
      if (base_.position(address, place) && target_.address(place + shifts_.at(place), now)) saysB.push_back(now);
      else saysB.push_back(address);
    }
    for (size_t i = 0; i < to.entries; i++) saysT.push_back(target_.leadsTo(to, targetAt, i));
    const std::vector<uint32_t> comes = follow(saysB, saysT, [](size_t, size_t) { return true; });
    size_t right = 0;
    for (size_t i = 0; i < comes.size(); i++) right += comes[i] != kNone && saysB[comes[i]] == saysT[i] ? 4 : 0;
    if (right <= shown(to.at, to.end())) return;
    stretches.push_back({to.at, to.end()});
    for (size_t i = 0; i < comes.size(); i++)
      if (comes[i] != kNone) addCover(made, {to.at + to.stride * i, from.at + from.stride * uint64_t{comes[i]}, to.stride});
  }

  // Bytes of [begin, end) that covers show as they are.
  size_t shown(uint64_t begin, uint64_t end) const {
    size_t right = 0;
    auto c = std::partition_point(covers_.begin(), covers_.end(), [&](const Cover& x) { return x.target + x.length <= begin; });
    for (; c != covers_.end() && c->target < end; ++c) {
      if (c->base & (kFill | kTable)) continue;
      const uint64_t first = std::max(begin, c->target), last = std::min(end, c->target + c->length);
      right += countEqual(b_ + c->base + (first - c->target), t_ + first, last - first);
    }
    return right;
  }

  const uint8_t *b_, *t_;
  const Places base_, target_;
  const std::vector<Cover>& covers_;
  const Shifts& shifts_;
};

}  // namespace

void coverJumps(const uint8_t* base, size_t baseSize, const uint8_t* target, const std::vector<ImagePair>& pairs, std::vector<Cover>& covers,
                std::vector<JumpsFound>& found) {
  std::vector<Stretch> stretches;
  std::vector<Cover> made;
  Shifts shifts;
  for (size_t i = 0; i < pairs.size(); i++) {
    const ImagePair& pair = pairs[i];
    const uint16_t machine = pair.target.machine;
    if (pair.target.loads.empty() || (machine != kMachineX86 && machine != kMachineRiscV && machine != kMachineArm)) continue;
    if (shifts.empty()) shifts.build(covers.data(), covers.size(), baseSize);
    JumpsFound one{i, 0, 0, {}};
    Aligner aligner(base, target, pair, covers, shifts);
    if (machine == kMachineArm)
      aligner.runIndexes(pair, stretches, made);
    else if (aligner.run(stretches, made, one)) found.push_back(std::move(one));
  }
  replaceCovers(covers, std::move(stretches), std::move(made));
  std::sort(found.begin(), found.end(), [](const JumpsFound& a, const JumpsFound& b) { return a.begin < b.begin; });
}

}  // namespace shoal::delta
