// What the delta drivers make of their input: a base and a target that share stretches, tables, executables and modules.
#ifndef SHOAL_TEST_DELTA_INPUTS_H
#define SHOAL_TEST_DELTA_INPUTS_H

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

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

inline void require(bool ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

// The smallest module whose types a rule is made for, and the same after records came, went and were given other numbers.
inline void module(Input& in, std::vector<uint8_t>& base, std::vector<uint8_t>& target) {
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
inline void executable(Input& in, std::vector<uint8_t>& base, std::vector<uint8_t>& target) {
  constexpr size_t kText = 256, kSymbols = 1024, kNames = 1408, kSections = 1472, kSize = kSections + 5 * 64;
  std::vector<uint8_t> file(kSize);
  auto put = [&](size_t at, uint64_t v, size_t bytes) {
    for (size_t k = 0; k < bytes; k++) file[at + k] = static_cast<uint8_t>(v >> 8 * k);
  };
  const uint32_t machines[] = {183, 62, 243}, machine = machines[in.next() % 3];
  memcpy(file.data(), "\x7f" "ELF\x02\x01\x01", 7);
  put(16, 2, 2), put(18, machine, 2), put(32, 64, 8), put(40, kSections, 8), put(54, 56, 2), put(56, 1, 2), put(58, 64, 2), put(60, 5, 2), put(62, 4, 2);
  put(64, 1, 4), put(64 + 16, 0x400000, 8), put(64 + 32, kSize, 8), put(64 + 40, kSize + 64, 8);
  uint32_t x = in.next32() | 1;
  for (size_t at = kText; at < kSymbols; at += 8) {
    x = x * 1664525 + 1013904223;
    const uint8_t heads[] = {0xE8, 0xE9, 0xBF, 0x68, 0x0F, 0xC7, 0x05, 0x04}, riscv[] = {0x17, 0x03, 0x6F, 0x13, 0x63, 0x23, 0x67, 0x01};
    put(at, machine == 243 ? riscv[x >> 29] : heads[x >> 29], 1), put(at + 1, x >> 20, 4);
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

// A WebAssembly module of functions that the input fills, and the same with other numbers of functions and addresses.
inline void wasm(Input& in, std::vector<uint8_t>& base, std::vector<uint8_t>& target) {
  const uint32_t by = in.next(), from = in.next32(), functions = 2 + in.next() % 30, other = in.next() % 64, where = in.next();
  std::vector<uint8_t> odd;
  for (uint32_t k = 0; k < other; k++) odd.push_back(static_cast<uint8_t>(in.next()));
  for (std::vector<uint8_t>* out : {&base, &target}) {
    const uint32_t moved = out == &base ? 0 : by;
    auto leb = [](std::vector<uint8_t>& to, uint32_t v) {
      for (; v >= 128; v >>= 7) to.push_back(static_cast<uint8_t>(v | 128));
      to.push_back(static_cast<uint8_t>(v));
    };
    std::vector<uint8_t> code;
    leb(code, functions);
    for (uint32_t n = 0; n < functions; n++) {
      std::vector<uint8_t> body = {1, 1, 0x7F};
      for (uint32_t k = 0; k < 8; k++) {
        body.push_back(0x10), leb(body, 200 + n * k + moved);
        body.push_back(0x41), leb(body, (from >> 5 & 0x3FFFFFF) + 64 * k + moved);
        body.push_back(0x28), body.push_back(2), leb(body, 70000 + n + moved);
      }
      // Whatever: what is no instruction, what reaches beyond its function.
      if (n == where % functions) body.insert(body.end(), odd.begin(), odd.end());
      body.push_back(0x0B);
      leb(code, static_cast<uint32_t>(body.size()));
      code.insert(code.end(), body.begin(), body.end());
    }
    for (const int b : {0, 0x61, 0x73, 0x6D, 1, 0, 0, 0, 10}) out->push_back(static_cast<uint8_t>(b));
    leb(*out, static_cast<uint32_t>(code.size()));
    out->insert(out->end(), code.begin(), code.end());
  }
}

// A base and a target that share stretches.
inline void pair(Input& in, std::vector<uint8_t>& base, std::vector<uint8_t>& target) {
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
  if (file & 4) wasm(in, base, target);
  if (file & 16) {
    // What comes twice, some of it new: the second time a little different.
    const size_t from = target.size() / 4, length = std::min<size_t>(target.size() / 2, 50000);
    for (size_t i = 0; i < length; i++) target.push_back(static_cast<uint8_t>(target[from + i] ^ ((x = x * 1664525 + 1013904223) >> 16 < 60 ? x : 0)));
  }
  // Text is made of passages.
  for (std::vector<uint8_t>* bytes : {&base, &target})
    for (uint8_t& b : *bytes) b = file & 8 ? static_cast<uint8_t>(32 + b % 64) : b;
}

#endif
