#include "relocations.h"

#include <algorithm>
#include <map>
#include <string_view>

#include "delta/coding/change.h"
#include "delta/common/bytes.h"
#include "delta/common/touch.h"
#include "follow.h"

// Field names and numbers: System V ABI, "Object Files".

namespace shoal::delta {
namespace {

constexpr uint32_t kSymTab = 2, kStrTab = 3, kRela = 4, kSectionSymbol = 3;
constexpr uint64_t kSymbol = 24;  // bytes
constexpr uint32_t kPc32 = 2, kPlt32 = 4;  // of x86-64

// What reading the tables of both touches, at most.
size_t spanOf(const ImagePair& pair) {
  size_t span = 0;
  for (const Image* image : {&pair.base, &pair.target})
    for (const Section& s : image->sections)
      if (s.type == kRela || s.type == kSymTab || s.type == kStrTab) span += s.size + SHOAL_SCRATCH_TOUCH;
  return span;
}

// Entries of the target with those of the base that covers say they come from.
template <class Visit>
void forEntries(const std::vector<Cover>& covers, uint64_t begin, uint64_t end, const Visit& visit) {
  auto c = std::partition_point(covers.begin(), covers.end(), [&](const Cover& x) { return x.target + x.length <= begin; });
  for (; c != covers.end() && c->target < end; ++c) {
    if (c->base & (kFill | kTable)) continue;
    const uint64_t from = std::max(begin, c->target), to = std::min(end, c->target + c->length);
    for (uint64_t at = begin + (from - begin + kRelocation - 1) / kRelocation * kRelocation; at + kRelocation <= to; at += kRelocation)
      visit(at, c->base + (at - c->target));
  }
}

// Where places of a section went, as its own covers say.
class Places {
 public:
  void add(uint64_t base, uint64_t length, uint64_t shift) { all_.push_back({base, length, shift}); }
  void sort() {
    std::sort(all_.begin(), all_.end(), [](const Part& a, const Part& b) { return a.base < b.base; });
  }
  uint64_t to(uint64_t at) const {
    auto next = std::partition_point(all_.begin(), all_.end(), [&](const Part& p) { return p.base <= at; });
    return next == all_.begin() ? at : at + (next - 1)->shift;
  }

 private:
  struct Part {
    uint64_t base, length, shift;
  };
  std::vector<Part> all_;
};

// What symbols of an object are called: those of sections like these.
std::vector<uint64_t> namesOf(const uint8_t* bytes, const Image& image) {
  std::vector<uint64_t> names;
  for (const Section& s : image.sections) {
    if (s.type != kSymTab || s.size == 0 || s.link >= image.sections.size()) continue;
    const Section& strings = image.sections[s.link];
    for (uint64_t at = 0; at + kSymbol <= s.size; at += kSymbol) {
      const uint8_t* p = bytes + image.at + s.offset + at;
      const uint32_t section = load16(p + 6), name = load32(p);
      uint64_t h = p[4] & 15;
      if (h == kSectionSymbol && section < image.sections.size())
        for (const char c : image.sections[section].name) h = mixed(h, static_cast<uint8_t>(c));
      else
        for (uint64_t k = name; k < strings.size && bytes[image.at + strings.offset + k] != 0; k++) h = mixed(h, bytes[image.at + strings.offset + k]);
      names.push_back(h);
    }
    break;
  }
  return names;
}

// Aligns tables of an object by what their entries say: places as they went, symbols by name.
class Aligner {
 public:
  Aligner(const uint8_t* base, const uint8_t* target, const ImagePair& pair, const std::vector<Cover>& covers)
      : b_(base), t_(target), pair_(pair), covers_(covers) {}

  void run(std::vector<Stretch>& stretches, std::vector<Cover>& found) {
    for (const Section& s : pair_.target.sections) {
      if (s.type != kRela || s.size < kRelocation || s.size % kRelocation != 0) continue;
      const Section* from = pair_.base.section(s.name);
      if (from == nullptr || from->type != kRela || from->size % kRelocation != 0) continue;
      const uint8_t *p = b_ + pair_.base.at + from->offset, *q = t_ + pair_.target.at + s.offset;
      if (s.size == from->size && memcmp(p, q, s.size) == 0) continue;
      if (namesB_.empty()) {
        namesB_ = namesOf(b_, pair_.base);
        namesT_ = namesOf(t_, pair_.target);
        sectionsB_ = sectionSymbols();
      }
      const std::vector<uint64_t> saysB = describe(p, from->size, namesB_, true), saysT = describe(q, s.size, namesT_, false);
      const std::vector<uint32_t> comes = follow(saysB, saysT, [&](size_t i, size_t j) {
        return load32(p + j * kRelocation + 8) == load32(q + i * kRelocation + 8);
      });
      const uint64_t begin = pair_.target.at + s.offset;
      stretches.push_back({begin, begin + s.size});
      for (size_t i = 0; i < comes.size(); i++)
        if (comes[i] != kNone) addCover(found, {begin + i * kRelocation, static_cast<uint64_t>(p - b_) + uint64_t{comes[i]} * kRelocation, kRelocation});
    }
  }

 private:
  // Symbols of the base that stand for sections.
  std::map<uint32_t, std::string_view> sectionSymbols() const {
    std::map<uint32_t, std::string_view> all;
    for (const Section& s : pair_.base.sections) {
      if (s.type != kSymTab) continue;
      for (uint64_t n = 0; (n + 1) * kSymbol <= s.size; n++) {
        const uint8_t* p = b_ + pair_.base.at + s.offset + n * kSymbol;
        if ((p[4] & 15) == kSectionSymbol && load16(p + 6) < pair_.base.sections.size()) all[static_cast<uint32_t>(n)] = pair_.base.sections[load16(p + 6)].name;
      }
      break;
    }
    return all;
  }

  const Places& places(std::string_view name) {
    const auto [known, fresh] = places_.try_emplace(name);
    const Section *b = pair_.base.section(name), *t = pair_.target.section(name);
    if (!fresh || b == nullptr || t == nullptr) return known->second;
    const uint64_t begin = pair_.target.at + t->offset, end = begin + t->size, base = pair_.base.at + b->offset;
    auto c = std::partition_point(covers_.begin(), covers_.end(), [&](const Cover& x) { return x.target + x.length <= begin; });
    for (; c != covers_.end() && c->target < end; ++c) {
      if (c->base & (kFill | kTable)) continue;
      const uint64_t first = std::max(begin, c->target), last = std::min(end, c->target + c->length), at = c->base + (first - c->target);
      if (at >= base && at < base + b->size) known->second.add(at - base, last - first, (first - begin) - (at - base));
    }
    known->second.sort();
    return known->second;
  }

  std::vector<uint64_t> describe(const uint8_t* table, uint64_t size, const std::vector<uint64_t>& names, bool ofBase) {
    std::vector<uint64_t> says;
    uint32_t last = UINT32_MAX;
    const Places* in = nullptr;
    for (uint64_t at = 0; at < size; at += kRelocation) {
      const uint8_t* p = table + at;
      const uint32_t type = load32(p + 8), symbol = load32(p + 12);
      uint64_t addend = load64(p + 16);
      if (ofBase) {
        if (symbol != last) {
          const auto section = sectionsB_.find(symbol);
          in = section == sectionsB_.end() ? nullptr : &places(section->second);
          last = symbol;
        }
        // Counted from behind the field.
        const uint64_t behind = type == kPc32 || type == kPlt32 ? 4 : 0;
        if (in != nullptr && addend + behind < uint64_t{1} << 40) addend = in->to(addend + behind) - behind;
      }
      says.push_back(mixed(mixed(mixed(7, type), symbol < names.size() ? names[symbol] : symbol), addend));
    }
    return says;
  }

  const uint8_t *b_, *t_;
  const ImagePair& pair_;
  const std::vector<Cover>& covers_;
  std::vector<uint64_t> namesB_, namesT_;
  std::map<uint32_t, std::string_view> sectionsB_;
  std::map<std::string_view, Places> places_;
};

class Object {
 public:
  Object(const uint8_t* base, const uint8_t* target, const ImagePair& pair, const std::vector<Cover>& covers)
      : b_(base), t_(target), pair_(pair), covers_(covers) {}

  // False: there is nothing to gain.
  bool run(RelocationsFound& out) {
    std::vector<const Section*> tables;
    for (const Section& s : pair_.target.sections)
      if (s.type == kRela && s.size >= kRelocation && s.size % kRelocation == 0) tables.push_back(&s);
    if (tables.empty()) return false;
    std::sort(tables.begin(), tables.end(), [](const Section* a, const Section* b) { return a->offset < b->offset; });
    // Those that follow the first without a gap.
    size_t n = 1;
    while (n < tables.size() && tables[n]->offset == tables[n - 1]->offset + tables[n - 1]->size) n++;
    tables.resize(n);
    for (const Section& s : pair_.base.sections)
      if (s.type == kSymTab && s.size > 0) symbols_ = &s;
    if (symbols_ == nullptr) return false;
    out.begin = pair_.target.at + tables.front()->offset;
    out.end = pair_.target.at + tables.back()->offset + tables.back()->size;
    bool any = false;
    for (const Section* s : tables) any = vote(*s) || any;
    if (!any) return false;
    out.maps.push_back(mapOf(settle(symbolVotes_)));
    std::map<std::string_view, uint32_t> numbers;
    for (auto& [name, votes] : places_) {
      ValueMap map = mapOf(settle(votes));
      if (map.from.empty() || (map.from.size() == 1 && map.by[0] == 0)) continue;
      numbers[name] = static_cast<uint32_t>(out.maps.size());
      out.maps.push_back(std::move(map));
    }
    for (const auto& [symbol, name] : used_) {
      const auto known = numbers.find(name);
      if (known != numbers.end() && out.addends.size() < kMostUses) out.addends.push_back({symbol, known->second});
    }
    for (const Section* s : tables) {
      const auto known = numbers.find(patched(pair_.target, *s));
      const uint32_t map = known == numbers.end() ? 0 : known->second + 1, entries = static_cast<uint32_t>(s->size / kRelocation);
      if (!out.offsets.empty() && out.offsets.back().map == map)
        out.offsets.back().value += entries;
      else
        out.offsets.push_back({entries, map});
    }
    if (out.offsets.back().map == 0) out.offsets.pop_back();
    return out.offsets.size() <= kMostUses;
  }

 private:
  static std::string_view patched(const Image& image, const Section& s) {
    return s.info < image.sections.size() ? image.sections[s.info].name : std::string_view{};
  }
  // The section that a symbol of the base stands for.
  std::string_view sectionOf(uint32_t symbol) const {
    if (symbol >= symbols_->size / kSymbol) return {};
    const uint8_t* p = b_ + pair_.base.at + symbols_->offset + symbol * kSymbol;
    const uint32_t section = load16(p + 6);
    if ((p[4] & 15) != kSectionSymbol || section >= pair_.base.sections.size()) return {};
    return pair_.base.sections[section].name;
  }

  bool vote(const Section& s) {
    bool any = false;
    std::vector<ValuePair>& offsets = places_[patched(pair_.target, s)];
    const uint64_t begin = pair_.target.at + s.offset;
    forEntries(covers_, begin, begin + s.size, [&](uint64_t at, uint64_t from) {
      const uint8_t *p = b_ + from, *q = t_ + at;
      // Of the same type, or they do not belong together.
      if (load32(p + 8) != load32(q + 8)) return;
      offsets.push_back({load32(p), load32(q)});
      const uint32_t symbol = load32(p + 12);
      symbolVotes_.push_back({symbol, load32(q + 12)});
      any = any || memcmp(p, q, kRelocation) != 0;
      const std::string_view name = sectionOf(symbol);
      if (name.empty() || load32(p + 20) != 0 || load32(q + 20) != 0) return;
      used_[symbol] = name;
      places_[name].push_back({load32(p + 16), load32(q + 16)});
    });
    return any;
  }

  const uint8_t *b_, *t_;
  const ImagePair& pair_;
  const std::vector<Cover>& covers_;
  const Section* symbols_ = nullptr;
  std::vector<ValuePair> symbolVotes_;
  std::map<std::string_view, std::vector<ValuePair>> places_;
  std::map<uint32_t, std::string_view> used_;  // symbols of sections
};

}  // namespace

void coverRelocations(const uint8_t* base, const uint8_t* target, const std::vector<ImagePair>& pairs, std::vector<Cover>& covers) {
  std::vector<Stretch> stretches;
  std::vector<Cover> found;
  Touch touch;
  for (const ImagePair& pair : pairs) {
    if (!pair.target.loads.empty() || !pair.target.wide) continue;
    touch(spanOf(pair));
    Aligner(base, target, pair, covers).run(stretches, found);
  }
  std::sort(stretches.begin(), stretches.end(), [](const Stretch& a, const Stretch& b) { return a.begin < b.begin; });
  replaceCovers(covers, stretches, found);
}

std::vector<RelocationsFound> findRelocations(const uint8_t* base, const uint8_t* target, const std::vector<ImagePair>& pairs,
                                              const std::vector<Cover>& covers) {
  std::vector<RelocationsFound> all;
  Touch touch;
  for (const ImagePair& pair : pairs) {
    if (!pair.target.loads.empty() || !pair.target.wide) continue;
    touch(spanOf(pair));
    RelocationsFound one;
    if (Object(base, target, pair, covers).run(one)) all.push_back(std::move(one));
  }
  std::sort(all.begin(), all.end(), [](const RelocationsFound& a, const RelocationsFound& b) { return a.begin < b.begin; });
  return all;
}

std::vector<MapUse> cutOffsets(const std::vector<MapUse>& offsets, uint64_t first, uint64_t count) {
  std::vector<MapUse> cut;
  uint64_t at = 0;
  for (const MapUse& u : offsets) {
    const uint64_t from = std::max(at, first), to = std::min(at + u.value, first + count);
    at += u.value;
    if (from < to) cut.push_back({static_cast<uint32_t>(to - from), u.map});
  }
  return cut;
}

}  // namespace shoal::delta
