#include "types.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "delta/coding/change.h"
#include "delta/common/bytes.h"
#include "delta/common/touch.h"
#include "delta/references/type_records.h"
#include "follow.h"

// Types of a module follow those of the kernel: numbers and offsets below those of its own name the kernel's, the same ones
// in all modules. From one kernel to the next these are dealt out anew, and records come and go. Alignment goes by what
// records say: first without what the kernel's numbers mean, then, with a map of these learned from all modules, with it.

namespace shoal::delta {
namespace {

constexpr size_t kMostRecords = 1 << 20;
constexpr uint32_t kFunction = 12, kPrototype = 13;

struct Record {
  uint32_t at, size;  // bytes within the records
};

// Records of one section.
struct Types {
  const uint8_t* records = nullptr;
  size_t bytes = 0;
  const uint8_t* strings = nullptr;
  uint32_t stringBytes = 0;
  std::vector<Record> list;

  // What reading all of it touches.
  size_t span() const { return bytes + stringBytes + 2 * SHOAL_SCRATCH_TOUCH; }
  uint32_t word(size_t i, uint32_t k) const { return load32(records + list[i].at + 4 * k); }
  uint32_t kind(size_t i) const { return word(i, 1) >> 24 & 31; }
};

bool readTypes(const uint8_t* bytes, const Image& image, Types& out) {
  const Section* section = image.section(".BTF");
  if (section == nullptr || section->size < 24 || section->size > UINT32_MAX) return false;
  const uint8_t* p = bytes + image.at + section->offset;
  const uint64_t head = load32(p + 4), size = section->size;
  if (load16(p) != 0xEB9F || p[2] != 1 || head < 24 || head > size) return false;
  const uint64_t at = head + load32(p + 8), length = load32(p + 12), text = head + load32(p + 16), textSize = load32(p + 20);
  if (at > size || length > size - at || text > size || textSize > size - text) return false;
  out.records = p + at;
  out.bytes = static_cast<size_t>(length);
  out.strings = p + text;
  out.stringBytes = static_cast<uint32_t>(textSize);
  for (size_t i = 0; i + 12 <= length && out.list.size() < kMostRecords;) {
    const uint32_t words = typeWords(load32(out.records + i + 4));
    if (words == 0 || uint64_t{words} * 4 > length - i) return false;
    out.list.push_back({static_cast<uint32_t>(i), 4 * words});
    i += 4 * words;
  }
  return !out.list.empty();
}

// What occurs most often.
class Votes {
 public:
  void add(uint32_t v) { all_.push_back(v); }
  bool most(uint32_t& v) {
    std::sort(all_.begin(), all_.end());
    size_t best = 0;
    for (size_t i = 0, j; i < all_.size(); i = j) {
      for (j = i; j < all_.size() && all_[j] == all_[i];) j++;
      if (j - i > best) {
        best = j - i;
        v = all_[i];
      }
    }
    return best > 0;
  }

 private:
  std::vector<uint32_t> all_;
};

// The first number and the first offset that are a module's own.
struct Limits {
  uint32_t id = 0, string = 0;
};

Limits limitsOf(const std::vector<const Types*>& all) {
  Votes ids, strings;
  Touch touch;
  for (const Types* t : all) {
    touch(t->span());
    uint32_t top = 0;
    for (size_t i = 0; i < t->list.size(); i++) {
      forTypeFields(t->records + t->list[i].at, [&](char field, const uint8_t* p) {
        if (field == 's') top = std::max(top, load32(p));
      });
      // A function comes behind its prototype.
      if (t->kind(i) == kFunction && i > 0 && t->kind(i - 1) == kPrototype) ids.add(t->word(i, 2) - static_cast<uint32_t>(i) + 1);
    }
    uint32_t last = t->stringBytes;
    if (last < 2 || t->strings[last - 1] != 0) continue;
    for (last--; last > 0 && t->strings[last - 1] != 0;) last--;
    if (top >= last) strings.add(top - last);
  }
  Limits limits;
  ids.most(limits.id);
  strings.most(limits.string);
  return limits;
}

using Shared = std::unordered_map<uint32_t, uint32_t>;

// What a record says, apart from numbers that change by themselves. `ids`, `strings`: what those of the kernel become (of a
// target: null, they are what they are); without knowing they are not looked at.
std::vector<uint64_t> describe(const Types& t, const Limits& limits, bool knowing, const Shared* ids, const Shared* strings) {
  std::vector<uint64_t> now(t.list.size()), before;
  auto shared = [&](const Shared* map, uint32_t v) -> uint64_t {
    if (!knowing) return 1;
    if (map == nullptr) return v;
    const auto known = map->find(v);
    return known == map->end() ? uint64_t{1} << 40 | v : known->second;
  };
  for (int round = 0; round < 3; round++) {
    before.swap(now);
    now.resize(t.list.size());
    for (size_t i = 0; i < t.list.size(); i++) {
      uint64_t h = mixed(0x1234567, t.word(i, 1));
      forTypeFields(t.records + t.list[i].at, [&](char field, const uint8_t* p) {
        const uint32_t v = load32(p);
        if (field == 's') {
          if (v >= limits.string && v - limits.string < t.stringBytes) {
            const char* text = reinterpret_cast<const char*>(t.strings) + (v - limits.string);
            for (size_t k = 0; k < t.stringBytes - (v - limits.string) && text[k] != 0; k++) h = mixed(h, static_cast<uint8_t>(text[k]));
          } else {
            h = mixed(h, shared(strings, v));
          }
        } else if (field == 'i') {
          const uint32_t own = v - limits.id;
          h = mixed(h, v >= limits.id && own < t.list.size() ? (round == 0 ? 2 : before[own]) : shared(ids, v));
        }
      });
      now[i] = h;
    }
  }
  return now;
}

// Fields of records that belong together.
template <class Visit>
void forPairs(const Types& b, const Types& t, const std::vector<uint32_t>& from, const Visit& visit) {
  for (size_t i = 0; i < from.size(); i++) {
    if (from[i] == kNone) continue;
    const uint8_t *p = b.records + b.list[from[i]].at, *q = t.records + t.list[i].at;
    forTypeFields(p, [&](char field, const uint8_t* at) { visit(field, load32(at), load32(q + (at - p))); });
  }
}

}  // namespace

void coverTypes(const uint8_t* base, const uint8_t* target, const std::vector<ImagePair>& pairs, std::vector<Cover>& covers, AllTypes& all) {
  struct Module {
    Types b, t;
    std::vector<uint32_t> from;
  };
  std::vector<Module> modules;
  Touch touch;
  for (const ImagePair& pair : pairs) {
    Module m;
    if (readTypes(base, pair.base, m.b) && readTypes(target, pair.target, m.t)) modules.push_back(std::move(m));
    touch(m.b.span() + m.t.span());
  }
  if (modules.empty()) return;
  std::vector<const Types*> ofBase, ofTarget;
  for (const Module& m : modules) {
    ofBase.push_back(&m.b);
    ofTarget.push_back(&m.t);
  }
  const Limits given = limitsOf(ofBase), wanted = limitsOf(ofTarget);
  Shared ids, strings;
  for (int round = 0; round < 2; round++) {
    const bool knowing = round > 0;
    std::vector<ValuePair> idVotes, stringVotes;
    for (Module& m : modules) {
      touch(m.b.span() + m.t.span());
      m.from = follow(describe(m.b, given, knowing, &ids, &strings), describe(m.t, wanted, knowing, nullptr, nullptr),
                      [&](size_t i, size_t j) { return m.t.word(i, 1) == m.b.word(j, 1); });
      forPairs(m.b, m.t, m.from, [&](char field, uint32_t v, uint32_t to) {
        if (field == 'i' && v < given.id && to < wanted.id) idVotes.push_back({v, to});
        if (field == 's' && v < given.string && to < wanted.string) stringVotes.push_back({v, to});
      });
    }
    all.ids = settle(idVotes);
    all.strings = settle(stringVotes);
    for (const ValuePair& p : all.ids) ids[p.from] = p.to;
    for (const ValuePair& p : all.strings) strings[p.from] = p.to;
  }
  std::vector<Cover> found;
  for (const Module& m : modules) {
    touch(m.b.span() + m.t.span());
    TypesFound one;
    one.begin = static_cast<uint64_t>(m.t.records - target);
    one.end = one.begin + m.t.bytes;
    std::vector<ValuePair> ownIds, ownStrings;
    forPairs(m.b, m.t, m.from, [&](char field, uint32_t v, uint32_t to) {
      if (field == 'i' && v < given.id) one.commonIds.push_back(v);
      if (field == 's' && v < given.string) one.commonStrings.push_back(v);
      if (field == 's' && v >= given.string) ownStrings.push_back({v, to});
      if (field == 'i' && v >= given.id) ownIds.push_back({v, to});
    });
    one.ids = mapOf(settle(ownIds));
    one.strings = mapOf(settle(ownStrings));
    sortUnique(one.commonIds);
    sortUnique(one.commonStrings);
    for (size_t i = 0; i < m.from.size(); i++)
      if (m.from[i] != kNone) addCover(found, {one.begin + m.t.list[i].at, static_cast<uint64_t>(m.b.records - base) + m.b.list[m.from[i]].at, m.t.list[i].size});
    all.sections.push_back(std::move(one));
  }
  std::sort(all.sections.begin(), all.sections.end(), [](const TypesFound& a, const TypesFound& b) { return a.begin < b.begin; });
  std::vector<Stretch> places;
  for (const TypesFound& s : all.sections) places.push_back({s.begin, s.end});
  replaceCovers(covers, places, found);
}

}  // namespace shoal::delta
