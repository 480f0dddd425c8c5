// What the drivers share: a generator that a seed repeats, a check that ends the run, and the loop around the rounds.
#ifndef SHOAL_TEST_FUZZ_H
#define SHOAL_TEST_FUZZ_H

#include <stdint.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>

inline uint64_t state = 1;

inline uint64_t random64() {
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

inline uint32_t below(uint64_t n) { return n == 0 ? 0 : static_cast<uint32_t>(random64() % n); }

inline void require(bool ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "broken: %s\n", what);
  abort();
}

// Runs `once` for argv[1] seconds (10) from the seed argv[2] (the time) on, and prints the seed and how often it ran.
inline int fuzz(int argc, char** argv, void (*once)()) {
  const double seconds = argc > 1 ? atof(argv[1]) : 10;
  state = argc > 2 ? strtoull(argv[2], nullptr, 10) : static_cast<uint64_t>(time(nullptr));
  if (state == 0) state = 1;
  printf("seed %llu\n", static_cast<unsigned long long>(state));
  const auto start = std::chrono::steady_clock::now();
  uint64_t runs = 0;
  for (; std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() < seconds; runs++) once();
  printf("runs %llu\n", static_cast<unsigned long long>(runs));
  return 0;
}

#endif
