// How a long call tells its caller where it is and learns that it is no longer wanted.
#ifndef SHOAL_DELTA_PROGRESS_H
#define SHOAL_DELTA_PROGRESS_H

#include <atomic>
#include <cstdint>

namespace shoal::delta {

// The words belong to the caller, who may be written in another language: plain memory, touched atomically.
struct Progress {
  volatile uint64_t* done = nullptr;
  const volatile uint32_t* cancel = nullptr;

  bool cancelled() const { return cancel != nullptr && __atomic_load_n(cancel, __ATOMIC_RELAXED) != 0; }
  void add(uint64_t units) const {
    if (done != nullptr) __atomic_fetch_add(done, units, __ATOMIC_RELAXED);
  }
};

}  // namespace shoal::delta

#endif
