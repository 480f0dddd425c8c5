// Checks scratch memory: what is written comes back while pages go and come, by several readers at a time, and a bound on what is
// in memory is kept to by those who look.
// c++ -std=c++17 -g -O1 -fsanitize=address,undefined -I native native/test/scratch_fuzz.cc native/scratch/*.cc -lpthread && ./a.out SECONDS [SEED]
#include <algorithm>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include "scratch/scratch.h"
#include "test/fuzz.h"

namespace {

uint8_t valueAt(size_t i, uint32_t seed) { return static_cast<uint8_t>((i >> 7) * 31 + i + seed); }

uint64_t resident() {
  FILE* file = fopen("/proc/self/statm", "r");
  unsigned long long all = 0, here = 0;
  require(file != nullptr && fscanf(file, "%llu %llu", &all, &here) == 2, "how much is in memory");
  fclose(file);
  return here * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

void once() {
  const std::string path = "/tmp/.shoal-scratch-" + std::to_string(getpid());
  const size_t size = 1 + below(6 << 20);
  const uint32_t seed = below(256);
  uint8_t* bytes = shoal_scratch_make(path.c_str(), size);
  require(bytes != nullptr && access(path.c_str(), F_OK) != 0, "memory without a name");
  const uint64_t limit = resident() + (10 << 20);
  require(shoal_scratch_keep_below(limit) != 0, "a bound");
  const size_t step = (1 << 16) + below(1 << 20);
  for (size_t at = 0; at < size; at += step) {
    shoal_scratch_check();
    for (size_t i = at; i < std::min(size, at + step); i++) bytes[i] = valueAt(i, seed);
  }
  std::vector<std::thread> readers;
  for (uint64_t reader = 0; reader < 2; reader++) {
    readers.emplace_back([=, from = random64()] {
      uint64_t x = from | 1;
      for (int n = 0; n < 300; n++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        const size_t at = static_cast<size_t>((x >> 20) % size);
        if (n % 16 == 0) shoal_scratch_check();
        require(bytes[at] == valueAt(at, seed), "what was written");
      }
    });
  }
  for (std::thread& reader : readers) reader.join();
  shoal_scratch_check();
  // Sanitizers and threads take some.
  require(resident() < limit + (32 << 20), "a bound that is kept");
  shoal_scratch_keep_below(0);
  require(shoal_scratch_check() > size, "no bound");
  shoal_scratch_release(bytes, size);
  require(shoal_scratch_make("/not/there", 1) == nullptr, "no folder");
}

}  // namespace

int main(int argc, char** argv) { return fuzz(argc, argv, once); }
