#include "passage_parser.h"

#include <new>

#include "delta/common/bytes.h"

namespace shoal::delta {
namespace {

constexpr size_t kBlock = 2048;        // places through which the cheapest way is sought at once
constexpr uint32_t kLong = 160;        // a passage of so many bytes is taken without looking further
constexpr uint32_t kEnough = 24;       // where a known distance brings so many bytes no others are looked for
constexpr uint32_t kUnit = 64;         // of a bit, in which costs count
constexpr uint32_t kNever = UINT32_MAX;

// What a probability of p16 costs. Integers, so that every machine makes the same payload.
struct Costs {
  uint16_t of[4096];
  Costs() {
    for (uint32_t i = 0; i < 4096; i++) {
      // -log2((2i + 1) / 8192): its fraction by squaring.
      uint64_t x = 2 * i + 1;
      uint32_t whole = 0;
      while (x >= 2) {
        x >>= 1;
        whole++;
      }
      x = (static_cast<uint64_t>(2 * i + 1) << 32) >> whole;
      uint32_t fraction = 0;
      for (int bit = 0; bit < 6; bit++) {
        x = static_cast<uint64_t>((static_cast<unsigned __int128>(x) * x) >> 32);
        fraction <<= 1;
        if (x >= uint64_t{2} << 32) {
          fraction |= 1;
          x >>= 1;
        }
      }
      of[i] = static_cast<uint16_t>(13 * kUnit - (whole * kUnit + fraction));
    }
  }
};
const Costs kCosts;

inline uint32_t costOf(uint32_t p16) { return kCosts.of[p16 >> 4]; }
inline uint32_t costOf(const Bit& m, int bit) { return costOf(bit ? m.p() : 65535 - m.p()); }
inline uint32_t costOf(const Nibbles& m, uint32_t value) {
  alignas(32) uint16_t all[16];
  spread(m.start, all);
  return costOf(widthOf(all, value) - 1);
}

// A coder that only adds up.
class CostCoder {
 public:
  static constexpr bool kDecodes = false;
  uint32_t cost = 0;
  int bit(uint32_t p, int value) {
    cost += costOf(value ? p : 65535 - p);
    return value;
  }
  uint32_t raw(uint32_t count, uint32_t value) {
    cost += count * kUnit;
    return value;
  }
  void symbol(uint32_t, uint32_t width) { cost += costOf(width - 1); }
  void at(size_t) {}
};

struct Found {
  uint32_t length, distance;
};

// Where the bytes at a place occurred before, in dictionary and segment as one: the last few places that begin alike, for several lengths
// of what is alike. Among those that share many bytes few need to be tried.
class Finder {
 public:
  Finder(const uint8_t* dictionary, const uint8_t* target, size_t size)
      : n_(size), all_(new (std::nothrow) uint8_t[2 * size + kBehind]), three_(size_t{1} << kThreeBits, 0) {
    if (!all_) return;
    // As large as there are places to keep, nearly.
    for (uint32_t c = 0; c < kTables; c++) {
      bits_[c] = std::min<unsigned>(kBits[c], std::max(4u, log2Floor(static_cast<uint32_t>(size) | 1)));
      newest_[c].assign(size_t{kWays} << bits_[c], 0);
    }
    memcpy(all_.get(), dictionary, size);
    memcpy(all_.get() + size, target, size);
    memset(all_.get() + 2 * size, 0, kBehind);
  }
  bool ready() const { return all_ != nullptr; }
  const uint8_t* all() const { return all_.get(); }

  // What lies before place `until` may be found.
  [[gnu::noinline]] void knowUntil(size_t until) {
    for (; known_ < until; known_++) {
      const uint8_t* at = all_.get() + known_;
      three_[three(load32(at))] = static_cast<uint32_t>(known_ + 1);
      for (uint32_t c = 0; c < kTables; c++) {
        __builtin_prefetch(&newest_[c][hash(at + kAhead, c)]);
        uint32_t* ways = &newest_[c][hash(at, c)];
        memmove(ways + 1, ways, (kWays - 1) * sizeof *ways);
        ways[0] = static_cast<uint32_t>(known_ + 1);
      }
    }
  }

  // With rising lengths. `place` counts from the dictionary's beginning.
  [[gnu::noinline]] void find(size_t place, size_t most, std::vector<Found>& found) {
    found.clear();
    knowUntil(place);
    const uint8_t* at = all_.get() + place;
    // Asked for all at once: what takes time is memory.
    const uint32_t* ways[kTables];
    for (uint32_t c = 0; c < kTables; c++) {
      ways[c] = &newest_[c][hash(at, c)];
      for (uint32_t k = 0; k < kWays; k++) __builtin_prefetch(all_.get() + ways[c][k]);
    }
    // Of the segment what is nearer comes first; in the dictionary what is nearest to where the last came from is cheapest.
    uint32_t best[2] = {kLeastNew, kLeastNew};
    auto consider = [&](uint32_t from) {
      const bool ahead = from < n_;
      const size_t limit = ahead ? std::min(most, n_ - from) : most;
      const uint32_t least = ahead ? best[1] / 2 : best[0];
      if (least >= limit || all_[from + least] != at[least]) return;
      const uint32_t length = static_cast<uint32_t>(equalForward(all_.get() + from, at, limit));
      if (length <= kLeastNew || length <= least) return;
      found.push_back({length, static_cast<uint32_t>(place - from)});
      best[ahead] = std::max(best[ahead], length);
    };
    const uint32_t nearest = three_[three(load32(at))];
    if (nearest != 0) consider(nearest - 1);
    for (uint32_t c = 0; c < kTables; c++) {
      for (uint32_t k = 0; k < kWays && ways[c][k] != 0; k++) consider(ways[c][k] - 1);
      if (std::max(best[0], best[1]) < kAlike[c]) return;  // longer ones would have been found
    }
  }

 private:
  static constexpr uint32_t kTables = 3, kWays = 8, kAhead = 8, kBehind = 32;
  static constexpr uint32_t kAlike[kTables] = {4, 7, 14};
  static constexpr unsigned kBits[kTables] = {15, 17, 18}, kThreeBits = 14;

  // Where the ways of what begins at p are.
  size_t hash(const uint8_t* p, uint32_t table) const {
    const uint64_t v = load64(p);
    uint64_t h = table == 0 ? v << 32 : table == 1 ? v << 8 : v;
    h *= 0x9E3779B97F4A7C15ull;
    if (table == 2) h = (h ^ h >> 29 ^ load64(p + 6) * 0xC2B2AE3D27D4EB4Full) * 0x9E3779B97F4A7C15ull;
    return static_cast<size_t>(h >> (64 - bits_[table])) * kWays;
  }
  static uint32_t three(uint32_t v) { return (v << 8) * 0x9E3779B1u >> (32 - kThreeBits); }

  size_t n_, known_ = 0;
  std::unique_ptr<uint8_t[]> all_;
  unsigned bits_[kTables];
  std::vector<uint32_t> newest_[kTables], three_;
};

}  // namespace

struct PassageParser::Impl {
  Impl(const uint8_t* dictionary, const uint8_t* target, size_t size, const PassageState& state)
      : d(dictionary), t(target), n(size), s(state), finder(dictionary, target, size), nodes(kBlock + kLong + 1, Node(0)) {}

  struct Node {
    uint32_t cost, from;
    Passage by;
    PassageHistory history;
    explicit Node(uint32_t size) : cost(kNever), from(0), by{}, history(size) {}
  };

  // Costs of the parts that do not depend on the place, as of the last block.
  struct Tables {
    uint32_t length[4][kLong + 1], known[kPassageStates][kKnown], fresh[kPassageStates][2], far[2][4][26];
  };

  [[gnu::noinline]] void makeTables() {
    for (uint32_t which = 0; which < 4; which++)
      for (uint32_t v = 0; v <= kLong; v++) tables.length[which][v] = lengthCost(which, v);
    for (uint32_t st = 0; st < kPassageStates; st++) {
      const uint32_t isKnown = costOf(s.known[st], 1), isNew = costOf(s.known[st], 0);
      for (uint32_t k = 0; k < kKnown; k++) {
        uint32_t c = isKnown;
        for (uint32_t b = 0; b < k; b++) c += costOf(s.which[b][st], 1);
        if (k < kKnown - 1) c += costOf(s.which[k][st], 0);
        tables.known[st][k] = c;
      }
      for (uint32_t a = 0; a < 2; a++) tables.fresh[st][a] = isNew + costOf(s.ahead[st], static_cast<int>(a));
    }
    // Of a distance its class alone: what is below is raw nearly.
    for (uint32_t a = 0; a < 2; a++)
      for (uint32_t l = 0; l < 4; l++)
        for (uint32_t k = 0; k < 26; k++)
          tables.far[a][l][k] = costOf(s.sizes.far[a][l], k >> 1) + k * kUnit + kUnit;
  }

  uint32_t lengthCost(uint32_t which, uint32_t v) const {
    if (v < 8) return costOf(s.sizes.size[which], v);
    const uint32_t bits = log2Floor(v), half = std::min(8 + bits - 3, 15u);
    uint32_t c = costOf(s.sizes.size[which], half);
    if (half == 15) return c + 14 * kUnit;
    return c + costOf(s.sizes.top[which][half - 8], v >> (bits - 3) & 7) + (bits - 3) * kUnit;
  }

  uint32_t farCost(const PassageHistory& h, size_t at, uint32_t distance, uint32_t length) const {
    const uint32_t l = std::min(length - kLeastNew, 3u);
    if (distance > at) {
      const int32_t by = static_cast<int32_t>(distance - h.ahead);
      return tables.far[1][l][log2Floor(static_cast<uint32_t>(by < 0 ? -by : by) + 1)] + kUnit / 2;
    }
    return tables.far[0][l][log2Floor(distance)];
  }

  uint32_t byteCost(size_t at, const PassageHistory& h) const {
    // Models of halves that only look.
    const uint32_t recent = at >= 4 ? load32(t + at - 4) : 0;
    const bool behind = h.state % 3 != 0;
    uint32_t seen = recent;
    if (behind) {
      const uint32_t next = byteBack(d, t, n, at, h.known[0]);
      seen = (recent & 0xFF000000u) | next << 16 | (recent >> 8 & 0xFF00u);
    }
    CostCoder coder;
    s.nibbles[behind].peekCost(coder, seen, t[at]);
    return coder.cost;
  }

  bool run(Passages<RangeEncoder>& passages, std::vector<Passage>& steps) {
    if (!finder.ready()) return false;
    finder.knowUntil(n);
    std::vector<Found> found;
    std::vector<Passage> path;
    size_t at = 0, known = 0;  // up to where the costs are right, nearly
    while (at < n) {
      if (at >= known) {
        makeTables();
        known = at + kBlock;
      }
      const size_t most = std::min(kBlock, n - at);
      for (size_t k = 0; k <= std::min(kBlock + kLong, n - at); k++) nodes[k].cost = kNever;
      nodes[0] = Node(0);
      nodes[0].cost = 0;
      nodes[0].history = passages.history();
      size_t j = 0, last = 0;
      Passage jump = {};
      for (;; j++) {
        if (j > 0) {
          Node& node = nodes[j];
          node.history = nodes[node.from].history;
          node.history.after(node.by, at + node.from);
        }
        if (j >= most) break;
        if (j > 0 && j == last && j >= 256) break;  // all ways meet here
        if (!tryAll(at, j, last, found, jump)) break;
      }
      // Back along the cheapest way.
      path.clear();
      for (size_t k = j; k > 0; k = nodes[k].from) path.push_back(nodes[k].by);
      for (size_t k = path.size(); k-- > 0;) {
        Passage p = path[k];
        uint8_t byte = t[at];
        passages.step(at, p, byte);
        steps.push_back(path[k]);
        at += path[k].length;
      }
      if (jump.length != 0 && at < n) {
        Passage p = jump;
        uint8_t byte = 0;
        passages.step(at, p, byte);
        steps.push_back(jump);
        at += jump.length;
      }
    }
    return true;
  }

  // All steps from place j of the block. False: a long passage begins here, it is `jump`.
  [[gnu::noinline]] bool tryAll(size_t begin, size_t j, size_t& last, std::vector<Found>& found, Passage& jump) {
    const size_t at = begin + j;
    const Node& node = nodes[j];
    const PassageHistory& h = node.history;
    const uint32_t before = at == 0 ? 0 : t[at - 1];
    const Bit& choice = s.passage[h.state][before];
    const uint32_t isByte = node.cost + costOf(choice, 0), isPassage = node.cost + costOf(choice, 1);
    auto reach = [&](uint32_t length, uint32_t cost, uint32_t kind, uint32_t distance) {
      Node& to = nodes[j + length];
      if (cost >= to.cost) return;
      to.cost = cost;
      to.from = static_cast<uint32_t>(j);
      to.by = {kind, length, distance};
      last = std::max<size_t>(last, j + length);
    };
    const size_t room = n - at;
    jump.length = 0;
    uint32_t longestKnown = 0;
    for (uint32_t k = 0; k < kKnown; k++) {
      const uint32_t distance = h.known[k];
      bool twice = false;
      for (uint32_t b = 0; b < k; b++) twice = twice || h.known[b] == distance;
      if (twice || distance > n + at) continue;
      const size_t from = n + at - distance;
      const size_t limit = from < n ? std::min(room, n - from) : room;
      const size_t length = equalForward(finder.all() + from, t + at, limit);
      if (length >= kLong) {
        jump = {Passage::kFirstKnown + k, static_cast<uint32_t>(length), distance};
        return false;
      }
      longestKnown = std::max(longestKnown, static_cast<uint32_t>(length));
      for (uint32_t l = 1; l <= length; l++)
        reach(l, isPassage + tables.known[h.state][k] + tables.length[k == 0 ? kKnownFirst : kKnownOther][l - 1], Passage::kFirstKnown + k, distance);
    }
    if (longestKnown < kEnough)
      finder.find(n + at, room, found);
    else
      found.clear();
    std::sort(found.begin(), found.end(), [](const Found& x, const Found& y) { return x.length != y.length ? x.length > y.length : x.distance < y.distance; });
    if (!found.empty() && found[0].length >= kLong && found[0].length > longestKnown) {
      jump = {Passage::kNew, found[0].length, found[0].distance};
      return false;
    }
    uint32_t least = kNever, distance = 0, fixed = 0;
    for (size_t k = 0; k < found.size(); k++) {
      const Found& f = found[k];
      const uint32_t cost = farCost(h, at, f.distance, kLeastNew + 3) + tables.fresh[h.state][f.distance > at];
      if (cost < least) {
        least = cost;
        distance = f.distance;
        fixed = isPassage + tables.fresh[h.state][distance > at];
      }
      const uint32_t down = k + 1 < found.size() ? found[k + 1].length : kLeastNew - 1;
      for (uint32_t l = f.length; l > down; l--)
        reach(l, fixed + farCost(h, at, distance, l) + tables.length[distance > at ? kNewAhead : kNewBehind][l - kLeastNew], Passage::kNew, distance);
    }
    reach(1, isByte + byteCost(at, h), Passage::kByte, 0);
    return true;
  }

  const uint8_t* d;
  const uint8_t* t;
  size_t n;
  const PassageState& s;
  Finder finder;
  std::vector<Node> nodes;
  Tables tables;
};

PassageParser::PassageParser(const uint8_t* dictionary, const uint8_t* target, size_t size, const PassageState& state)
    : impl_(new (std::nothrow) Impl(dictionary, target, size, state)) {}
PassageParser::~PassageParser() = default;
bool PassageParser::run(Passages<RangeEncoder>& passages, std::vector<Passage>& steps) { return impl_ && impl_->run(passages, steps); }

}  // namespace shoal::delta
