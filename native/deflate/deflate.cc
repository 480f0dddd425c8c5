#include "deflate.h"

#include <new>

#include "blocks.h"
#include "finder.h"
#include "wrap.h"

namespace shoal::deflate {
namespace {

static_assert(kMostBytes == SHOAL_DEFLATE_MOST, "places are numbered by how much a stream may hold");

// GNU gzip: symbols of a block at most; from this level on it looks whether a block had better end earlier.
constexpr uint32_t kGnuSymbols = 32767;
constexpr uint8_t kGnuStops = 3;

class Encoder : private Finder {
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

  void forget() { Finder::forget(); }

 private:
  // Whatever zlib would do with a fresh state, all input at hand and Z_FINISH; GNU gzip with a file of its own.
  uint32_t raw(const shoal_deflate_stream& s) {
    begin(s.in, s.size, s.level, s.memory, s.gnu != 0);
    stops_ = gnu_ && s.level >= kGnuStops;
    start_ = pos_;
    block_.begin(symbols_, gnu_ ? kGnuSymbols : (1u << (s.memory + 6)) - 1);
    out_.begin(s.out, s.room);
    if (s.level < kLazyLevel)
      greedy();
    else if (s.level < kDeepLevel)
      lazy<false>();
    else
      lazy<true>();
    if (!out_.overflow()) flush(true);
    end();
    return out_.overflow() ? SHOAL_DEFLATE_LONGER : static_cast<uint32_t>(out_.written(s.out));
  }

  bool stops(uint32_t at) const { return stops_ && block_.stops(at - start_); }

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

  uint32_t start_ = 0;  // of the block
  bool stops_ = false;
  BitWriter out_;
  Block block_;
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
