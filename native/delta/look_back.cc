#include "look_back.h"

#include <algorithm>
#include <numeric>

#include "covered.h"
#include "delta/coding/map.h"
#include "delta/common/parallel.h"
#include "delta/common/touch.h"
#include "delta/find/follow.h"
#include "residual.h"

namespace shoal::delta {
namespace {

constexpr size_t kSegmentCosts = 16;     // bytes that a segment must save to need others
constexpr size_t kListed = 80;           // bytes of a manifest for each segment
constexpr size_t kMostCovers = 65536;    // of a segment that copies

// Covers of a segment, cut at its ends.
std::vector<Cover> within(const TargetRange& s, const std::vector<Cover>& covers) {
  std::vector<Cover> own;
  auto c = std::partition_point(covers.begin(), covers.end(), [&](const Cover& x) { return x.target + x.length <= s.begin; });
  for (; c != covers.end() && c->target < s.end; ++c) {
    const uint64_t from = std::max(s.begin, c->target), to = std::min(s.end, c->target + c->length);
    own.push_back({from, c->base & kFill ? c->base : c->base + (from - c->target), to - from});
  }
  return own;
}

}  // namespace

int32_t LookBack::run(const std::vector<shoal_delta_segment>& segments, std::vector<Cover>& covers, uint64_t& saved) const {
  std::vector<TargetRange> ranges;
  for (const shoal_delta_segment& s : segments) ranges.push_back({s.target_begin, s.target_end});
  EarlierOptions options;
  options.memoryCap = memoryCap;
  options.threads = threads;
  for (const ImagePair& pair : images) options.moved.push_back({pair.target.at, pair.target.end});
  std::sort(options.moved.begin(), options.moved.end(), [](const TargetRange& a, const TargetRange& b) { return a.end < b.end; });
  std::vector<std::vector<Cover>> found;
  if (!findEarlier(base, baseSize, target, targetSize, ranges, covers, options, progress, found)) return SHOAL_DELTA_CANCELLED;
  std::vector<uint8_t> failed(ranges.size());
  std::vector<size_t> less(ranges.size());
  parallelFor(ranges.size(), threads, [&](size_t i) {
    if (found[i].empty() || progress.cancelled()) return;
    const std::vector<Cover> own = within(ranges[i], covers);
    std::vector<Stretch> stretches;
    for (const Cover& c : found[i]) stretches.push_back({c.target, c.target + c.length});
    std::vector<Cover> changed = own;
    replaceCovers(changed, std::move(stretches), found[i]);
    failed[i] = !compare(ranges[i], own, changed, less[i]);
    if (less[i] == 0) found[i].clear();
  });
  if (progress.cancelled()) return SHOAL_DELTA_CANCELLED;
  saved = std::accumulate(less.begin(), less.end(), uint64_t{0});
  std::vector<Stretch> stretches;
  std::vector<Cover> all;
  for (size_t i = 0; i < ranges.size(); i++) {
    if (failed[i]) return SHOAL_DELTA_NO_MEMORY;
    for (const Cover& c : found[i]) {
      stretches.push_back({c.target, c.target + c.length});
      all.push_back(c);
    }
  }
  if (!all.empty()) replaceCovers(covers, std::move(stretches), std::move(all));
  return SHOAL_DELTA_OK;
}

bool LookBack::compare(const TargetRange& segment, const std::vector<Cover>& own, const std::vector<Cover>& changed, size_t& saved) const {
  size_t before = 0, after = 0;
  if (changed.size() > kMostCovers) return true;
  if (!measure(segment, own, before) || !measure(segment, changed, after)) return false;
  saved = after + kSegmentCosts < before ? before - after : 0;
  return true;
}

int32_t LookBack::measureAll(const std::vector<shoal_delta_segment>& segments, const std::vector<Cover>& covers, uint64_t& bytes) const {
  std::vector<size_t> sizes(segments.size());
  std::vector<uint8_t> failed(segments.size());
  parallelFor(segments.size(), threads, [&](size_t i) {
    if (progress.cancelled()) return;
    const TargetRange range = {segments[i].target_begin, segments[i].target_end};
    failed[i] = !measure(range, within(range, covers), sizes[i]);
  });
  if (progress.cancelled()) return SHOAL_DELTA_CANCELLED;
  for (const uint8_t each : failed)
    if (each) return SHOAL_DELTA_NO_MEMORY;
  bytes = std::accumulate(sizes.begin(), sizes.end(), uint64_t{kListed} * segments.size());
  return SHOAL_DELTA_OK;
}

bool LookBack::measure(const TargetRange& segment, const std::vector<Cover>& covers, size_t& bytes) const {
  const size_t size = static_cast<size_t>(segment.end - segment.begin);
  std::vector<uint8_t> prediction(size), payload, page;
  std::vector<Piece> pieces;
  Touch()(size);
  Covered{base, baseSize, target, covers}.predict(segment.begin, segment.end, prediction.data(), pieces);
  if (!encodePayload(prediction.data(), target + segment.begin, size, static_cast<uint32_t>(segment.begin), pieces.data(), pieces.size(), payload)) return false;
  if (!encodeMapPage(covers.data(), covers.size(), segment.begin, page)) return false;
  bytes = payload.size() + page.size();
  return true;
}

}  // namespace shoal::delta
