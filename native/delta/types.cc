#include "types.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "bytes.h"
#include "change.h"

// Types of a module follow those of the kernel: numbers and offsets below those of its own name the kernel's, the same ones
// in all modules. From one kernel to the next these are dealt out anew, and records come and go. Alignment goes by what
// records say: first without what the kernel's numbers mean, then, with a map of these learned from all modules, with it.

namespace shoal::delta {
namespace {

constexpr size_t kMostRecords = 1 << 20;
constexpr size_t kWays = 24;        // places in the base that a record is compared with
constexpr size_t kFollow = 48;      // records one way is followed before it is chosen
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
  for (const Types* t : all) {
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

uint64_t mixed(uint64_t h, uint64_t v) {
  h = (h ^ v) * 0x9E3779B97F4A7C15ull;
  return h ^ h >> 29;
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

constexpr uint32_t kNone = UINT32_MAX;

// Of each record of the target the one of the base that it comes from.
std::vector<uint32_t> align(const Types& b, const std::vector<uint64_t>& saysB, const Types& t, const std::vector<uint64_t>& saysT) {
  std::unordered_map<uint64_t, std::vector<uint32_t>> places;
  for (size_t i = 0; i < saysB.size(); i++) places[saysB[i]].push_back(static_cast<uint32_t>(i));
  std::vector<uint32_t> from(saysT.size(), kNone);
  const size_t n = saysB.size(), m = saysT.size();
  auto length = [&](size_t i, size_t j) {
    size_t k = 0;
    while (k < kFollow && i + k < m && j + k < n && saysT[i + k] == saysB[j + k]) k++;
    return k;
  };
  size_t next = 0;  // of the base
  for (size_t i = 0; i < m; i++) {
    if (next < n && saysT[i] == saysB[next]) {
      from[i] = static_cast<uint32_t>(next++);
      continue;
    }
    size_t best = n, longest = 0;
    const auto known = places.find(saysT[i]);
    if (known != places.end()) {
      // Those nearest to where the base goes on.
      const std::vector<uint32_t>& list = known->second;
      auto right = std::lower_bound(list.begin(), list.end(), next);
      auto left = right;
      for (size_t way = 0; way < kWays && (right != list.end() || left != list.begin()); way++) {
        const bool forward = left == list.begin() || (right != list.end() && *right - next <= next - *(left - 1));
        const size_t j = forward ? *right++ : *--left;
        const size_t len = length(i, j);
        if (len > longest) {
          longest = len;
          best = j;
        }
      }
    }
    // One that was changed in its place.
    const bool here = next < n && t.word(i, 1) == b.word(next, 1);
    if (here && (longest == 0 || (longest < 4 && best != next + 1 && length(i + 1, next + 1) > longest))) best = next;
    if (best == n) continue;
    from[i] = static_cast<uint32_t>(best);
    next = best + 1;
  }
  return from;
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

// Pairs by value, each with what it becomes most often; what is said once and against its neighbours is an error.
std::vector<ValuePair> settle(std::vector<ValuePair>& votes, size_t least) {
  std::sort(votes.begin(), votes.end(), [](const ValuePair& a, const ValuePair& b) { return a.from != b.from ? a.from < b.from : a.to < b.to; });
  std::vector<ValuePair> kept;
  for (size_t i = 0, j; i < votes.size(); i = j) {
    size_t best = 0, all = i;
    uint32_t to = 0;
    for (; all < votes.size() && votes[all].from == votes[i].from; all = j) {
      for (j = all; j < votes.size() && votes[j].from == votes[i].from && votes[j].to == votes[all].to;) j++;
      if (j - all > best) {
        best = j - all;
        to = votes[all].to;
      }
    }
    j = all;
    if (best >= least && best * 2 > all - i) kept.push_back({votes[i].from, to});
  }
  return kept;
}

void sortUnique(std::vector<uint32_t>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

// Takes [begin, end) out of the covers.
void replace(std::vector<Cover>& covers, const std::vector<TypesFound>& sections, std::vector<Cover>& found) {
  std::vector<Cover> out;
  size_t s = 0;
  for (Cover c : covers) {
    while (s < sections.size() && sections[s].end <= c.target) s++;
    for (size_t k = s; k < sections.size() && c.length > 0 && sections[k].begin < c.target + c.length; k++) {
      if (sections[k].begin > c.target) out.push_back({c.target, c.base, sections[k].begin - c.target});
      const uint64_t end = c.target + c.length, next = std::min(end, sections[k].end);
      if (!(c.base & kFill)) c.base += next - c.target;
      c.target = next;
      c.length = end - next;
    }
    if (c.length > 0) out.push_back(c);
  }
  out.insert(out.end(), found.begin(), found.end());
  std::sort(out.begin(), out.end(), [](const Cover& a, const Cover& b) { return a.target < b.target; });
  covers.swap(out);
}

}  // namespace

ValueMap mapOf(const std::vector<ValuePair>& pairs) {
  ValueMap map;
  for (const ValuePair& p : pairs) {
    const uint32_t by = p.to - p.from;
    if (!map.by.empty() && map.by.back() == by) continue;
    map.from.push_back(p.from);
    map.by.push_back(by);
  }
  return map;
}

ValueMap sharedMap(const std::vector<ValuePair>& pairs, std::vector<uint32_t>& values) {
  sortUnique(values);
  std::vector<ValuePair> used;
  auto at = pairs.begin();
  for (const uint32_t v : values) {
    at = std::lower_bound(at, pairs.end(), v, [](const ValuePair& p, uint32_t x) { return p.from < x; });
    if (at != pairs.end() && at->from == v) used.push_back(*at);
  }
  return mapOf(used);
}

void coverTypes(const uint8_t* base, const uint8_t* target, const std::vector<ImagePair>& pairs, std::vector<Cover>& covers, AllTypes& all) {
  struct Module {
    Types b, t;
    std::vector<uint32_t> from;
  };
  std::vector<Module> modules;
  for (const ImagePair& pair : pairs) {
    Module m;
    if (readTypes(base, pair.base, m.b) && readTypes(target, pair.target, m.t)) modules.push_back(std::move(m));
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
      m.from = align(m.b, describe(m.b, given, knowing, &ids, &strings), m.t, describe(m.t, wanted, knowing, nullptr, nullptr));
      forPairs(m.b, m.t, m.from, [&](char field, uint32_t v, uint32_t to) {
        if (field == 'i' && v < given.id && to < wanted.id) idVotes.push_back({v, to});
        if (field == 's' && v < given.string && to < wanted.string) stringVotes.push_back({v, to});
      });
    }
    all.ids = settle(idVotes, 1);
    all.strings = settle(stringVotes, 1);
    for (const ValuePair& p : all.ids) ids[p.from] = p.to;
    for (const ValuePair& p : all.strings) strings[p.from] = p.to;
  }
  std::vector<Cover> found;
  for (const Module& m : modules) {
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
    one.ids = mapOf(settle(ownIds, 1));
    one.strings = mapOf(settle(ownStrings, 1));
    sortUnique(one.commonIds);
    sortUnique(one.commonStrings);
    for (size_t i = 0; i < m.from.size(); i++) {
      if (m.from[i] == kNone) continue;
      const Cover c = {one.begin + m.t.list[i].at, static_cast<uint64_t>(m.b.records - base) + m.b.list[m.from[i]].at, m.t.list[i].size};
      Cover* last = found.empty() ? nullptr : &found.back();
      if (last != nullptr && last->target + last->length == c.target && last->base + last->length == c.base)
        last->length += c.length;
      else
        found.push_back(c);
    }
    all.sections.push_back(std::move(one));
  }
  std::sort(all.sections.begin(), all.sections.end(), [](const TypesFound& a, const TypesFound& b) { return a.begin < b.begin; });
  replace(covers, all.sections, found);
}

}  // namespace shoal::delta
