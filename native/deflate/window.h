// Which part of the input zlib and GNU gzip would have in their buffer: what has left it cannot be matched. Here nothing is copied.
#ifndef SHOAL_DEFLATE_WINDOW_H
#define SHOAL_DEFLATE_WINDOW_H

#include "effort.h"

namespace shoal::deflate {

// Places are numbered on from one stream to the next, so that tables of places need not be cleared in between.
class Window {
 protected:
  void begin(const uint8_t* in, uint32_t size, bool gnu) {
    in_ = in;
    size_ = first_ + size;
    gnu_ = gnu;
    ended_ = false;
    pos_ = base_ = filled_ = first_;
    fill();
  }
  void end() { first_ = size_ + kWindow; }

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

  bool reaches(uint32_t place) const { return place > base_ && pos_ - place <= kFarthest && pos_ - base_ <= kWindow + kFarthest; }
  uint32_t limit() const { return pos_ - base_ > kFarthest ? pos_ - kFarthest : base_; }

  const uint8_t* in_ = nullptr;
  uint32_t first_ = 1;   // the place of the stream's first byte
  uint32_t size_ = 0;    // the place after its last
  uint32_t pos_ = 0;
  uint32_t base_ = 0;    // where zlib's buffer begins
  uint32_t filled_ = 0;  // and where it ends
  bool gnu_ = false;
  bool ended_ = false;   // the end of the input was seen
};

}  // namespace shoal::deflate
#endif
