#include "grow.h"

#include <algorithm>
#include <cstring>

#include "delta/common/bytes.h"
#include "delta/common/touch.h"

namespace shoal::delta {
namespace {

constexpr size_t kLeastGain = 26;    // equal minus unequal bytes a cover on a new diagonal must bring
constexpr size_t kNearGain = 10;     // where that diagonal is near the last one
constexpr uint64_t kNearBy = 512;
constexpr size_t kFillRun = 64;
constexpr uint64_t kShiftedRun = 256;  // bytes
constexpr uint64_t kShiftedTried = 64;
constexpr size_t kLeastBetter = 8;   // equal bytes that a cover must have beyond those of the one before it, went that on
constexpr size_t kShadowed = 1 << 16;  // longer covers are better for sure
constexpr uint64_t kPiece = 1 << 20;
constexpr int64_t kGrowDrop = 256;  // how far growth looks past unequal bytes

class Grower {
 public:
  Grower(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize, const Progress& progress)
      : b_(base), n_(baseSize), t_(target), m_(targetSize), progress_(progress) {}

  void extend(const std::vector<Cover>& seeds, std::vector<Cover>& covers) const {
    Touch touch;
    for (size_t i = 0; i < seeds.size(); i++) {
      if ((i & 1023) == 0 && progress_.cancelled()) return;
      Cover c = seeds[i];
      touch.place();
      const size_t previousStop = covers.empty() ? 0 : covers.back().target + covers.back().length;
      // Forward growth of the previous cover and backward growth of this one share the gap between them.
      const size_t gapBegin = previousStop, gapEnd = c.target;
      size_t forward = 0, backward = 0;
      if (!covers.empty()) {
        Cover& p = covers.back();
        forward = grow(p.target + p.length, p.base + p.length, gapEnd - gapBegin, +1);
      }
      backward = grow(c.target, c.base, std::min<size_t>(gapEnd - gapBegin, c.base), -1);
      if (forward + backward > gapEnd - gapBegin) {
        // They overlap: the split with the most equal bytes.
        const size_t lo = gapEnd - backward, hi = gapBegin + forward;
        const Cover& p = covers.back();
        int64_t gain = 0, bestGain = 0;
        size_t best = lo;
        for (size_t at = lo; at < hi; at++) {
          gain += b_[p.base + (at - p.target)] == t_[at];
          gain -= b_[c.base - (c.target - at)] == t_[at];
          if (gain > bestGain) {
            bestGain = gain;
            best = at + 1;
          }
        }
        forward = best - gapBegin;
        backward = gapEnd - best;
      }
      touch(forward + backward);
      if (!covers.empty()) covers.back().length += forward;
      c.target -= backward;
      c.base -= backward;
      c.length += backward;
      covers.push_back(c);
    }
    if (!covers.empty()) {
      Cover& p = covers.back();
      p.length += grow(p.target + p.length, p.base + p.length, m_ - p.target - p.length, +1);
    }
  }

  // A cover costs a few bytes of map: those that save less are dropped, and their neighbours grow over them.
  void prune(const std::vector<Cover>& grown, std::vector<Cover>& kept) const {
    kept.clear();
    Touch touch;
    for (const Cover& c : grown) {
      touch.place();
      size_t same = 0;
      for (size_t at = 0; at < c.length; at += kPiece) {
        const size_t length = std::min(c.length - at, kPiece);
        touch(2 * length);
        same += countEqual(b_ + c.base + at, t_ + c.target + at, length);
      }
      if (!kept.empty() && c.length <= kShadowed && same < onOther(kept.back(), c) + kLeastBetter) continue;
      const bool onDiagonal = !kept.empty() && kept.back().base - kept.back().target == c.base - c.target;
      const size_t wrong = c.length - same;
      const uint64_t step = kept.empty() ? UINT64_MAX : (c.base - c.target) - (kept.back().base - kept.back().target);
      const bool isNear = step < kNearBy || 0 - step < kNearBy;
      if (same >= (onDiagonal ? kLeastGain / 4 : isNear ? kNearGain : kLeastGain) + wrong) {
        if (onDiagonal)
          kept.back().length = c.target + c.length - kept.back().target;
        else
          kept.push_back(c);
      }
    }
  }

  // How many bytes of a cover another one would predict if it went on so far.
  size_t onOther(const Cover& other, const Cover& c) const {
    const uint64_t place = other.base + (c.target - other.target);
    if (other.base - other.target == c.base - c.target || place >= n_) return 0;
    return countEqual(b_ + place, t_ + c.target, std::min<uint64_t>(c.length, n_ - place));
  }

  // Stretches that nothing covers of which every byte, nearly, became larger by the same: they go on as what lies before or behind them,
  // at first as if both files began alike.
  void addShifted(const std::vector<Cover>& grown, std::vector<Cover>& covers) const {
    covers.clear();
    uint64_t at = 0, before = 0, last = 0;  // last: the diagonal of such a stretch, which others may interrupt
    auto gap = [&](uint64_t end, uint64_t after) {
      uint64_t forward = shifted(at, at + before, end - at, +1);
      if (forward > 0)
        last = before;
      else if (last != before)
        forward = shifted(at, at + last, end - at, +1);
      if (forward > 0) covers.push_back({at, at + last, forward});
      const uint64_t backward = shifted(end, end + after, end - at - forward, -1);
      if (backward > 0) covers.push_back({end - backward, end + after - backward, backward});
    };
    for (const Cover& c : grown) {
      gap(c.target, c.base - c.target);
      covers.push_back(c);
      at = c.target + c.length;
      before = c.base - c.target;
    }
    gap(m_, before);
  }

  // How many bytes from t on, or before it, are those from p on and the same beside; 0: too few.
  uint64_t shifted(uint64_t t, uint64_t p, uint64_t limit, int direction) const {
    if (p > n_) return 0;
    limit = std::min(limit, direction > 0 ? n_ - p : p);
    if (limit < kShiftedRun) return 0;
    Touch touch;
    touch.place();
    auto by = [&](uint64_t i) { return static_cast<uint8_t>(direction > 0 ? t_[t + i] - b_[p + i] : t_[t - 1 - i] - b_[p - 1 - i]); };
    size_t counts[256] = {}, most = 0;
    uint8_t usual = 0;
    for (uint64_t i = 0; i < kShiftedTried; i++) {
      const uint8_t d = by(i);
      if (++counts[d] <= most) continue;
      most = counts[d];
      usual = d;
    }
    if (most < kShiftedTried / 4 * 3) return 0;
    int64_t s = 0, bestScore = 0;
    uint64_t best = 0;
    for (uint64_t i = 0; i < limit && s >= bestScore - kGrowDrop; i++) {
      if ((i & 0xFFFF) == 0) touch(2 << 16);
      s += by(i) == usual ? 1 : -1;
      if (s <= bestScore) continue;
      bestScore = s;
      best = i + 1;
    }
    return best < kShiftedRun ? 0 : best;
  }

  // Runs of one byte value that nothing covers are predicted as such.
  void addFills(const std::vector<Cover>& grown, std::vector<Cover>& covers) const {
    covers.reserve(grown.size());
    size_t at = 0;
    Touch touch;
    auto gap = [&](size_t end) {
      touch(end - at);
      while (at + kFillRun <= end) {
        size_t length = 1;
        while (at + length < end && t_[at + length] == t_[at]) length++;
        if (length >= kFillRun) covers.push_back({at, kFill | t_[at], length});
        at += length;
      }
    };
    for (const Cover& c : grown) {
      gap(c.target);
      covers.push_back(c);
      at = c.target + c.length;
    }
    gap(m_);
  }

  // How far to go over unequal bytes so that equal ones outweigh them.
  size_t grow(size_t t, size_t p, size_t limit, int direction) const {
    int64_t s = 0, bestScore = 0;
    size_t best = 0;
    if (direction > 0) limit = std::min<size_t>(limit, n_ - p);
    for (size_t i = 0; i < limit; i++) {
      const bool same = direction > 0 ? b_[p + i] == t_[t + i] : b_[p - 1 - i] == t_[t - 1 - i];
      s += same ? 1 : -1;
      if (s > bestScore) {
        bestScore = s;
        best = i + 1;
      } else if (s < bestScore - kGrowDrop) {
        break;
      }
    }
    return best;
  }

 private:
  const uint8_t* b_;
  size_t n_;
  const uint8_t* t_;
  size_t m_;
  const Progress& progress_;
};

}  // namespace

bool growCovers(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize,
                const Progress& progress, std::vector<Cover>& seeds, std::vector<Cover>& covers) {
  const Grower grower(base, baseSize, target, targetSize, progress);
  std::vector<Cover> grown;
  grower.extend(seeds, grown);
  grower.prune(grown, seeds);
  grown.clear();
  grower.extend(seeds, grown);
  if (progress.cancelled()) return false;
  grower.addShifted(grown, seeds);
  grower.addFills(seeds, covers);
  return true;
}

}  // namespace shoal::delta
