// Runs independent jobs on a few threads. Results must not depend on which thread ran what.
#ifndef SHOAL_DELTA_PARALLEL_H
#define SHOAL_DELTA_PARALLEL_H

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

namespace shoal::delta {

template <typename Job>
void parallelFor(size_t jobs, unsigned threads, const Job& job) {
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i = next.fetch_add(1); i < jobs; i = next.fetch_add(1)) job(i);
  };
  std::vector<std::thread> pool;
  const size_t extra = std::min<size_t>(threads > 1 ? threads - 1 : 0, jobs > 1 ? jobs - 1 : 0);
  pool.reserve(extra);
  for (size_t i = 0; i < extra; i++) pool.emplace_back(work);
  work();
  for (auto& thread : pool) thread.join();
}

}  // namespace shoal::delta

#endif
