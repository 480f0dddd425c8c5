// Finds the matches that zlib and GNU gzip find.
#ifndef SHOAL_DEFLATE_FINDER_H
#define SHOAL_DEFLATE_FINDER_H

#include <string.h>

#include "window.h"
#include "words/words.h"

namespace shoal::deflate {

inline uint16_t load16(const uint8_t* p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
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

class Finder : protected Window {
 protected:
  void forget() {
    first_ = 1;
    memset(near_.head, 0, sizeof near_.head);
    for (Chains& each : far_) memset(each.head, 0, sizeof each.head);
    memset(count_, 0, sizeof count_);
  }

  void begin(const uint8_t* in, uint32_t size, uint8_t level, uint8_t memory, bool gnu) {
    if (first_ > UINT32_MAX - 2 * (kMostBytes + kWindow)) forget();
    effort_ = kEfforts[level];
    const uint32_t bits = memory + 7u;
    shift_ = (bits + kLeastMatch - 1) / kLeastMatch;
    mask_ = (1u << bits) - 1;
    Window::begin(in, size, gnu);
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

  // The longest match that is longer than `best`, by way of the newest place with the same key; sets `match_`.
  template <bool kWithDeep>
  uint32_t found(uint32_t place, uint32_t best) {
    if (gnu_ && size_ - pos_ < kMostMatch) return last(place, best);
    return kWithDeep ? deepest(place, best) : longest(place, best);
  }

  Effort effort_ = {};
  uint32_t match_ = 0;

 private:
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

  // zlib's way: one place after the other.
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
        const uint32_t length = static_cast<uint32_t>(equalForward(here, there, most));
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

  // The same match, faster where chains are long.
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
        const uint32_t length = static_cast<uint32_t>(equalForward(here, there, most));
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
  uint32_t shift_ = 0, mask_ = 0;
  Chains near_, far_[kDeep];
  uint32_t before_[kDeep] = {};
  uint16_t number_[kWindow];  // of each place in its chain
  uint16_t count_[1u << 16];
};

}  // namespace shoal::deflate
#endif
