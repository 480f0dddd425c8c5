#include "rewritten.h"

#include <algorithm>
#include <cstring>

#include "covered.h"
#include "delta/coding/map.h"
#include "delta/coding/passages.h"
#include "delta/common/parallel.h"
#include "delta/common/touch.h"
#include "residual.h"

namespace shoal::delta {
namespace {

constexpr size_t kLeast = 512;         // bytes that are to be saved from
constexpr uint64_t kShare = 24;        // of a stretch, what it must take otherwise
constexpr uint64_t kCoverCosts = 2;    // bytes on a page, where nobody has looked
constexpr size_t kWindowCosts = 6;

}  // namespace

// Few zeros and no more than one byte in seven that is not printed: where machines read, bytes change in place.
bool isText(const uint8_t* p, size_t size) {
  size_t zeros = 0, text = 0;
  for (size_t i = 0; i < size; i++) {
    zeros += p[i] == 0;
    text += (p[i] >= 0x20 && p[i] < 0x7F) || (p[i] >= 9 && p[i] <= 13);
  }
  return zeros < size / 2 && text >= (size - zeros) / 7 * 6;
}

namespace {

struct Rewriter {
  const uint8_t* base;
  size_t baseSize;
  const uint8_t* target;
  const std::vector<Cover>& covers;
  const Covered covered{base, baseSize, target, covers};

  bool showsBase(const Cover& c) const { return !(c.base & kFill) && (c.base & ~kTable) < baseSize; }

  // The window of the base that holds most of what covers of [first, last) show, in the middle if it is larger.
  Cover window(const SegmentPlace& s, size_t first, size_t last) const {
    const uint64_t length = std::min<uint64_t>(s.end - s.begin, baseSize);
    std::vector<Cover> shown;
    for (size_t i = first; i < last; i++)
      if (showsBase(covers[i])) shown.push_back({0, covers[i].base & ~kTable, covers[i].length});
    std::sort(shown.begin(), shown.end(), [](const Cover& x, const Cover& y) { return x.base < y.base; });
    uint64_t begin = 0, end = 0, most = 0, sum = 0;
    for (size_t i = 0, k = 0; k < shown.size(); k++) {
      sum += shown[k].length;
      while (i < k && shown[k].base + shown[k].length - shown[i].base > length) sum -= shown[i++].length;
      if (sum <= most) continue;
      most = sum;
      begin = shown[i].base;
      end = shown[k].base + shown[k].length;
    }
    if (most == 0) {
      // What came before it is most like it.
      for (size_t i = first; i-- > 0 && begin == 0;)
        if (showsBase(covers[i])) begin = end = (covers[i].base & ~kTable) + covers[i].length;
      if (begin == 0) begin = end = std::min<uint64_t>(s.begin, baseSize);
    }
    const uint64_t more = end - begin < length ? (length - (end - begin)) / 2 : 0;
    begin -= std::min(begin, more);
    return {s.begin, std::min(begin, baseSize - length), length};
  }

  // The payload with passages if that is smaller, else empty. `cover` is what it is made with. False: no memory.
  bool attempt(const SegmentPlace& s, Cover& cover, std::vector<uint8_t>& payload) const {
    const size_t size = static_cast<size_t>(s.end - s.begin);
    const uint8_t* wanted = target + s.place;
    if (size < kLeast || baseSize == 0 || !isText(wanted, size)) return true;
    const size_t first = covered.at(s.begin);
    size_t last = first;
    while (last < covers.size() && covers[last].target < s.end) last++;
    const uint64_t map = kCoverCosts * (last - first);
    for (size_t i = first; i < last; i++)
      if (covers[i].base & kTable) return true;
    std::vector<uint8_t> prediction(size);
    std::vector<Piece> pieces;
    Touch touch;
    touch(size);
    covered.predict(s.begin, s.end, prediction.data(), pieces);
    if (expectedPayload(prediction.data(), wanted, pieces) + map < std::max<uint64_t>(size / kShare, kLeast)) return true;
    cover = window(s, first, last);
    std::vector<uint8_t> dictionary(size), made, usual;
    touch(cover.length);
    memcpy(dictionary.data(), base + cover.base, cover.length);
    if (!encodePassages(dictionary.data(), wanted, size, made)) return false;
    if (!encodePayload(prediction.data(), wanted, size, static_cast<uint32_t>(s.begin), pieces.data(), pieces.size(), usual)) return false;
    std::vector<Cover> own(covers.begin() + static_cast<ptrdiff_t>(first), covers.begin() + static_cast<ptrdiff_t>(last));
    if (!own.empty() && own[0].target < s.begin) {
      own[0].length -= s.begin - own[0].target;
      if (!(own[0].base & kFill)) own[0].base += s.begin - own[0].target;
      own[0].target = s.begin;
    }
    std::vector<uint8_t> page;
    if (!own.empty() && !encodeMapPage(own.data(), own.size(), s.begin, page)) return false;
    if (made.size() + kWindowCosts < usual.size() + page.size()) payload.swap(made);
    return true;
  }
};

}  // namespace

bool rewrite(const uint8_t* base, size_t baseSize, const uint8_t* target, const std::vector<SegmentPlace>& stretches, const Progress& progress,
             unsigned threads, std::vector<Cover>& covers, std::vector<std::vector<uint8_t>>& payloads) {
  payloads.assign(stretches.size(), {});
  std::vector<Cover> windows(stretches.size());
  std::vector<uint8_t> failed(stretches.size());
  const Rewriter rewriter{base, baseSize, target, covers};
  parallelFor(stretches.size(), threads, [&](size_t i) {
    if (!progress.cancelled()) failed[i] = !rewriter.attempt(stretches[i], windows[i], payloads[i]);
  });
  std::vector<Cover> kept;
  size_t k = 0;
  for (size_t i = 0; i < stretches.size(); i++) {
    if (failed[i]) return false;
    if (payloads[i].empty()) continue;
    const SegmentPlace& s = stretches[i];
    for (; k < covers.size() && covers[k].target < s.begin; k++) {
      kept.push_back(covers[k]);
      kept.back().length = std::min(kept.back().length, s.begin - kept.back().target);
    }
    kept.push_back(windows[i]);
    // What reached beyond it goes on behind it.
    k = rewriter.covered.at(s.end);
    if (k < covers.size() && covers[k].target < s.end) {
      Cover& c = covers[k];
      if (!(c.base & kFill)) c.base += s.end - c.target;
      c.length -= s.end - c.target;
      c.target = s.end;
    }
  }
  if (!kept.empty()) {
    kept.insert(kept.end(), covers.begin() + static_cast<ptrdiff_t>(k), covers.end());
    covers.swap(kept);
  }
  return true;
}

}  // namespace shoal::delta
