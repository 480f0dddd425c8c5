// Fuzzes the delta decoders, and the round trip on small inputs: guided by coverage with libFuzzer (SHOAL_LIBFUZZER), from a
// seed alone where there is none (./a.out SECONDS [SEED]). `npm run fuzz` builds and runs it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#include "../delta/delta.h"

namespace {

constexpr uint64_t kMarks = uint64_t{3} << 62;  // what a cover's source is (delta.h)

uint32_t kindOf(const shoal_delta_cover& c) {
  return c.base >> 63 ? SHOAL_DELTA_FILL : c.base >> 62 ? SHOAL_DELTA_TABLE : SHOAL_DELTA_BASE;
}

class Input {
 public:
  Input(const uint8_t* data, size_t size) : data_(data), left_(size) {}
  uint32_t next() {
    if (left_ == 0) return 0;
    left_--;
    return *data_++;
  }
  uint32_t next32() {
    uint32_t v = 0;
    for (int shift = 0; shift < 32; shift += 8) v |= next() << shift;
    return v;
  }
  const uint8_t* rest() const { return data_; }
  size_t left() const { return left_; }

 private:
  const uint8_t* data_;
  size_t left_;
};

void require(bool ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

void fuzzPage(Input in) {
  // In one order whatever the compiler: seeds (tools/fuzz.ts) are written for it.
  const uint64_t begin = in.next32(), length = in.next32(), shift = in.next() % 32, base = in.next32();
  const uint64_t end = begin + (length >> shift);
  std::vector<shoal_delta_cover> covers(in.next() * 4);
  const int32_t status = shoal_delta_decode_page(in.rest(), in.left(), begin, end, base, covers.data(), covers.size());
  if (status != SHOAL_DELTA_OK) return;
  uint64_t at = begin;
  for (const auto& c : covers) {
    require(c.target >= at && c.length > 0 && c.length <= end - c.target && c.target <= end, "a cover leaves its page");
    const uint64_t from = c.base & ~kMarks;
    if (!(c.base >> 63)) require(from <= base && c.length <= base - from, "a cover leaves the base");
    at = c.target + c.length;
  }
}

void fuzzSegment(Input in) {
  std::vector<shoal_delta_piece> pieces;
  std::vector<shoal_delta_cover> covers;
  size_t size = 0;
  for (uint32_t n = in.next() % 16; n > 0; n--) {
    uint32_t length = in.next();
    length |= (in.next() % 32) << 8;
    const uint32_t kind = in.next() % 4, from = in.next();
    pieces.push_back({length, kind, from});
    if (kind == SHOAL_DELTA_BASE) covers.push_back({size + from * 3, from, length});
    size += length;
  }
  const uint32_t codec = in.next() % 5;
  size += in.next() == 77;
  std::vector<uint8_t> buffer(size);
  for (auto& b : buffer) b = static_cast<uint8_t>(&b - buffer.data());
  const uint32_t origin = in.next32();
  shoal_delta_shifts* shifts = shoal_delta_shifts_make(covers.data(), covers.size(), 40000);
  (void)shoal_delta_decode_segment(codec, in.rest(), in.left(), buffer.data(), size, origin, pieces.data(), pieces.size(), shifts);
  shoal_delta_shifts_release(shifts);
}

// The smallest module whose types a rule is made for, and the same after records came, went and were given other numbers.
void module(Input& in, std::vector<uint8_t>& base, std::vector<uint8_t>& target) {
  constexpr size_t kNames = 64, kCode = 96, kTypes = 160;
  for (std::vector<uint8_t>* out : {&base, &target}) {
    const size_t begin = out->size();
    const uint32_t by = out == &base ? 0 : in.next(), from = in.next(), other = in.next();
    auto put = [&](uint32_t v) {
      for (int k = 0; k < 4; k++) out->push_back(static_cast<uint8_t>(v >> 8 * k));
    };
    auto set = [&](size_t at, uint64_t v, size_t bytes) {
      for (size_t k = 0; k < bytes; k++) (*out)[begin + at + k] = static_cast<uint8_t>(v >> 8 * k);
    };
    out->resize(begin + kTypes + 24);
    memcpy(out->data() + begin, "\x7f" "ELF\x02\x01\x01", 7);
    memcpy(out->data() + begin + kNames, "\0.text\0.BTF\0.names", 19);
    for (size_t at = kCode; at < kTypes; at++) (*out)[begin + at] = static_cast<uint8_t>(at * 37);
    uint32_t words = 0;
    for (uint32_t n = 0; n < 24; n++) {
      const uint32_t kind = n == from % 24 ? other % 32 : 1 + n * 5 % 19, members = n % 3;
      if (out == &target && n == other % 40) continue;
      const uint32_t fields[] = {0, 1, 0, 3, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 1, 3, 0, 1, 0, 3};
      const bool many = (kind >= 4 && kind <= 6) || kind == 13 || kind == 15 || kind == 19;
      const uint32_t more = kind < 20 ? fields[kind] * (many ? members : 1) : 0;
      put(n % 2 == 0 ? 1000 + by + n : 40 + n + by * (n > from / 16)), put(kind << 24 | (many ? members : 0)), put(n % 4 == 0 ? 500 + by + n : 90 + by);
      for (uint32_t k = 0; k < more; k++) put(k % 2 == 0 ? 60 + by : 505 + by);
      words += 3 + more;
    }
    const uint32_t text[] = {0x0001EB9F, 24, 0, 4 * words, 4 * words, 40};
    for (size_t k = 0; k < 6; k++) set(kTypes + 4 * k, text[k], 4);
    for (uint32_t k = 0; k < 40; k++) out->push_back(k % 5 == 4 ? 0 : static_cast<uint8_t>('a' + k % 7));
    out->resize((out->size() - begin + 7) / 8 * 8 + begin);
    const size_t sections = out->size() - begin;
    out->resize(out->size() + 4 * 64);
    set(16, 1, 2), set(18, 62, 2), set(40, sections, 8), set(58, 64, 2), set(60, 4, 2), set(62, 3, 2);
    const uint64_t table[3][4] = {{1, 6, kCode, kTypes - kCode}, {7, 0, kTypes, 64 + 4 * words}, {12, 0, kNames, 20}};
    for (size_t i = 0; i < 3; i++) {
      const size_t at = sections + 64 * (i + 1);
      set(at, table[i][0], 4), set(at + 4, 1, 4);
      for (size_t k = 1; k < 4; k++) set(at + (k == 1 ? 8 : 8 + 8 * k), table[i][k], 8);
    }
  }
}

// The smallest ELF file whose code and symbols a rule is made for, and the same loaded elsewhere with what else the input says.
void executable(Input& in, std::vector<uint8_t>& base, std::vector<uint8_t>& target) {
  constexpr size_t kText = 256, kSymbols = 1024, kNames = 1408, kSections = 1472, kSize = kSections + 5 * 64;
  std::vector<uint8_t> file(kSize);
  auto put = [&](size_t at, uint64_t v, size_t bytes) {
    for (size_t k = 0; k < bytes; k++) file[at + k] = static_cast<uint8_t>(v >> 8 * k);
  };
  const uint32_t machine = in.next() & 1 ? 62 : 183;
  memcpy(file.data(), "\x7f" "ELF\x02\x01\x01", 7);
  put(16, 2, 2), put(18, machine, 2), put(32, 64, 8), put(40, kSections, 8), put(54, 56, 2), put(56, 1, 2), put(58, 64, 2), put(60, 5, 2), put(62, 4, 2);
  put(64, 1, 4), put(64 + 16, 0x400000, 8), put(64 + 32, kSize, 8), put(64 + 40, kSize + 64, 8);
  uint32_t x = in.next32() | 1;
  for (size_t at = kText; at < kSymbols; at += 8) {
    x = x * 1664525 + 1013904223;
    const uint8_t heads[] = {0xE8, 0xE9, 0xBF, 0x68, 0x0F, 0xC7, 0x05, 0x04};
    put(at, heads[x >> 29], 1), put(at + 1, x >> 20, 4);
  }
  for (size_t at = kSymbols; at < kNames; at += 24) put(at, in.next(), 4), put(at + 8, 0x400000 + kText + in.next() * 3, 8);
  memcpy(file.data() + kNames, "\0.text\0.symtab\0.strtab\0", 24);
  const uint64_t table[4][6] = {{1, 1, 6, 0x400000 + kText, kText, kSymbols - kText}, {7, 2, 0, 0, kSymbols, kNames - kSymbols}, {15, 3, 0, 0, kNames, 64}, {15, 3, 0, 0, kNames, 64}};
  for (size_t i = 0; i < 4; i++) {
    const size_t at = kSections + 64 * (i + 1);
    put(at, table[i][0], 4), put(at + 4, table[i][1], 4);
    for (size_t k = 0; k < 4; k++) put(at + 8 + 8 * k, table[i][2 + k], 8);
    put(at + 40, 3, 4);
  }
  base.insert(base.end(), file.begin(), file.end());
  const uint64_t drift = in.next() << 4;
  put(64 + 16, 0x400000 + drift, 8);
  put(kSections + 64 + 16, 0x400000 + drift + kText, 8);
  for (size_t at = kSymbols; at < kNames; at += 24) put(at + 8, 0x400000 + drift + kText + in.next() * 3, 8);
  // Headers that say anything.
  for (uint32_t n = in.next() % 4; n > 0; n--) file[in.next() * 7 % kSize] = static_cast<uint8_t>(in.next());
  target.insert(target.end(), file.begin(), file.end());
}

void fuzzRoundTrip(Input in) {
  // A base and a target that share stretches.
  std::vector<uint8_t> base, target;
  uint32_t x = in.next32() | 1;
  for (uint32_t n = in.next() * 64; n > 0; n--) base.push_back(static_cast<uint8_t>((x = x * 1664525 + 1013904223) >> 24));
  if (in.next() & 1) {
    // A table of pairs, and the same after some came, went or grew.
    base.resize(base.size() / 8 * 8);
    uint32_t row[2] = {x, x >> 3}, after[2] = {row[0] + in.next(), row[1]};
    auto write = [](std::vector<uint8_t>& out, const uint32_t* pair) {
      for (int k = 0; k < 8; k++) out.push_back(static_cast<uint8_t>(pair[k / 4] >> 8 * (k % 4)));
    };
    for (uint32_t n = 64 + in.next(); n > 0; n--) {
      write(base, row);
      const uint32_t what = in.next();
      if (what != 1) write(target, after);
      const uint32_t steps[2] = {16 + (x >> 24), 8 + (x >> 28)};
      x = x * 1664525 + 1013904223;
      for (int k = 0; k < 2; k++) row[k] += steps[k], after[k] += steps[k] + (what == 2 + static_cast<uint32_t>(k) ? 32 : 0);
      if (what == 4) write(target, after);
    }
  }
  while (in.left() > 4 && target.size() < 100000) {
    const uint32_t kind = in.next() % 4, times = 1 + in.next() % 16, length = in.next() * times;
    size_t from = in.next();
    from |= size_t{in.next()} << 8;
    if (!base.empty()) from %= base.size();
    const uint32_t step = kind == 1 ? 3 + in.next() % 32 : 0;
    for (uint32_t i = 0; i < length; i++, from++) {
      if (kind == 3) target.push_back(static_cast<uint8_t>(step));
      else if (kind == 2 || from >= base.size()) target.push_back(static_cast<uint8_t>((x = x * 1664525 + 1013904223) >> 24));
      else target.push_back(static_cast<uint8_t>(base[from] + (step != 0 && i % step == 0)));
    }
  }
  const uint32_t file = in.next();
  if (file & 1) executable(in, base, target);
  if (file & 2) module(in, base, target);
  std::vector<uint64_t> ends;
  for (uint64_t at = 0; at < target.size();) ends.push_back(at = std::min<uint64_t>(target.size(), at + 20000));
  shoal_delta_options options = {};
  options.threads = 1;
  options.segment_payload = 1000;
  options.memory_cap = in.next() << 8;
  shoal_delta_result r;
  require(shoal_delta_encode(base.data(), base.size(), target.data(), target.size(), ends.data(), ends.size(), &options,
                             &r) == SHOAL_DELTA_OK, "encode");
  uint64_t done = 0;
  std::vector<shoal_delta_cover> all;
  for (size_t i = 0; i < r.page_count; i++) {
    const auto& p = r.pages[i];
    all.resize(all.size() + p.covers);
    require(shoal_delta_decode_page(r.map + p.offset, p.size, p.target_begin, p.target_end, base.size(),
                                    all.data() + all.size() - p.covers, p.covers) == SHOAL_DELTA_OK, "page");
  }
  shoal_delta_shifts* shifts = shoal_delta_shifts_make(all.data(), all.size(), base.size());
  for (size_t i = 0; i < r.segment_count; i++) {
    const auto& s = r.segments[i];
    const auto& p = r.pages[s.page];
    std::vector<shoal_delta_cover> covers(p.covers);
    require(shoal_delta_decode_page(r.map + p.offset, p.size, p.target_begin, p.target_end, base.size(), covers.data(),
                                    covers.size()) == SHOAL_DELTA_OK, "page");
    std::vector<uint8_t> buffer(s.target_end - s.target_begin);
    std::vector<shoal_delta_piece> pieces;
    uint64_t at = s.target_begin;
    for (const auto& c : covers) {
      const uint64_t from = std::max(s.target_begin, c.target), to = std::min(s.target_end, c.target + c.length);
      if (from >= to) continue;
      if (from > at) pieces.push_back({static_cast<uint32_t>(from - at), SHOAL_DELTA_LITERAL, 0});
      for (uint64_t k = from; k < to; k++)
        buffer[k - s.target_begin] = c.base >> 63 ? static_cast<uint8_t>(c.base) : base[(c.base & ~kMarks) + (k - c.target)];
      pieces.push_back({static_cast<uint32_t>(to - from), kindOf(c),
                        c.base >> 63 ? 0 : (c.base & ~kMarks) + (from - c.target)});
      at = to;
    }
    if (at < s.target_end) pieces.push_back({static_cast<uint32_t>(s.target_end - at), SHOAL_DELTA_LITERAL, 0});
    require(shoal_delta_decode_segment(s.codec, r.payloads + s.payload_offset, s.payload_size, buffer.data(),
                                       buffer.size(), static_cast<uint32_t>(s.target_begin), pieces.data(), pieces.size(), shifts) == SHOAL_DELTA_OK, "segment");
    require(s.target_begin == done && memcmp(buffer.data(), target.data() + done, buffer.size()) == 0, "bytes");
    done = s.target_end;
  }
  require(done == target.size(), "the end");
  shoal_delta_shifts_release(shifts);
  shoal_delta_release(&r);
}

}  // namespace

// Which parser: the environment says page, payload or pair; else the input's first byte.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const char* only = getenv("SHOAL_FUZZ");
  Input in(data, size);
  const uint32_t first = in.next() % 3;
  const char* which = only != nullptr ? only : first == 0 ? "page" : first == 1 ? "payload" : "pair";
  if (strcmp(which, "page") == 0) fuzzPage(in);
  else if (strcmp(which, "payload") == 0) fuzzSegment(in);
  else fuzzRoundTrip(in);
  return 0;
}

#ifndef SHOAL_LIBFUZZER
int main(int argc, char** argv) {
  const double seconds = argc > 1 ? atof(argv[1]) : 10;
  uint64_t seed = argc > 2 ? strtoull(argv[2], nullptr, 10) : static_cast<uint64_t>(time(nullptr));
  printf("seed %llu\n", static_cast<unsigned long long>(seed));
  const auto start = std::chrono::steady_clock::now();
  uint64_t runs = 0;
  std::vector<uint8_t> data;
  while (std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds) {
    auto random = [&] {
      seed ^= seed << 13;
      seed ^= seed >> 7;
      seed ^= seed << 17;
      return seed;
    };
    if (seed == 0) seed = 1;
    data.resize(random() % 400);
    const bool skewed = random() & 1;
    for (auto& b : data) b = static_cast<uint8_t>(skewed ? (random() & random() & random()) : random());
    LLVMFuzzerTestOneInput(data.data(), data.size());
    runs++;
  }
  printf("runs %llu\n", static_cast<unsigned long long>(runs));
  return 0;
}
#endif
