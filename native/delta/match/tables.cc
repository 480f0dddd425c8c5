#include "tables.h"

#include <algorithm>

#include "delta/coding/change.h"
#include "delta/common/bytes.h"
#include "delta/common/touch.h"

namespace shoal::delta {
namespace {

constexpr size_t kPair = 8;
constexpr size_t kLeastPairs = 64;           // half a KiB: shorter tables are left to literals
constexpr uint32_t kLargestStep = 1u << 20;  // bytes: the first number of a pair goes up by less
constexpr size_t kNear = 24;                 // pairs that came or went nearby are looked for one by one
constexpr size_t kCandidates = 16;
constexpr size_t kFar = 32;                  // steps one way to go on is followed before it is chosen
constexpr size_t kKeep = 3;                  // steps by which another way must be longer

struct Table {
  const uint8_t* at;
  size_t pairs;
};

bool rises(const uint8_t* p) { return load32(p + kPair) - load32(p) - 1 < kLargestStep - 1; }
// From this pair to the next: how far both numbers go.
uint64_t step(const uint8_t* p) {
  return static_cast<uint64_t>(load32(p + kPair + 4) - load32(p + 4)) << 32 | (load32(p + kPair) - load32(p));
}

std::vector<Table> tablesIn(const uint8_t* bytes, size_t size) {
  std::vector<Table> found;
  const uint8_t* end = bytes + size;
  Touch touch;
  for (size_t column = 0; column < kPair; column += 4) {
    // No table of that many pairs lies between two places looked at.
    for (size_t i = column; i + 2 * kPair <= size; i += kLeastPairs * kPair) {
      touch(kLeastPairs * kPair);
      const uint8_t *first = bytes + i, *last = bytes + i;
      while (static_cast<size_t>(end - last) >= 2 * kPair && rises(last)) last += kPair;
      while (static_cast<size_t>(first - bytes) >= kPair && rises(first - kPair)) first -= kPair;
      const size_t pairs = static_cast<size_t>(last - first) / kPair + 1;
      if (pairs < kLeastPairs) continue;
      found.push_back({first, pairs});
      i = static_cast<size_t>(last - bytes) / (kLeastPairs * kPair) * (kLeastPairs * kPair) + column;
    }
  }
  // Where both numbers go up there are two views of one table: the longer is the table.
  std::sort(found.begin(), found.end(), [](const Table& a, const Table& b) { return a.pairs != b.pairs ? a.pairs > b.pairs : a.at < b.at; });
  std::vector<Table> kept;
  for (const Table& t : found) {
    const bool free = std::all_of(kept.begin(), kept.end(), [&](const Table& k) {
      return t.at + t.pairs * kPair <= k.at || k.at + k.pairs * kPair <= t.at;
    });
    if (free) kept.push_back(t);
    if (kept.size() >= 256) break;
  }
  std::sort(kept.begin(), kept.end(), [](const Table& a, const Table& b) { return a.at < b.at; });
  return kept;
}

// Pairs of the base's tables by their next two steps; where both numbers go up, either may be seen as the first.
class StepIndex {
 public:
  explicit StepIndex(const std::vector<Table>& tables) {
    size_t pairs = 0;
    for (const Table& t : tables) pairs += t.pairs;
    while ((size_t{1} << bits_) < pairs) bits_++;
    heads_.assign(size_t{1} << bits_, 0);
    places_.push_back({nullptr, nullptr, 0});
    for (const Table& t : tables) {
      const uint8_t* end = t.at + t.pairs * kPair;
      for (const uint8_t* p = t.at; p + 3 * kPair <= end; p += kPair / 2) {
        uint32_t& head = heads_[slot(p)];
        places_.push_back({p, end, head});
        head = static_cast<uint32_t>(places_.size() - 1);
      }
    }
  }

  // Calls `try_(place, end of its table)` for the last ones.
  template <class Try>
  void each(const uint8_t* p, const Try& try_) const {
    size_t left = kCandidates;
    for (uint32_t i = heads_[slot(p)]; i != 0 && left > 0; i = places_[i].next, left--) try_(places_[i].at, places_[i].end);
  }

 private:
  struct Place {
    const uint8_t *at, *end;
    uint32_t next;
  };
  size_t slot(const uint8_t* p) const {
    const uint64_t h = (step(p) * 0x9E3779B97F4A7C15ull) ^ (step(p + kPair) * 0xC2B2AE3D27D4EB4Full);
    return (h ^ h >> 29) * 0xBF58476D1CE4E5B9ull >> (64 - bits_);
  }

  unsigned bits_ = 4;
  std::vector<uint32_t> heads_;
  std::vector<Place> places_;
};

// Follows one table of the target through the base's.
class Follower {
 public:
  Follower(const uint8_t* base, const uint8_t* target, const StepIndex& index, const Table& table)
      : base_(base), target_(target), index_(index), at_(table.at), end_(table.at + table.pairs * kPair) {}

  // Covers of the table; how many pairs do not follow from the one before is counted.
  std::vector<Cover> run(size_t& wrong) {
    const uint8_t* t = at_;
    while (t < end_) {
      if (from_ != nullptr && t != at_ && follows(t - kPair, from_ + (t - kPair - since_))) {
        t += kPair;
        continue;
      }
      if (t != at_) wrong++;
      choose(t);
      t += kPair;
    }
    close(end_);
    return covers_;
  }

 private:
  // Is the step from this pair to the next the same in the target and in the base's table?
  bool follows(const uint8_t* t, const uint8_t* b) const {
    return b >= least_ && b + 2 * kPair <= most_ && t + 2 * kPair <= end_ && step(t) == step(b);
  }
  size_t length(const uint8_t* t, const uint8_t* b, const uint8_t* least, const uint8_t* most) const {
    size_t n = 0;
    while (n < kFar && t + 2 * kPair <= end_ && b >= least && b + 2 * kPair <= most && step(t) == step(b)) {
      n++;
      t += kPair;
      b += kPair;
    }
    return n;
  }

  // From the pair at t on, which pairs of the base?
  void choose(const uint8_t* t) {
    const uint8_t *best = nullptr, *least = least_, *most = most_;
    size_t longest = 0;
    if (from_ != nullptr) {
      const uint8_t* b = from_ + (t - since_);
      best = b;
      longest = length(t, b, least_, most_) + kKeep;
      for (size_t n = 1; n <= kNear; n++) {
        for (const ptrdiff_t by : {-static_cast<ptrdiff_t>(n * kPair), static_cast<ptrdiff_t>(n * kPair)}) {
          if (by < 0 ? b - least_ < -by : most_ - b < by) continue;
          const size_t len = length(t, b + by, least_, most_);
          if (len > longest) {
            longest = len;
            best = b + by;
          }
        }
      }
    }
    if (longest < kFar && t + 3 * kPair <= end_) {
      index_.each(t, [&](const uint8_t* b, const uint8_t* end) {
        const size_t len = length(t, b, b, end);
        if (len <= longest || len < kKeep) return;
        longest = len;
        best = b;
        least = b;
        most = end;
      });
    }
    if (best == nullptr || (from_ != nullptr && best == from_ + (t - since_))) return;
    close(t);
    from_ = best;
    since_ = t;
    least_ = least;
    most_ = most;
  }

  void close(const uint8_t* t) {
    if (from_ == nullptr) return;
    // A base table that ends before the target's gives no more.
    const size_t length = std::min<size_t>(static_cast<size_t>(t - since_), static_cast<size_t>(most_ - from_));
    if (length >= kPair)
      covers_.push_back({static_cast<uint64_t>(since_ - target_), kTable | static_cast<uint64_t>(from_ - base_), length / kPair * kPair});
  }

  const uint8_t *base_, *target_;
  const StepIndex& index_;
  const uint8_t *at_, *end_;
  const uint8_t *from_ = nullptr, *since_ = nullptr;    // the pair of the base that the pair at since_ comes from
  const uint8_t *least_ = nullptr, *most_ = nullptr;    // of the base's table
  std::vector<Cover> covers_;
};

// Bytes of [begin, end) that the covers predict.
size_t predicted(const uint8_t* base, const uint8_t* target, const std::vector<Cover>& covers, uint64_t begin, uint64_t end) {
  size_t right = 0;
  auto c = std::partition_point(covers.begin(), covers.end(), [&](const Cover& x) { return x.target + x.length <= begin; });
  for (; c != covers.end() && c->target < end; ++c) {
    if (c->base & kFill) continue;
    const uint64_t from = std::max(begin, c->target), to = std::min(end, c->target + c->length);
    right += countEqual(base + c->base + (from - c->target), target + from, to - from);
  }
  return right;
}

// Takes [begin, end) out of the covers.
void clear(std::vector<Cover>& covers, uint64_t begin, uint64_t end, std::vector<Cover>& out) {
  for (const Cover& c : covers) {
    const uint64_t stop = c.target + c.length;
    if (stop <= begin || c.target >= end) {
      out.push_back(c);
      continue;
    }
    if (c.target < begin) out.push_back({c.target, c.base, begin - c.target});
    if (stop > end) out.push_back({end, c.base & kFill ? c.base : c.base + (end - c.target), stop - end});
  }
}

}  // namespace

void coverTables(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize, std::vector<Cover>& covers) {
  const std::vector<Table> wanted = tablesIn(target, targetSize);
  if (wanted.empty()) return;
  const std::vector<Table> given = tablesIn(base, baseSize);
  if (given.empty()) return;
  const StepIndex index(given);
  for (const Table& table : wanted) {
    const uint64_t begin = static_cast<uint64_t>(table.at - target), end = begin + table.pairs * kPair;
    if (predicted(base, target, covers, begin, end) * 16 > (end - begin) * 15) continue;
    size_t wrong = 0;
    Follower follower(base, target, index, table);
    const std::vector<Cover> found = follower.run(wrong);
    if (found.empty() || wrong * 3 > table.pairs) continue;
    std::vector<Cover> next;
    for (const Cover& f : found) {
      next.clear();
      clear(covers, f.target, f.target + f.length, next);
      covers.swap(next);
    }
    covers.insert(covers.end(), found.begin(), found.end());
    std::sort(covers.begin(), covers.end(), [](const Cover& a, const Cover& b) { return a.target < b.target; });
  }
}

}  // namespace shoal::delta
