#include <algorithm>
#include <cstring>
#include <numeric>
#include <vector>

#include "covered.h"
#include "delta.h"
#include "delta/coding/map.h"
#include "delta/common/parallel.h"
#include "delta/common/touch.h"
#include "delta/find/choose.h"
#include "delta/find/jumps.h"
#include "delta/find/relocations.h"
#include "delta/find/stubs.h"
#include "delta/find/types.h"
#include "delta/match/earlier.h"
#include "delta/match/match.h"
#include "delta/match/tables.h"
#include "delta/references/frame_index.h"
#include "delta/references/references.h"
#include "look_back.h"
#include "residual.h"
#include "rewritten.h"

namespace shoal::delta {
namespace {

// Spans with more covers than a page keep only those of kCrowdedLength: SHOAL_DELTA_MAX_SEGMENT / kCrowdedLength plus
// what crosses in is within SHOAL_DELTA_MAX_PAGE_COVERS, and so is a segment of several spans (see cut). Longer units keep fewer.
constexpr uint64_t kCrowdedLength = 64;
constexpr uint32_t kSegmentPayload = 262144;
constexpr uint64_t kShorterSegment = uint64_t{4} << 20;  // bytes, where segments copy from earlier ones
constexpr uint64_t kMuchSaved = 32, kClearly = 16;       // one of so many bytes
constexpr size_t kPageCovers = 65536;  // a page closes before this, unless one segment alone needs more

struct Owned {
  std::vector<shoal_delta_segment> segments;
  std::vector<shoal_delta_page> pages;
  std::vector<uint8_t> payloads, map;
};

class Encoder {
 public:
  Encoder(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize, const Progress& progress,
          unsigned threads)
      : base_(base), baseSize_(baseSize), target_(target), targetSize_(targetSize), progress_(progress),
        threads_(threads), chooser_(base, baseSize, target, targetSize) {}

  int32_t run(const uint64_t* ends, size_t count, const shoal_delta_options& options, const MatchOptions& match, uint32_t segmentPayload, Owned& out) {
    const size_t unitCount = options.unit_count;
    if (!findCovers(base_, baseSize_, target_, targetSize_, match, progress_, covers_)) return SHOAL_DELTA_CANCELLED;
    if (options.plain == 0) coverStructures(Opened(options.streams, options.stream_count));
    std::vector<Cover> flat;
    if (unitCount > 0) {
      std::vector<uint64_t> unitEnds;
      for (size_t i = 0, last = 0; i < unitCount; i++) {
        last += static_cast<size_t>(options.unit_spans[i]);
        if (unitEnds.empty() || unitEnds.back() < ends[last - 1]) unitEnds.push_back(ends[last - 1]);
      }
      thin(unitEnds.data(), unitEnds.size());
      flat = covers_;
      layOut(options.span_begins, ends, count, out);
    } else {
      thin(ends, count);
      const uint64_t expected = cut(ends, count, segmentPayload, SHOAL_DELTA_MAX_SEGMENT, out.segments);
      const int32_t status = options.look_back != 0 ? lookBack(ends, count, segmentPayload, expected, options.memory_cap, out.segments) : SHOAL_DELTA_OK;
      if (status != SHOAL_DELTA_OK) return status;
    }
    for (size_t i = places_.size(); i < out.segments.size(); i++) places_.push_back(out.segments[i].target_begin);
    payloads_.resize(out.segments.size());
    if (options.plain == 0 && !writeAnew(out)) return progress_.cancelled() ? SHOAL_DELTA_CANCELLED : SHOAL_DELTA_NO_MEMORY;
    alignTables(out);
    layPages(options.unit_spans, unitCount, out);
    const std::vector<Cover> placed = unitCount > 0 ? putBack(out) : std::vector<Cover>();
    const std::vector<Cover>& all = unitCount > 0 ? placed : covers_;
    if (options.plain == 0 && all.size() <= SHOAL_DELTA_MAX_MAP_COVERS) {
      if (options.look_back != 0) {
        // References move by what covers say of the base.
        const std::vector<Cover> shown = ofBase();
        chooser_.find(images_, shown, shown);
      } else {
        chooser_.find(images_, unitCount > 0 ? flat : covers_, all);
      }
    }
    std::vector<int32_t> status(out.segments.size(), SHOAL_DELTA_OK);
    parallelFor(out.segments.size(), threads_, [&](size_t i) {
      if (progress_.cancelled()) return;
      status[i] = encode(out.segments[i], places_[i], payloads_[i]);
      progress_.add(out.segments[i].target_end - out.segments[i].target_begin);
    });
    if (progress_.cancelled()) return SHOAL_DELTA_CANCELLED;
    for (const int32_t s : status)
      if (s != SHOAL_DELTA_OK) return s;
    for (size_t i = 0; i < out.segments.size(); i++) {
      out.segments[i].payload_offset = out.payloads.size();
      out.segments[i].payload_size = static_cast<uint32_t>(payloads_[i].size());
      out.payloads.insert(out.payloads.end(), payloads_[i].begin(), payloads_[i].end());
    }
    return writeMap(out) ? SHOAL_DELTA_OK : SHOAL_DELTA_NO_MEMORY;
  }

 private:
  std::vector<Cover> ofBase() const {
    std::vector<Cover> shown;
    for (const Cover& c : covers_)
      if (c.base & kFill || (c.base & ~kTable) < baseSize_) shown.push_back(c);
    return shown;
  }

  // Covers that follow from what the bytes are for.
  void coverStructures(const Opened& opened) {
    coverTables(base_, baseSize_, target_, targetSize_, covers_);
    images_ = pairImages(base_, baseSize_, target_, targetSize_, opened, covers_);
    coverTypes(base_, target_, images_, covers_, chooser_.types());
    coverRelocations(base_, target_, images_, covers_);
    coverStubs(base_, target_, images_, covers_);
    coverJumps(base_, baseSize_, target_, images_, covers_, chooser_.jumps());
  }

  // Keeps the covers of any one span few enough for a page: the shortest give way to literals.
  void thin(const uint64_t* ends, size_t count) {
    std::vector<Cover> kept;
    size_t i = 0;
    for (size_t span = 0; span < count; span++) {
      size_t j = i;
      while (j < covers_.size() && covers_[j].target < ends[span]) j++;
      const bool crowded = j - i > kPageCovers;
      const uint64_t size = ends[span] - (span == 0 ? 0 : ends[span - 1]);
      const uint64_t least = kCrowdedLength * std::max<uint64_t>(1, (size + SHOAL_DELTA_MAX_SEGMENT - 1) / SHOAL_DELTA_MAX_SEGMENT);
      for (; i < j; i++)
        if (!crowded || covers_[i].length >= least) kept.push_back(covers_[i]);
    }
    covers_.swap(kept);
  }

  // Covers that show earlier segments. Where these bring much, shorter segments have more of such: then both are tried. Returns a status.
  int32_t lookBack(const uint64_t* ends, size_t count, uint32_t segmentPayload, uint64_t expected, uint64_t memoryCap, std::vector<shoal_delta_segment>& segments) {
    const LookBack look = {base_, baseSize_, target_, targetSize_, images_, memoryCap, threads_, progress_};
    std::vector<Cover> alone = covers_;
    uint64_t saved = 0;
    int32_t status = look.run(segments, covers_, saved);
    if (status != SHOAL_DELTA_OK || saved < expected / kMuchSaved) return status;
    std::vector<Cover> copying = std::move(covers_);
    covers_ = std::move(alone);
    std::vector<shoal_delta_segment> shorter;
    cut(ends, count, segmentPayload, kShorterSegment, shorter);
    status = look.run(shorter, covers_, saved);
    uint64_t bytes = 0, shorterBytes = 0;
    if (status == SHOAL_DELTA_OK) status = look.measureAll(segments, copying, bytes);
    if (status == SHOAL_DELTA_OK) status = look.measureAll(shorter, covers_, shorterBytes);
    if (status != SHOAL_DELTA_OK) return status;
    // What is measured leaves out passages: hardly better may be worse.
    if (shorterBytes + shorterBytes / kClearly < bytes)
      segments.swap(shorter);
    else
      covers_.swap(copying);
    return SHOAL_DELTA_OK;
  }

  // Closes a segment when its output or its expected payload is large enough. Returns what all payloads are expected to take.
  uint64_t cut(const uint64_t* ends, size_t count, uint32_t segmentPayload, uint64_t longest, std::vector<shoal_delta_segment>& segments) const {
    std::vector<uint64_t> estimate(count);
    std::vector<uint32_t> most(count);
    parallelFor(count, threads_, [&](size_t i) {
      const uint64_t begin = i == 0 ? 0 : ends[i - 1], end = ends[i];
      std::vector<uint8_t> buffer(end - begin);
      std::vector<Piece> pieces;
      covered_.predict(begin, end, buffer.data(), pieces);
      estimate[i] = expectedPayload(buffer.data(), target_ + begin, pieces);
      most[i] = isText(target_ + begin, end - begin) ? segmentPayload : std::min(segmentPayload, kSegmentPayload);
    });
    uint64_t begin = 0, payload = 0, covers = 0;
    for (size_t i = 0; i < count; i++) {
      const uint64_t last = i == 0 ? 0 : ends[i - 1];
      const bool large = ends[i] - begin > longest ||
                         (payload > 0 && payload + estimate[i] / 2 > most[i]) || covers > kPageCovers;
      if (large && last > begin) {
        segments.push_back({begin, last, 0, 0, 0, 0});
        begin = last;
        payload = 0;
        covers = 0;
      }
      payload += estimate[i];
      covers += covered_.at(ends[i]) - covered_.at(last);
    }
    if (targetSize_ > begin) segments.push_back({begin, targetSize_, 0, 0, 0, 0});
    return std::accumulate(estimate.begin(), estimate.end(), uint64_t{0});
  }

  // Each span behind the one before, with its covers.
  void layOut(const uint64_t* begins, const uint64_t* ends, size_t count, Owned& out) {
    std::vector<Cover> laid;
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
      for (size_t k = covered_.at(begins[i]); k < covers_.size() && covers_[k].target < ends[i]; k++) {
        const Cover& c = covers_[k];
        uint64_t from = std::max(begins[i], c.target);
        const uint64_t to = std::min(ends[i], c.target + c.length);
        if (c.base & kTable) from = c.target + (from - c.target + 7) / 8 * 8;
        if (from < to) laid.push_back({at + (from - begins[i]), c.base & kFill ? c.base : c.base + (from - c.target), to - from});
      }
      out.segments.push_back({at, at + (ends[i] - begins[i]), 0, 0, 0, 0});
      places_.push_back(begins[i]);
      at = out.segments.back().target_end;
    }
    covers_.swap(laid);
  }

  // The covers as they are on pages, where they lie in the target: what begins in one unit and goes on in another that begins
  // before the end of the first is two of them.
  std::vector<Cover> putBack(const Owned& out) const {
    std::vector<Cover> placed;
    size_t s = 0;
    for (Cover c : covers_) {
      auto moved = [&](size_t i) { return places_[i] - out.segments[i].target_begin; };
      while (out.segments[s].target_end <= c.target) s++;
      for (size_t i = s; i + 1 < out.segments.size() && out.segments[i].target_end < c.target + c.length; i++) {
        if (moved(i) == moved(i + 1)) continue;
        const uint64_t here = out.segments[i].target_end - c.target;
        placed.push_back({c.target + moved(i), c.base, here});
        c = {c.target + here, c.base & kFill ? c.base : c.base + here, c.length - here};
        s = i + 1;
      }
      placed.push_back({c.target + moved(s), c.base, c.length});
    }
    return placed;
  }

  // A segment's part of a table begins with a pair: up to seven bytes give way where a segment ends within one.
  void alignTables(const Owned& out) {
    std::vector<Cover> cut;
    size_t segment = 0;
    for (Cover c : covers_) {
      while (c.base & kTable && out.segments[segment].target_end <= c.target) segment++;
      for (size_t s = segment; c.base & kTable && c.length > 0 && c.target + c.length > out.segments[s].target_end; s++) {
        const uint64_t here = out.segments[s].target_end - c.target, next = std::min(c.length, (here + 7) & ~uint64_t{7});
        cut.push_back({c.target, c.base, here});
        c = {c.target + next, c.base + next, c.length - next};
      }
      if (c.length > 0) cut.push_back(c);
    }
    covers_.swap(cut);
  }

  // Segments whose payload is there before their references are looked at: these follow from what covers are left.
  bool writeAnew(const Owned& out) {
    std::vector<SegmentPlace> stretches;
    for (size_t i = 0; i < out.segments.size(); i++) stretches.push_back({out.segments[i].target_begin, out.segments[i].target_end, places_[i]});
    return rewrite(base_, baseSize_, target_, stretches, progress_, threads_, covers_, payloads_);
  }

  // `place`: where its bytes lie in the target. A payload that is there stays.
  int32_t encode(shoal_delta_segment& segment, uint64_t place, std::vector<uint8_t>& payload) const {
    const size_t size = static_cast<size_t>(segment.target_end - segment.target_begin);
    const uint8_t* target = target_ + place;
    if (!payload.empty() && payload.size() < size) {
      segment.codec = SHOAL_DELTA_SITES;
      return SHOAL_DELTA_OK;
    }
    payload.clear();
    std::vector<uint8_t> buffer(size);
    std::vector<Piece> pieces;
    Touch()(size);
    covered_.predict(segment.target_begin, segment.target_end, buffer.data(), pieces);
    if (memcmp(buffer.data(), target, size) == 0) {
      segment.codec = SHOAL_DELTA_COPY;
      return SHOAL_DELTA_OK;
    }
    const Rules rules = chooser_.rulesFor(place, place + size, buffer, pieces);
    // What moves counts from where it lies in the target.
    const uint32_t origin = static_cast<uint32_t>(rules.rules.empty() ? segment.target_begin : place);
    if (!rules.rules.empty()) moveReferences(rules, chooser_.shifts(), buffer.data(), origin, pieces.data(), pieces.size());
    // What is made from the rest is not coded.
    std::vector<uint8_t> without;
    if (std::any_of(rules.rules.begin(), rules.rules.end(), [](const Rule& r) { return r.kind == kFrameIndex; })) {
      without.assign(target, target + size);
      clearIndexes(rules, without.data());
    }
    if (!encodePayload(buffer.data(), without.empty() ? target : without.data(), size, origin, pieces.data(), pieces.size(), payload))
      return SHOAL_DELTA_NO_MEMORY;
    segment.codec = SHOAL_DELTA_SITES;
    if (!rules.rules.empty()) {
      std::vector<uint8_t> head;
      writeRules(rules, head);
      payload.insert(payload.begin(), head.begin(), head.end());
      segment.codec = SHOAL_DELTA_MOVED;
    }
    if (payload.size() >= size) {
      payload.assign(target, target + size);
      segment.codec = SHOAL_DELTA_RAW;
    }
    return SHOAL_DELTA_OK;
  }

  // A page closes at the end of a segment, or of a unit where there are any; covers that cross it are cut there, so that pages
  // decode alone.
  void layPages(const uint64_t* units, size_t unitCount, Owned& out) {
    std::vector<Cover> all;
    size_t first = 0, from = 0;
    auto flush = [&](size_t end) {
      if (first == end) return;
      out.pages.push_back({out.segments[first].target_begin, out.segments[end - 1].target_end, 0, 0,
                           static_cast<uint32_t>(all.size() - from)});
      from = all.size();
      first = end;
    };
    std::vector<Cover> own;
    for (size_t i = 0, next = 0, unit = 0; i < out.segments.size(); i = next) {
      own.clear();
      do {
        const shoal_delta_segment& s = out.segments[next++];
        for (size_t k = covered_.at(s.target_begin); k < covers_.size() && covers_[k].target < s.target_end; k++) {
          Cover c = covers_[k];
          const uint64_t end = std::min(s.target_end, c.target + c.length);
          if (c.target < s.target_begin) {
            if (!(c.base & kFill)) c.base += s.target_begin - c.target;
            c.target = s.target_begin;
          }
          c.length = end - c.target;
          own.push_back(c);
        }
      } while (unitCount > 0 && next < i + units[unit]);
      unit++;
      if (all.size() > from && all.size() - from + own.size() > kPageCovers) flush(i);
      for (const Cover& c : own) {
        if (all.size() > from) {
          Cover& last = all.back();
          const bool joins = last.target + last.length == c.target &&
                             ((c.base & kFill) ? last.base == c.base
                                               : !(last.base & kFill) && last.base + last.length == c.base && c.base != baseSize_);
          if (joins) {
            last.length += c.length;
            continue;
          }
        }
        all.push_back(c);
      }
      for (size_t k = i; k < next; k++) out.segments[k].page = static_cast<uint32_t>(out.pages.size());
    }
    flush(out.segments.size());
    covers_.swap(all);
  }

  bool writeMap(Owned& out) const {
    bool complete = true;
    size_t from = 0;
    for (shoal_delta_page& page : out.pages) {
      page.offset = out.map.size();
      complete = encodeMapPage(covers_.data() + from, page.covers, page.target_begin, out.map) && complete;
      page.size = static_cast<uint32_t>(out.map.size() - page.offset);
      from += page.covers;
    }
    return complete;
  }

  const uint8_t* base_;
  size_t baseSize_;
  const uint8_t* target_;
  size_t targetSize_;
  const Progress& progress_;
  unsigned threads_;
  std::vector<Cover> covers_;
  const Covered covered_{base_, baseSize_, target_, covers_};
  std::vector<ImagePair> images_;
  Chooser chooser_;
  std::vector<std::vector<uint8_t>> payloads_;
  std::vector<uint64_t> places_;  // of segments in the target
};

// What the options say of units follows from the spans.
bool unitsAreRight(const uint64_t* ends, size_t count, uint64_t size, const shoal_delta_options& options) {
  size_t span = 0;
  uint64_t at = 0, sum = 0;
  for (size_t i = 0; i < options.unit_count; i++) {
    if (options.unit_spans[i] == 0 || options.unit_spans[i] > count - span) return false;
    uint64_t unit = 0;
    for (uint64_t k = options.unit_spans[i]; k > 0; k--, span++) {
      const uint64_t begin = options.span_begins[span], end = ends[span];
      const bool follows = unit == 0 ? begin <= at : begin == ends[span - 1];
      if (!follows || end <= begin || end - begin > SHOAL_DELTA_MAX_SEGMENT) return false;
      unit += end - begin;
    }
    if (unit > SHOAL_DELTA_MAX_UNIT || ends[span - 1] < at) return false;
    at = ends[span - 1];
    sum += unit;
  }
  uint64_t last = 0;
  for (size_t i = 0; i < options.stream_count; i++) {
    const shoal_delta_stream& s = options.streams[i];
    if (s.at < last || s.at > size || s.held > size - s.at || s.size > s.held) return false;
    last = s.at + s.held;
  }
  return span == count && at == size && sum <= SHOAL_DELTA_MAX_SIZE;
}

}  // namespace
}  // namespace shoal::delta

using shoal::delta::Owned;

int32_t shoal_delta_encode(const uint8_t* base, uint64_t base_size, const uint8_t* target, uint64_t target_size,
                           const uint64_t* span_ends, size_t span_count, const shoal_delta_options* options,
                           shoal_delta_result* result) {
  if (result == nullptr || options == nullptr || (base == nullptr && base_size != 0) ||
      (target == nullptr && target_size != 0) || (span_ends == nullptr && span_count != 0) ||
      base_size > SHOAL_DELTA_MAX_SIZE || target_size > SHOAL_DELTA_MAX_SIZE)
    return SHOAL_DELTA_BAD_ARGUMENT;
  if (options->unit_count > 0 && !shoal::delta::unitsAreRight(span_ends, span_count, target_size, *options)) return SHOAL_DELTA_BAD_ARGUMENT;
  if (options->skip_count % 2 != 0) return SHOAL_DELTA_BAD_ARGUMENT;
  for (size_t i = 0; i < options->skip_count; i++)
    if (options->skips[i] > base_size || (i > 0 && options->skips[i] < options->skips[i - 1])) return SHOAL_DELTA_BAD_ARGUMENT;
  uint64_t at = 0;
  for (size_t i = 0; i < span_count && options->unit_count == 0; i++) {
    if (span_ends[i] <= at || span_ends[i] - at > SHOAL_DELTA_MAX_SEGMENT) return SHOAL_DELTA_BAD_ARGUMENT;
    at = span_ends[i];
  }
  if (at != target_size && options->unit_count == 0) return SHOAL_DELTA_BAD_ARGUMENT;
  Owned* owned = new (std::nothrow) Owned;
  if (owned == nullptr) return SHOAL_DELTA_NO_MEMORY;
  const shoal::delta::Progress progress{options->progress, options->cancel};
  const unsigned threads = std::max(1u, std::min(64u, options->threads));
  shoal::delta::MatchOptions match;
  match.memoryCap = options->memory_cap;
  match.threads = threads;
  match.skip = options->skips;
  match.skips = options->skip_count / 2;
  shoal::delta::Encoder encoder(base, base_size, target, target_size, progress, threads);
  const int32_t status = encoder.run(span_ends, span_count, *options, match, options->segment_payload == 0 ? shoal::delta::kSegmentPayload : options->segment_payload, *owned);
  if (status != SHOAL_DELTA_OK) {
    delete owned;
    return status;
  }
  *result = {owned->segments.data(), owned->pages.data(),    owned->payloads.data(), owned->map.data(),
             owned->segments.size(), owned->pages.size(),    owned->payloads.size(), owned->map.size(),
             owned};
  return SHOAL_DELTA_OK;
}

void shoal_delta_release(shoal_delta_result* result) {
  if (result == nullptr) return;
  delete static_cast<Owned*>(result->owner);
  *result = {};
}
