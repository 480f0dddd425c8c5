#include "deflate.h"

#include <cstring>
#include <new>

#include "blocks.h"

namespace shoal::deflate {
namespace {

constexpr uint32_t kWindow = 32768, kLeastMatch = 3, kMostMatch = 258;
// zlib refills its buffer of two windows when fewer bytes than this lie ahead, and keeps matches this far from the window's end.
constexpr uint32_t kAhead = kMostMatch + kLeastMatch + 1, kFarthest = kWindow - kAhead;
// Three bytes this far back cost more than three literals.
constexpr uint32_t kTooFar = 4096;

// What a level means: below `good` the whole chain is looked at; a match of `lazy` is taken without looking at the next byte
// (levels up to 3: longer ones do not enter the table); one of `nice` ends the search; `chain` entries are looked at.
struct Effort {
  uint32_t good, lazy, nice, chain;
};
constexpr Effort kEfforts[10] = {{},
                                 {4, 4, 8, 4},
                                 {4, 5, 16, 8},
                                 {4, 6, 32, 32},
                                 {4, 4, 16, 16},
                                 {8, 16, 32, 32},
                                 {8, 16, 128, 128},
                                 {8, 32, 128, 256},
                                 {32, 128, 258, 1024},
                                 {32, 258, 258, 4096}};
constexpr uint8_t kLazyLevel = 4;
// GNU gzip: symbols of a block at most; from this level on it looks whether a block had better end earlier.
constexpr uint32_t kGnuSymbols = 32767;
constexpr uint8_t kGnuStops = 3;
// From this level on chains are so long that going through them takes most of the time: see Deep.
constexpr uint8_t kDeepLevel = 7;

uint16_t load16(const uint8_t* p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}

uint64_t load64(const uint8_t* p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return v;
}

uint32_t common(const uint8_t* a, const uint8_t* b, uint32_t most) {
  uint32_t n = 0;
  for (; n + 8 <= most; n += 8) {
    const uint64_t differ = load64(a + n) ^ load64(b + n);
    if (differ == 0) continue;
#if defined(__GNUC__) && defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return n + (static_cast<uint32_t>(__builtin_ctzll(differ)) >> 3);
#else
    break;
#endif
  }
  while (n < most && a[n] == b[n]) n++;
  return n;
}

// Places of the window that begin with the same bytes, newest first.
struct Chains {
  static constexpr uint32_t kBits = 16;
  uint32_t head[1u << kBits];
  uint16_t back[kWindow];  // how far back the place before is; 0: none
  uint32_t enter(uint32_t key, uint32_t at) {
    const uint32_t before = head[key], distance = at - before;
    back[at % kWindow] = static_cast<uint16_t>(distance < kWindow ? distance : 0);
    head[key] = at;
    return before;
  }
  // The place before, or 0.
  uint32_t before(uint32_t at) const {
    const uint32_t distance = back[at % kWindow];
    return distance == 0 ? 0 : at - distance;
  }
};

// zlib goes through the places that have the same three bytes (or ones with the same key) one by one, up to a number, and
// takes the longest match, of several the nearest. The same one is found with less work among the places that have more
// bytes in common, longest first, if it is known which number each place has in zlib's chain.
constexpr uint32_t kDepths[] = {16, 8, 6, 4};
constexpr int kDeep = sizeof kDepths / sizeof *kDepths;

// RFC 1950, 2.2 and 8.2: what lies around deflate.
constexpr uint32_t kHead = 2, kChecksum = 4;

uint32_t adler32(const uint8_t* data, size_t size) {
  uint32_t a = 1, b = 0;
  while (size > 0) {
    // So many bytes go by before either can exceed 32 bits.
    const size_t some = size < 5552 ? size : 5552;
    for (size_t i = 0; i < some; i++) {
      a += data[i];
      b += a;
    }
    a %= 65521;
    b %= 65521;
    data += some;
    size -= some;
  }
  return b << 16 | a;
}

class Encoder {
 public:
  uint32_t run(const shoal_deflate_stream& s) {
    if (!s.zlib) return raw(s);
    if (s.room < kHead + kChecksum) return SHOAL_DEFLATE_LONGER;
    shoal_deflate_stream inner = s;
    inner.out += kHead;
    inner.room -= kHead + kChecksum;
    const uint32_t made = raw(inner);
    if (made == SHOAL_DEFLATE_LONGER) return made;
    const uint32_t flags = (s.level < 2 ? 0u : s.level < 6 ? 1u : s.level == 6 ? 2u : 3u) << 6;
    s.out[0] = 0x78;
    s.out[1] = static_cast<uint8_t>(flags + 31 - (0x7800 + flags) % 31);
    const uint32_t sum = adler32(s.in, s.size);
    for (uint32_t i = 0; i < kChecksum; i++) s.out[kHead + made + i] = static_cast<uint8_t>(sum >> (24 - 8 * i));
    return made + kHead + kChecksum;
  }

  void forget() {
    first_ = 1;
    memset(near_.head, 0, sizeof near_.head);
    for (Chains& each : far_) memset(each.head, 0, sizeof each.head);
    memset(count_, 0, sizeof count_);
  }

 private:
  // Whatever zlib would do with a fresh state, all input at hand and Z_FINISH; GNU gzip with a file of its own.
  uint32_t raw(const shoal_deflate_stream& s) {
    // Places are numbered on from one stream to the next, so that nothing has to be forgotten in between.
    if (first_ > UINT32_MAX - 2 * (SHOAL_DEFLATE_MOST + kWindow)) forget();
    in_ = s.in;
    size_ = first_ + s.size;
    effort_ = kEfforts[s.level];
    const uint32_t bits = s.memory + 7u;
    shift_ = (bits + kLeastMatch - 1) / kLeastMatch;
    mask_ = (1u << bits) - 1;
    gnu_ = s.gnu != 0;
    stops_ = gnu_ && s.level >= kGnuStops;
    ended_ = false;
    block_.begin(symbols_, gnu_ ? kGnuSymbols : (1u << (s.memory + 6)) - 1);
    out_.begin(s.out, s.room);
    pos_ = start_ = base_ = filled_ = first_;
    fill();
    if (s.level < kLazyLevel)
      greedy();
    else if (s.level < kDeepLevel)
      lazy<false>();
    else
      lazy<true>();
    if (!out_.overflow()) flush(true);
    first_ = size_ + kWindow;
    return out_.overflow() ? SHOAL_DEFLATE_LONGER : static_cast<uint32_t>(out_.written(s.out));
  }

  const uint8_t* at(uint32_t place) const { return in_ + (place - first_); }

  // zlib moves the upper window of its buffer down when it has come this far; what then lies at the buffer's first byte or
  // before it cannot be matched any more, and a block that began before it cannot be stored. Here nothing moves. GNU gzip does
  // so no more once it has seen the end of its file, and looks for no matches beyond that place.
  void fill() {
    if (gnu_ && ended_) return;
    do {
      uint32_t room = base_ + 2 * kWindow - filled_;
      if (pos_ - base_ >= kWindow + kFarthest) {
        base_ += kWindow;
        room += kWindow;
      }
      if (filled_ == size_) {
        ended_ = true;
        return;
      }
      filled_ += size_ - filled_ < room ? size_ - filled_ : room;
    } while (filled_ - pos_ < kAhead && (gnu_ || filled_ < size_));
  }

  // Enters a place and gives the one before it with the same key, 0 if there is none.
  template <bool kWithDeep>
  uint32_t insert(uint32_t place) {
    const uint8_t* const p = at(place);
    const uint32_t key = (static_cast<uint32_t>(p[0]) << (2 * shift_) ^ static_cast<uint32_t>(p[1]) << shift_ ^ p[2]) & mask_;
    const uint32_t before = near_.enter(key, place);
    if (kWithDeep) {
      number_[place % kWindow] = ++count_[key];
      const uint32_t left = size_ - place;
      uint64_t words = 0;
      for (int i = kDeep - 1; i >= 0 && kDepths[i] <= left; i--) before_[i] = far_[i].enter(keyOf(p, i, words), place);
    }
    return before;
  }

  // Called for the depths from the least on; `words` is what it made of those before.
  static uint32_t keyOf(const uint8_t* p, int i, uint64_t& words) {
    constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;
    uint32_t low;
    switch (kDepths[i]) {
      case 4:
        memcpy(&low, p, 4);
        words = low * kOdd;
        break;
      case 6:
        memcpy(&low, p, 4);
        words = (low | uint64_t{load16(p + 4)} << 32) * kOdd;
        break;
      case 8:
        words = load64(p) * kOdd;
        break;
      default:
        words = (words ^ words >> 32 ^ load64(p + 8)) * kOdd;
    }
    return static_cast<uint32_t>(words >> (64 - Chains::kBits));
  }

  bool reaches(uint32_t place) const { return place > base_ && pos_ - place <= kFarthest && pos_ - base_ <= kWindow + kFarthest; }
  bool stops(uint32_t at) const { return stops_ && block_.stops(at - start_); }
  uint32_t limit() const { return pos_ - base_ > kFarthest ? pos_ - kFarthest : base_; }

  // The longest match that is longer than `best`; sets `match_`.
  uint32_t longest(uint32_t place, uint32_t best) {
    const uint32_t left = size_ - pos_;
    if (best >= left) return left;
    uint32_t chain = best >= effort_.good ? effort_.chain >> 2 : effort_.chain;
    const uint32_t nice = effort_.nice < left ? effort_.nice : left;
    const uint32_t most = kMostMatch < left ? kMostMatch : left;
    const uint32_t least = limit();
    const uint8_t* const here = at(pos_);
    const uint16_t first = load16(here);
    uint16_t last = load16(here + best - 1);
    do {
      const uint8_t* const there = at(place);
      if (load16(there + best - 1) == last && load16(there) == first) {
        const uint32_t length = common(here, there, most);
        if (length > best) {
          match_ = place;
          best = length;
          if (length >= nice) break;
          last = load16(here + best - 1);
        }
      }
      place = near_.before(place);
    } while (place > least && --chain != 0);
    return best;
  }

  // The same, faster where chains are long.
  uint32_t deepest(uint32_t head, uint32_t best) {
    const uint32_t left = size_ - pos_;
    if (best >= left) return left;
    const uint32_t chain = best >= effort_.good ? effort_.chain >> 2 : effort_.chain;
    const uint32_t nice = effort_.nice < left ? effort_.nice : left;
    const uint32_t most = kMostMatch < left ? kMostMatch : left;
    const uint32_t least = limit();
    const uint16_t newest = number_[head % kWindow];
    const uint8_t* const here = at(pos_);
    for (int i = 0; i < kDeep; i++) {
      if (kDepths[i] > left) continue;
      // Nothing has as many bytes in common as the depth before asks for.
      const uint32_t enough = i > 0 && kDepths[i - 1] <= left && kDepths[i - 1] - 1 < nice ? kDepths[i - 1] - 1 : nice;
      const uint32_t found = best;
      if (best < kDepths[i] - 1) best = kDepths[i] - 1;
      const uint32_t before = best;
      uint16_t last = load16(here + best - 1);
      // The chain's head may lie one byte further away than the others.
      for (uint32_t place = before_[i]; place > least || place == head; place = far_[i].before(place)) {
        const uint8_t* const there = at(place);
        if (load16(there + best - 1) != last) continue;
        const uint32_t length = common(here, there, most);
        if (length < kLeastMatch) continue;
        // Only now it is sure that the two are of one chain of zlib's.
        if (static_cast<uint16_t>(newest - number_[place % kWindow]) >= chain) break;
        if (length <= best) continue;
        match_ = place;
        best = length;
        if (length >= enough) return best;
        last = load16(here + best - 1);
      }
      // Whatever is longer would have been found.
      if (best > before || found >= kDepths[i] - 1) return best;
      best = found;
    }
    // Three bytes are left, if anything.
    if (best >= kLeastMatch) return best;
    uint32_t place = head;
    for (uint32_t n = 0; n < chain; n++) {
      const uint8_t* const there = at(place);
      if (load16(there) == load16(here) && there[2] == here[2]) {
        match_ = place;
        return kLeastMatch;
      }
      place = near_.before(place);
      // Three bytes from so far are not taken.
      if (place <= least || pos_ - place > kTooFar) break;
    }
    return best;
  }

  // GNU gzip compares beyond the end of its input: there it has put two zeros, and then has what its buffer had before.
  uint8_t behind(uint32_t place) const {
    if (place < size_) return *at(place);
    return place - size_ < kLeastMatch - 1 || base_ == first_ ? 0 : *at(place - kWindow);
  }
  // The longest match near the end, as GNU gzip finds it.
  uint32_t last(uint32_t place, uint32_t best) {
    const uint32_t left = size_ - pos_, least = limit();
    uint32_t chain = best >= effort_.good ? effort_.chain >> 2 : effort_.chain;
    do {
      uint32_t length = 0;
      while (length < kMostMatch && behind(place + length) == behind(pos_ + length)) length++;
      if (length > best) {
        match_ = place;
        best = length;
        if (length >= effort_.nice) break;
      }
      place = near_.before(place);
    } while (place > least && --chain != 0);
    return best < left ? best : left;
  }
  template <bool kWithDeep>
  uint32_t found(uint32_t place, uint32_t best) {
    if (gnu_ && size_ - pos_ < kMostMatch) return last(place, best);
    return kWithDeep ? deepest(place, best) : longest(place, best);
  }

  void flush(bool last) {
    block_.finish(out_, start_ >= base_ ? at(start_) : nullptr, pos_ - start_, last);
    start_ = pos_;
  }

  // Levels 1 to 3: the first match is taken.
  void greedy() {
    while (pos_ < size_ && !out_.overflow()) {
      if (filled_ - pos_ < kAhead) fill();
      uint32_t length = 0;
      if (size_ - pos_ >= kLeastMatch) {
        const uint32_t place = insert<false>(pos_);
        if (reaches(place)) length = found<false>(place, kLeastMatch - 1);
      }
      bool full;
      if (length >= kLeastMatch) {
        full = block_.match(pos_ - match_, length) || stops(pos_);
        if (length <= effort_.lazy && size_ - pos_ - length >= kLeastMatch)
          for (uint32_t i = 1; i < length; i++) insert<false>(pos_ + i);
        pos_ += length;
      } else {
        full = block_.literal(*at(pos_)) || stops(pos_);
        pos_++;
      }
      if (full) flush(false);
    }
  }

  // Levels 4 to 9: a match is taken only when the next byte does not begin a longer one.
  template <bool kWithDeep>
  void lazy() {
    uint32_t length = kLeastMatch - 1;
    bool waiting = false;  // the byte before is not coded yet
    while (!out_.overflow()) {
      if (filled_ - pos_ < kAhead) {
        fill();
        if (pos_ == size_) break;
      }
      uint32_t place = 0;
      if (size_ - pos_ >= kLeastMatch) place = insert<kWithDeep>(pos_);
      const uint32_t lengthBefore = length, matchBefore = match_;
      length = kLeastMatch - 1;
      if (lengthBefore < effort_.lazy && reaches(place)) {
        length = found<kWithDeep>(place, lengthBefore);
        if (length == kLeastMatch && pos_ - match_ > kTooFar) length = kLeastMatch - 1;
      }
      if (lengthBefore >= kLeastMatch && length <= lengthBefore) {
        const bool full = block_.match(pos_ - 1 - matchBefore, lengthBefore) || stops(pos_);
        const uint32_t after = pos_ - 1 + lengthBefore;
        while (++pos_ < after)
          if (size_ - pos_ >= kLeastMatch) insert<kWithDeep>(pos_);
        waiting = false;
        length = kLeastMatch - 1;
        if (full) flush(false);
      } else {
        // The block ends before the byte that is waited for now.
        if (waiting && (block_.literal(*at(pos_ - 1)) || stops(pos_))) flush(false);
        waiting = true;
        pos_++;
      }
    }
    if (waiting && !out_.overflow()) block_.literal(*at(pos_ - 1));
  }

  const uint8_t* in_ = nullptr;
  uint32_t first_ = 1;   // the place of the stream's first byte
  uint32_t size_ = 0;    // the place after its last
  uint32_t pos_ = 0, start_ = 0, match_ = 0;
  uint32_t base_ = 0;    // where zlib's buffer begins
  uint32_t filled_ = 0;  // and where it ends
  uint32_t shift_ = 0, mask_ = 0;
  bool gnu_ = false, stops_ = false;
  bool ended_ = false;   // the end of the input was seen
  Effort effort_ = {};
  BitWriter out_;
  Block block_;
  Chains near_, far_[kDeep];
  uint32_t before_[kDeep] = {};
  uint16_t number_[kWindow];  // of each place in its chain
  uint16_t count_[1u << 16];
  uint32_t symbols_[1u << 15];
};

}  // namespace
}  // namespace shoal::deflate

int32_t shoal_deflate(shoal_deflate_stream* streams, size_t count, void* work, size_t work_size) {
  static_assert(sizeof(shoal::deflate::Encoder) <= SHOAL_DEFLATE_WORK && alignof(shoal::deflate::Encoder) <= 8, "more work memory is needed");
  if ((streams == nullptr && count > 0) || work == nullptr || work_size < SHOAL_DEFLATE_WORK ||
      reinterpret_cast<uintptr_t>(work) % 8 != 0)
    return SHOAL_DEFLATE_BAD_ARGUMENT;
  for (size_t i = 0; i < count; i++) {
    const shoal_deflate_stream& s = streams[i];
    if (s.size > SHOAL_DEFLATE_MOST || s.level < 1 || s.level > 9 || s.memory < 1 || s.memory > 9 ||
        (s.gnu && (s.memory != 8 || s.zlib)) || (s.in == nullptr && s.size > 0) || (s.out == nullptr && s.room > 0))
      return SHOAL_DEFLATE_BAD_ARGUMENT;
  }
  // It has no destructor to be called: it owns nothing.
  shoal::deflate::Encoder* encoder = new (work) shoal::deflate::Encoder;
  encoder->forget();
  for (size_t i = 0; i < count; i++) streams[i].made = encoder->run(streams[i]);
  return SHOAL_DEFLATE_OK;
}
