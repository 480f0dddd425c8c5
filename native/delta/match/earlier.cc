#include "earlier.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "delta/common/bytes.h"
#include "delta/common/parallel.h"
#include "delta/common/touch.h"

// A package may bring one library in twenty builds: what is new is in each of them. Places of the target that cost something as covers are, and a little
// around them, are hashed by windows; of these one in eight is kept, chosen by its hash, so that equal stretches keep equal ones. Where a segment has a window that
// an earlier one has, both are compared as far as that saves bytes.

namespace shoal::delta {
namespace {

constexpr size_t kWindow = 32;
constexpr unsigned kSampled = 3;  // one window in 2^3
constexpr size_t kWays = 4;
constexpr uint64_t kRoll = 0x9E3779B97F4A7C15ull | 1;
// What things cost, in sixteenths of a byte.
constexpr uint32_t kByte = 16;
constexpr uint32_t kNewByte = 6;        // without a prediction
constexpr uint32_t kWrongRun = 8, kWrongByte = 8;
constexpr uint32_t kCover = 3 * kByte;  // on a page
constexpr int64_t kCosts = 8 * kByte;   // a cover that leads back, and what it leaves of others
constexpr int64_t kLeast = 4 * kByte;   // what it must bring beyond that
constexpr int64_t kDrop = 64 * kByte;   // how much worse it may become on the way to something better
constexpr size_t kFar = 64 << 10;       // bytes without any gain
#ifdef SHOAL_SMALL_MODELS
constexpr uint64_t kLeastInAll = 64 * uint64_t{kByte};
#else
constexpr uint64_t kLeastInAll = 2048 * uint64_t{kByte};  // of a delta, for looking at all
#endif
constexpr size_t kMostSources = SHOAL_DELTA_MAX_PREREQUISITES;
constexpr size_t kRejected = 16;

// Something that costs where it is: a cover's beginning, bytes that are wrong, bytes that are new.
struct Event {
  uint32_t at, length;  // in the segment
  uint32_t before;      // what all events before it cost
  uint16_t head, each;
};

// What a segment costs, place by place.
class Costs {
 public:
  void add(uint32_t at, uint32_t length, uint32_t head, uint32_t each) {
    events_.push_back({at, length, sum_, static_cast<uint16_t>(head), static_cast<uint16_t>(each)});
    sum_ += head + each * length;
  }
  // Of the bytes before `place`.
  int64_t until(uint64_t place) const {
    const auto next = std::partition_point(events_.begin(), events_.end(), [&](const Event& e) { return e.at < place; });
    if (next == events_.begin()) return 0;
    const Event& e = *(next - 1);
    return int64_t{e.before} + e.head + static_cast<int64_t>(e.each * std::min<uint64_t>(e.length, place - e.at));
  }
  uint32_t sum() const { return sum_; }
  const std::vector<Event>& events() const { return events_; }

 private:
  std::vector<Event> events_;
  uint32_t sum_ = 0;
};

size_t equalBack(const uint8_t* a, const uint8_t* b, size_t limit) {
  size_t i = 0;
  while (i + 8 <= limit && load64(a - i - 8) == load64(b - i - 8)) i += 8;
  return i + equalBackward(a - i, b - i, limit - i);
}

class Finder {
 public:
  Finder(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize, const std::vector<TargetRange>& segments, const std::vector<Cover>& covers,
         const EarlierOptions& options, const Progress& progress)
      : b_(base), n_(baseSize), t_(target), m_(targetSize), segments_(segments), covers_(covers), options_(options), progress_(progress) {}

  bool run(std::vector<std::vector<Cover>>& found) {
    found.assign(segments_.size(), {});
    if (segments_.size() < 2 || m_ >= UINT32_MAX) return true;
    costs_.resize(segments_.size());
    parallelFor(segments_.size(), options_.threads, [&](size_t i) {
      if (!progress_.cancelled()) weigh(i);
    });
    if (progress_.cancelled()) return false;
    uint64_t sum = 0, events = 0, windows = 0;
    for (const Costs& each : costs_) {
      sum += each.sum();
      events += each.events().size();
      for (const Event& e : each.events()) windows += e.length + kWindow;
    }
    if (sum < kLeastInAll) return true;
    while ((kWays << bits_) < (windows >> kSampled) && bits_ < 24) bits_++;
    if (options_.memoryCap != 0 && events * sizeof(Event) + (uint64_t{4 * kWays} << bits_) > options_.memoryCap) return true;
    places_.assign(kWays << bits_, 0);
    for (size_t i = 0; i < segments_.size(); i++) {
      if (progress_.cancelled()) return false;
      look(i, found[i]);
    }
    return true;
  }

 private:
  bool isMoved(uint64_t place) const {
    const auto next = std::partition_point(options_.moved.begin(), options_.moved.end(), [&](const TargetRange& r) { return r.end <= place; });
    return next != options_.moved.end() && next->begin <= place;
  }

  void weigh(size_t number) {
    const TargetRange s = segments_[number];
    Costs& costs = costs_[number];
    Touch touch;
    uint64_t done = s.begin;
    auto fresh = [&](uint64_t to) {
      if (to > done) costs.add(static_cast<uint32_t>(done - s.begin), static_cast<uint32_t>(to - done), 0, kNewByte);
    };
    auto c = std::partition_point(covers_.begin(), covers_.end(), [&](const Cover& x) { return x.target + x.length <= s.begin; });
    for (; c != covers_.end() && c->target < s.end; ++c) {
      const uint64_t from = std::max(s.begin, c->target), to = std::min(s.end, c->target + c->length);
      fresh(from);
      done = to;
      costs.add(static_cast<uint32_t>(from - s.begin), 0, kCover, 0);
      if (c->base & (kFill | kTable)) continue;
      touch.place();
      touch(to - from);
      if (isMoved(from)) continue;
      const uint8_t* source = b_ + c->base + (from - c->target);
      for (uint64_t at = from; at < to;) {
        at += equalForward(source + (at - from), t_ + at, to - at);
        uint64_t end = at;
        while (end < to && source[end - from] != t_[end]) end++;
        if (end > at) costs.add(static_cast<uint32_t>(at - s.begin), static_cast<uint32_t>(end - at), kWrongRun, kWrongByte);
        at = end;
      }
    }
    fresh(s.end);
  }

  // Calls `visit` with places and hashes of the sampled windows of a segment that touch what costs something, in order.
  template <typename Visit>
  void windows(size_t number, const Visit& visit) const {
    const TargetRange s = segments_[number];
    const size_t size = static_cast<size_t>(s.end - s.begin);
    if (size < kWindow) return;
    const uint8_t* bytes = t_ + s.begin;
    uint64_t power = 1;
    for (size_t i = 0; i < kWindow; i++) power *= kRoll;
    size_t at = 0, end = 0;
    auto through = [&] {
      if (at >= end) return;
      uint64_t h = 0;
      for (size_t i = 0; i < kWindow; i++) h = h * kRoll + bytes[at + i] + 1;
      for (;; at++) {
        const uint64_t mixed = (h ^ h >> 32) * 0xD6E8FEB86659FD93ull;
        if (mixed >> (64 - kSampled) == 0) visit(s.begin + at, mixed);
        if (at + 1 >= end) break;
        h = h * kRoll + bytes[at + kWindow] + 1 - (bytes[at] + uint64_t{1}) * power;
      }
    };
    for (const Event& e : costs_[number].events()) {
      const size_t from = e.at < kWindow ? 0 : e.at - kWindow + 1, to = std::min<size_t>(size - kWindow + 1, size_t{e.at} + e.length + 1);
      if (from > end) {
        through();
        at = from;
      }
      end = std::max(end, to);
    }
    through();
  }

  struct Match {
    uint64_t begin = 0, end = 0, source = 0;
    int64_t gain = 0;
  };

  // What copying around `t` from around `s`, both in the target, saves; between `floor` and the segment's end.
  Match extend(const TargetRange& segment, const Costs& costs, uint64_t floor, uint64_t t, uint64_t s) const {
    const int64_t here = costs.until(t - segment.begin);
    auto wrong = [](size_t run) { return int64_t{kWrongRun} + kWrongByte * static_cast<int64_t>(run); };
    Match match = {t, t, s, 0};
    int64_t ahead = 0, behind = 0, spent = 0;
    const size_t room = static_cast<size_t>(std::min(segment.end - t, segment.begin - s));
    for (size_t i = 0; i < room;) {
      i += equalForward(t_ + t + i, t_ + s + i, room - i);
      const int64_t gain = costs.until(t + i - segment.begin) - here - spent;
      if (gain > ahead) {
        ahead = gain;
        match.end = t + i;
      }
      if (gain < ahead - kDrop || t + i > match.end + kFar) break;
      size_t run = 0;
      while (i + run < room && t_[t + i + run] != t_[s + i + run]) run++;
      if (run > 0) spent += wrong(run);
      i += run;
    }
    spent = 0;
    const size_t back = static_cast<size_t>(std::min(t - floor, s));
    for (size_t i = 0; i < back;) {
      i += equalBack(t_ + t - i, t_ + s - i, back - i);
      const int64_t gain = here - costs.until(t - i - segment.begin) - spent;
      if (gain > behind) {
        behind = gain;
        match.begin = t - i;
      }
      if (gain < behind - kDrop || t - i + kFar < match.begin) break;
      size_t run = 0;
      while (i + run < back && t_[t - i - run - 1] != t_[s - i - run - 1]) run++;
      if (run > 0) spent += wrong(run);
      i += run;
    }
    match.source = s - (t - match.begin);
    match.gain = ahead + behind - kCosts;
    return match;
  }

  void look(size_t number, std::vector<Cover>& found) {
    const TargetRange segment = segments_[number];
    const Costs& costs = costs_[number];
    Touch touch;
    std::vector<Match> matches;
    uint64_t floor = segment.begin, diagonal = 0;
    // Diagonals that bring nothing, and how far that was seen.
    struct Rejected {
      uint64_t diagonal, end;
    };
    Rejected rejected[kRejected] = {};
    size_t next = 0;
    windows(number, [&](uint64_t at, uint64_t hash) {
      if (number == 0 || at < floor) return;
      Match best;
      auto consider = [&](uint64_t source) {
        touch.place();
        if (memcmp(t_ + source, t_ + at, kWindow) != 0) return;
        for (const Rejected& r : rejected)
          if (r.diagonal == at - source && at < r.end) return;
        const Match match = extend(segment, costs, floor, at, source);
        touch(match.end - match.begin);
        if (match.gain >= kLeast && (match.gain > best.gain || best.end == 0)) best = match;
        if (match.gain < kLeast) rejected[next++ % kRejected] = {at - source, match.end + kWindow};
      };
      if (diagonal != 0 && at >= diagonal && at - diagonal + kWindow <= segment.begin) consider(at - diagonal);
      const uint32_t* ways = &places_[bucket(hash)];
      for (size_t k = 0; k < kWays && ways[k] != 0; k++)
        if (at - (ways[k] - 1) != diagonal) consider(ways[k] - 1);
      if (best.end == 0) return;
      matches.push_back(best);
      floor = best.end;
      diagonal = best.begin - best.source;
    });
    // What is copied has its first place already.
    size_t k = 0;
    windows(number, [&](uint64_t at, uint64_t hash) {
      while (k < matches.size() && matches[k].end <= at) k++;
      if (k < matches.size() && matches[k].begin <= at && at + kWindow <= matches[k].end) return;
      uint32_t* ways = &places_[bucket(hash)];
      for (size_t w = kWays - 1; w > 0; w--) ways[w] = ways[w - 1];
      ways[0] = static_cast<uint32_t>(at + 1);
    });
    keep(matches, found);
  }

  size_t bucket(uint64_t hash) const { return static_cast<size_t>(hash >> (64 - kSampled - bits_) & ((uint64_t{1} << bits_) - 1)) * kWays; }

  // Those from the segments that bring most, without those that meet a table.
  void keep(const std::vector<Match>& matches, std::vector<Cover>& found) const {
    auto segmentOf = [&](uint64_t place) {
      return static_cast<size_t>(std::partition_point(segments_.begin(), segments_.end(), [&](const TargetRange& s) { return s.end <= place; }) - segments_.begin());
    };
    // A copy may reach from one into the next.
    struct Source {
      int64_t gain;
      size_t number;
    };
    std::vector<Source> sources(segments_.size());
    for (size_t i = 0; i < sources.size(); i++) sources[i].number = i;
    auto span = [&](const Match& match) { return std::pair<size_t, size_t>(segmentOf(match.source), segmentOf(match.source + (match.end - match.begin) - 1)); };
    for (const Match& match : matches) {
      const auto [first, last] = span(match);
      for (size_t i = first; i <= last; i++) sources[i].gain += match.gain;
    }
    std::sort(sources.begin(), sources.end(), [](const Source& a, const Source& b) { return a.gain != b.gain ? a.gain > b.gain : a.number < b.number; });
    std::vector<bool> used(segments_.size());
    for (size_t i = 0; i < std::min(sources.size(), kMostSources); i++) used[sources[i].number] = true;
    for (const Match& match : matches) {
      const auto [first, last] = span(match);
      if (!std::all_of(used.begin() + static_cast<ptrdiff_t>(first), used.begin() + static_cast<ptrdiff_t>(last) + 1, [](bool each) { return each; })) continue;
      auto c = std::partition_point(covers_.begin(), covers_.end(), [&](const Cover& x) { return x.target + x.length <= match.begin; });
      bool table = false;
      for (; c != covers_.end() && c->target < match.end; ++c) table = table || (!(c->base & kFill) && (c->base & kTable));
      if (!table) found.push_back({match.begin, n_ + match.source, match.end - match.begin});
    }
  }

  const uint8_t* b_;
  size_t n_;
  const uint8_t* t_;
  size_t m_;
  const std::vector<TargetRange>& segments_;
  const std::vector<Cover>& covers_;
  const EarlierOptions& options_;
  const Progress& progress_;
  std::vector<Costs> costs_;
  unsigned bits_ = 8;
  std::vector<uint32_t> places_;  // place + 1; 0: none
};

}  // namespace

bool findEarlier(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize, const std::vector<TargetRange>& segments,
                 const std::vector<Cover>& covers, const EarlierOptions& options, const Progress& progress, std::vector<std::vector<Cover>>& found) {
  Finder finder(base, baseSize, target, targetSize, segments, covers, options, progress);
  return finder.run(found);
}

}  // namespace shoal::delta
