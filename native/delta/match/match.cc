#include "match.h"

#include <algorithm>
#include <cstring>

#include "delta/common/bytes.h"
#include "delta/common/parallel.h"
#include "delta/common/touch.h"
#include "grow.h"
#include "near.h"

// Three passes. (1) Blocks of 64 bytes of the base are hashed and the target is rolled over them: this finds the long
// identical runs that make up most of a rebuilt file. (2) What is left of the base is indexed at every byte by short
// windows, and the whole base sparsely by long windows; a scan along the target keeps to the current diagonal
// (base position minus target position) as long as it pays and jumps when a candidate matches clearly more; one near where
// the stretch is expected (near.h) goes before one far away. (3) Seeds
// grow towards each other over unequal bytes, as bsdiff does (Percival 2003), with the best split where they meet.

namespace shoal::delta {
namespace {

constexpr size_t kBlock = 64;
constexpr size_t kLong = 32;
constexpr size_t kLongStep = 16;
constexpr size_t kShort = 8;
constexpr size_t kShortWays = 4;
constexpr size_t kSlice = size_t{4} << 20;  // target bytes one scan job handles; fixed, so results do not depend on threads
constexpr size_t kMinRun = 256;
constexpr size_t kAhead = 12;  // how many positions ahead the index is fetched into the cache
constexpr size_t kMargin = 12;      // equal bytes among the next 64 that a new diagonal must gain
constexpr size_t kNearMargin = 4;   // the same of one nearby, where the current one has fewer than kPoor
constexpr size_t kPoor = 32;
constexpr size_t kFarther = 24;     // what a place far away must have beyond one nearby: the map pays for both ways
constexpr size_t kNearEvery = 4;
constexpr uint64_t kRoll = 0x9E3779B97F4A7C15ull | 1;

inline uint64_t mix(uint64_t h) {
  h ^= h >> 29;
  h *= 0xBF58476D1CE4E5B9ull;
  return h ^ (h >> 32);
}
inline uint64_t hashLong(const uint8_t* p) {
  uint64_t h = load64(p) * 0x9E3779B97F4A7C15ull;
  h = ((h << 23) | (h >> 41)) ^ (load64(p + 8) * 0xC2B2AE3D27D4EB4Full);
  h = ((h << 23) | (h >> 41)) ^ (load64(p + 16) * 0x165667B19E3779F9ull);
  h = ((h << 23) | (h >> 41)) ^ (load64(p + 24) * 0x27D4EB2F165667C5ull);
  return mix(h);
}
inline uint64_t hashShort(const uint8_t* p) { return mix(load64(p) * 0x9E3779B97F4A7C15ull); }

unsigned bitsFor(uint64_t entries) {
  unsigned bits = 10;
  while ((uint64_t{1} << bits) < entries && bits < 31) bits++;
  return bits;
}

// What entries of an index have room for beside a place: bits of its hash. Most places that share a slot with a stretch are not like
// it, and looking there takes a cache miss, or a page that is missing.
class Tags {
 public:
  Tags() = default;
  explicit Tags(uint64_t places) {
    bits_ = 0;
    while (bits_ < 32 && (places >> bits_) != 0) bits_++;
    mask_ = static_cast<uint32_t>((uint64_t{1} << bits_) - 1);
  }
  // `place` is not 0.
  uint32_t entry(uint64_t place, uint64_t hash) const { return static_cast<uint32_t>(place) | tag(hash); }
  // 0: the place is none, or another's.
  uint32_t place(uint32_t entry, uint64_t hash) const { return (entry & ~mask_) == tag(hash) ? entry & mask_ : 0; }

 private:
  uint32_t tag(uint64_t hash) const { return static_cast<uint32_t>(hash << bits_); }
  unsigned bits_ = 32;
  uint32_t mask_ = UINT32_MAX;
};

struct Interval {
  size_t begin, end;
};

// Whether ascending places are to be skipped.
class Skipper {
 public:
  explicit Skipper(const MatchOptions& options) : next_(options.skip), end_(options.skip + 2 * options.skips) {}
  bool at(uint64_t place) {
    while (next_ != end_ && next_[1] <= place) next_ += 2;
    return next_ != end_ && place >= next_[0];
  }

 private:
  const uint64_t *next_, *end_;
};

class Matcher {
 public:
  Matcher(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize, const MatchOptions& options,
          const Progress& progress)
      : b_(base), n_(baseSize), t_(target), m_(targetSize), options_(options), progress_(progress) {}

  bool run(std::vector<Cover>& covers) {
    const size_t slices = (m_ + kSlice - 1) / kSlice;
    runs_.resize(slices);
    seeds_.resize(slices);
    if (n_ >= kBlock && m_ >= kBlock) findRuns(slices);
    if (progress_.cancelled()) return false;
    if (n_ >= kLong && m_ >= kLong) {
      buildIndexes();
      if (progress_.cancelled()) return false;
      parallelFor(slices, options_.threads, [&](size_t i) { scan(i); });
      if (progress_.cancelled()) return false;
    }
    std::vector<Cover> seeds;
    for (const auto& part : seeds_) {
      for (const auto& s : part) {
        if (!seeds.empty()) {
          Cover& last = seeds.back();
          if (last.base - last.target == s.base - s.target) {
            last.length = s.target + s.length - last.target;
            continue;
          }
        }
        seeds.push_back(s);
      }
    }
    return growCovers(b_, n_, t_, m_, progress_, seeds, covers);
  }

 private:
  // Bytes that the indexes may take.
  uint64_t cap() const {
    return options_.memoryCap != 0 ? options_.memoryCap : std::max<uint64_t>(n_ * 2, 1 << 20);
  }

  // Pass 1.
  void findRuns(size_t slices) {
    // Under a cap fewer blocks are known: runs are longer than the stride between them, or are found by the second pass.
    size_t stride = kBlock;
    while (stride < 64 * kBlock && (uint64_t{4} << bitsFor(n_ / stride + n_ / stride / 2)) > cap()) stride *= 2;
    const unsigned bits = bitsFor(n_ / stride + n_ / stride / 2);
    const unsigned shift = 64 - bits;
    std::vector<uint32_t> table(size_t{1} << bits, 0);
    // Most windows of the target are no block of the base: a few bits for each block say so without a cache miss.
    const unsigned filterShift = shift > 3 ? shift - 3 : 0;
    std::vector<uint64_t> filter((size_t{1} << (64 - filterShift)) / 64 + 1, 0);
    uint64_t power = 1;
    for (size_t i = 0; i < kBlock; i++) power *= kRoll;
    auto hashBlock = [](const uint8_t* p) {
      uint64_t h = 0;
      for (size_t i = 0; i < kBlock; i++) h = h * kRoll + p[i] + 1;
      return h;
    };
    Touch touch;
    Skipper skipper(options_);
    for (size_t i = 0; i + kBlock <= n_; i += stride) {
      touch(stride);
      if (skipper.at(i)) continue;
      if (load64(b_ + i) == load64(b_ + i + 8) && memcmp(b_ + i, b_ + i + 8, kBlock - 8) == 0) continue;
      const uint64_t h = mix(hashBlock(b_ + i));
      filter[h >> filterShift >> 6] |= uint64_t{1} << (h >> filterShift & 63);
      uint32_t& slot = table[h >> shift];
      if (slot == 0) slot = static_cast<uint32_t>(i / kBlock + 1);
    }
    if (progress_.cancelled()) return;
    parallelFor(slices, options_.threads, [&](size_t slice) {
      if (progress_.cancelled()) return;
      const size_t begin = slice * kSlice, end = std::min(m_, begin + kSlice);
      std::vector<Cover>& out = runs_[slice];
      size_t t = begin, done = begin;
      bool fresh = true;
      Touch touch;
      touch(kSlice);
      uint64_t h = 0;
      size_t lastBase = SIZE_MAX, lastTarget = 0;
      while (t + kBlock <= end) {
        if (lastBase != SIZE_MAX) {
          // Same diagonal first: cheap, and right nearly always.
          const size_t p = lastBase + (t - lastTarget);
          if (fresh && p + kMinRun <= n_ && t + kMinRun <= end) {
            size_t skip = 0;
            size_t len = 0;
            for (skip = 1; skip <= 64 && p + skip + kMinRun <= n_ && t + skip + kMinRun <= end; skip += len + 1) {
              len = equalForward(b_ + p + skip, t_ + t + skip, std::min(n_ - p, end - t) - skip);
              if (len >= kMinRun) break;
            }
            if (len >= kMinRun && skip <= 64) {
              touch(len);
              out.push_back({t + skip, p + skip, len});
              t += skip + len;
              done = t;
              continue;
            }
          }
        }
        if (fresh) {
          h = hashBlock(t_ + t);
          fresh = false;
        }
        const uint64_t mixed = mix(h);
        const bool maybe = filter[mixed >> filterShift >> 6] >> (mixed >> filterShift & 63) & 1;
        const uint32_t slot = maybe ? table[mixed >> shift] : 0;
        if (slot != 0) {
          const size_t p = static_cast<size_t>(slot - 1) * kBlock;
          touch.place();
          if (memcmp(b_ + p, t_ + t, kBlock) == 0) {
            const size_t back = equalBackward(b_ + p, t_ + t, std::min(p, t - done));
            const size_t len = back + kBlock +
                               equalForward(b_ + p + kBlock, t_ + t + kBlock, std::min(n_ - p, end - t) - kBlock);
            touch(len);
            if (len >= kMinRun) {
              out.push_back({t - back, p - back, len});
              lastBase = p;
              lastTarget = t;
              t += len - back;
              done = t;
              fresh = true;
              continue;
            }
          }
        }
        if (t + kBlock >= end) break;
        h = h * kRoll + t_[t + kBlock] + 1 - (t_[t] + uint64_t{1}) * power;
        t++;
      }
      progress_.add(end - begin);
    });
  }

  // Pass 2.
  void buildIndexes() {
    std::vector<Interval> used;
    for (const auto& part : runs_)
      for (const auto& r : part)
        if (r.length > 2 * kLong) used.push_back({r.base + kLong, r.base + r.length - kLong});
    std::sort(used.begin(), used.end(), [](const Interval& x, const Interval& y) { return x.begin < y.begin; });
    size_t at = 0;
    for (const auto& u : used) {
      if (u.begin > at) free_.push_back({at, u.begin});
      at = std::max(at, u.end);
    }
    if (at < n_) free_.push_back({at, n_});
    leaveOut();
    size_t freeBytes = 0;
    for (const auto& f : free_) freeBytes += f.end - f.begin;

    const uint64_t cap = this->cap();
    unsigned longBits = bitsFor(n_ / kLongStep);
    while (longBits > 10 && (uint64_t{4} << longBits) > cap / 4) longBits--;
    longStep_ = kLongStep;
    while (n_ / longStep_ > (uint64_t{2} << longBits)) longStep_ *= 2;
    unsigned shortBits = bitsFor(freeBytes / kShortWays + freeBytes / kShortWays / 4);
    while (shortBits > 10 && (uint64_t{4 * kShortWays} << shortBits) > cap * 3 / 4) shortBits--;
    shortStep_ = 1;
    while (freeBytes / shortStep_ > (uint64_t{2 * kShortWays} << shortBits)) shortStep_ *= 2;
    longShift_ = 64 - longBits;
    shortShift_ = 64 - shortBits;
    longTags_ = Tags(n_ / longStep_ + 1);
    shortTags_ = Tags(n_ / shortStep_ + 1);
    parallelFor(2, options_.threads, [&](size_t which) {
      Touch touch;
      if (which == 0) {
        long_.assign(size_t{1} << longBits, 0);
        Skipper skipper(options_);
        for (size_t i = 0; i + kLong <= n_; i += longStep_) {
          touch(longStep_);
          if (skipper.at(i)) continue;
          const uint64_t h = hashLong(b_ + i);
          uint32_t& slot = long_[h >> longShift_];
          if (slot == 0) slot = longTags_.entry(i / longStep_ + 1, h);
        }
      } else {
        short_.assign(kShortWays << shortBits, 0);
        for (const auto& f : free_) {
          if (progress_.cancelled()) return;
          for (size_t i = (f.begin + shortStep_ - 1) / shortStep_ * shortStep_; i + kShort <= f.end; i += shortStep_) {
            touch(shortStep_);
            const uint64_t v = load64(b_ + i);
            if (v == (v << 8 | v >> 56)) continue;  // a run of one byte value says nothing about where
            const uint64_t h = hashShort(b_ + i);
            uint32_t* way = &short_[(h >> shortShift_) * kShortWays];
            for (size_t k = kShortWays - 1; k > 0; k--) way[k] = way[k - 1];
            way[0] = shortTags_.entry(i / shortStep_ + 1, h);
          }
        }
      }
    });
  }

  // What is skipped is not free.
  void leaveOut() {
    std::vector<Interval> left;
    size_t k = 0;
    for (const Interval& f : free_) {
      size_t at = f.begin;
      while (k < options_.skips && options_.skip[2 * k + 1] <= at) k++;
      for (size_t i = k; i < options_.skips && options_.skip[2 * i] < f.end; i++) {
        const size_t begin = static_cast<size_t>(options_.skip[2 * i]);
        if (begin > at) left.push_back({at, begin});
        at = std::max(at, static_cast<size_t>(options_.skip[2 * i + 1]));
      }
      if (at < f.end) left.push_back({at, f.end});
    }
    free_.swap(left);
  }

  struct Candidate {
    size_t base = 0, length = 0, score = 0;
  };

  // How well the target continues at base position p: equal bytes in a window, exact run weighted fully.
  size_t score(size_t t, size_t p, size_t end) const {
    const size_t limit = std::min<size_t>({64, end - t, n_ - p});
    return countEqual(b_ + p, t_ + t, limit);
  }

  void scan(size_t slice) {
    if (progress_.cancelled()) return;
    const size_t begin = slice * kSlice, end = std::min(m_, begin + kSlice);
    const std::vector<Cover>& runs = runs_[slice];
    std::vector<Cover>& out = seeds_[slice];
    size_t run = 0;
    bool have = false;
    size_t diagBase = 0, diagTarget = 0;  // the current diagonal
    Near near(b_, n_);
    size_t t = begin;
    auto onDiagonal = [&](size_t at) -> size_t {  // base position, or n_ when outside
      const int64_t p = static_cast<int64_t>(diagBase) + (static_cast<int64_t>(at) - static_cast<int64_t>(diagTarget));
      return p >= 0 && p < static_cast<int64_t>(n_) ? static_cast<size_t>(p) : n_;
    };
    auto emit = [&](size_t target, size_t base, size_t length) {
      if (have && onDiagonal(target) == base) {
        // Remember that the diagonal was confirmed here.
        Cover& last = out.back();
        last.length = target + length - last.target;
      } else {
        out.push_back({target, base, length});
        have = true;
      }
      diagBase = base;
      diagTarget = target;
      near.remember(static_cast<int64_t>(base) - static_cast<int64_t>(target));
    };
    size_t nextCheck = begin + (1 << 18);
    Touch touch;
    while (t < end) {
      if (t >= nextCheck) {
        if (progress_.cancelled()) return;
        touch((1 + 1 + kRecent) << 18);  // the target, the current diagonal, and those that are searched
        nextCheck = t + (1 << 18);
      }
      if (run < runs.size() && t >= runs[run].target) {
        const Cover& r = runs[run++];
        if (r.target + r.length <= t) continue;
        const size_t skip = t - r.target;
        emit(t, r.base + skip, r.length - skip);
        touch.place();
        t = r.target + r.length;
        continue;
      }
      size_t current = 0;
      if (have) {
        const size_t p = onDiagonal(t);
        if (p < n_) {
          const size_t len = equalForward(b_ + p, t_ + t, std::min(n_ - p, end - t));
          if (len >= 32) {
            touch(len);
            emit(t, p, len);
            t += len;
            continue;
          }
          current = score(t, p, end);
        }
      }
      if (t + kShort > end) break;
      if (current + kMargin > 64) {
        t++;
        continue;
      }
      if (t + kAhead + kLong <= end) {
        __builtin_prefetch(&long_[hashLong(t_ + t + kAhead) >> longShift_]);
        __builtin_prefetch(&short_[(hashShort(t_ + t + kAhead) >> shortShift_) * kShortWays]);
      }
      Candidate best = lookup(t, end, current, near, touch);
      if (best.length != 0) {
        emit(t, best.base, best.length);
        t += best.length;
      } else {
        t++;
      }
    }
    progress_.add(end - begin);
  }

  // A place for the target's bytes at t that says clearly more than `current` equal bytes of the next 64.
  Candidate lookup(size_t t, size_t end, size_t current, const Near& near, Touch& touch) const {
    Candidate best;
    size_t bonus = 0;
    auto consider = [&](size_t p, size_t least, size_t margin) {
      touch.place();
      const size_t len = equalForward(b_ + p, t_ + t, std::min(n_ - p, end - t));
      if (len < least) return;
      const size_t s = score(t, p, end);
      if (s < current + margin) return;
      const size_t all = s + std::min<size_t>(len, 256) + bonus;
      if (all > best.score) best = {p, len, all};
    };
    if (t + kLong <= end) {
      const uint64_t h = hashLong(t_ + t);
      const uint32_t place = longTags_.place(long_[h >> longShift_], h);
      if (place != 0) consider(static_cast<size_t>(place - 1) * longStep_, kLong, 8);
    }
    const uint64_t v = load64(t_ + t);
    if (v == (v << 8 | v >> 56)) return best;
    const uint64_t h = hashShort(t_ + t);
    const uint32_t* way = &short_[(h >> shortShift_) * kShortWays];
    for (size_t i = 0; i < kShortWays && way[i] != 0; i++) {
      const uint32_t place = shortTags_.place(way[i], h);
      if (place != 0) consider(static_cast<size_t>(place - 1) * shortStep_, kShort, kMargin);
    }
    // Where nothing else is found every so many places are enough: seeds grow backwards too.
    if (best.length == 0 && t % kNearEvery != 0) return best;
    bonus = kFarther;
    const size_t margin = current < kPoor ? kNearMargin : kMargin;
    near.search(t_ + t, t, [&](size_t p) { consider(p, kShort, margin); });
    return best;
  }

  const uint8_t* b_;
  size_t n_;
  const uint8_t* t_;
  size_t m_;
  const MatchOptions& options_;
  const Progress& progress_;
  std::vector<std::vector<Cover>> runs_, seeds_;
  std::vector<Interval> free_;
  std::vector<uint32_t> long_, short_;
  size_t longStep_ = kLongStep, shortStep_ = 1;
  unsigned longShift_ = 0, shortShift_ = 0;
  Tags longTags_, shortTags_;
};

}  // namespace

bool findCovers(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize,
                const MatchOptions& options, const Progress& progress, std::vector<Cover>& covers) {
  covers.clear();
  Matcher matcher(base, baseSize, target, targetSize, options, progress);
  return matcher.run(covers);
}

}  // namespace shoal::delta
