#include "scratch.h"

#if defined(__linux__)

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

namespace {

struct Area {
  uint8_t* bytes;
  size_t size;
};

// Never destroyed: the thread may outlive static objects.
struct Keeper {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Area> areas;
  std::atomic<uint64_t> limit{0};
  int statm = -1;
  bool running = false;
};
Keeper& keeper() {
  static Keeper* const one = new Keeper;
  return *one;
}

// A page that is missing brings 64 KiB in some microseconds: near the limit every moment counts.
constexpr std::chrono::microseconds kFar(2000), kNear(500);
constexpr uint64_t kLeastLeft = 8 << 20;
constexpr uint64_t kLeastTouched = 2 << 20, kMostTouched = 64 << 20;
constexpr uint64_t kReaders = 4;  // threads that may touch what is left at the same time

uint64_t resident(int statm) {
  char text[128];
  const ssize_t n = pread(statm, text, sizeof text - 1, 0);
  if (n <= 0) return 0;
  text[n] = 0;
  char* rest = nullptr;
  strtoull(text, &rest, 10);
  return strtoull(rest, nullptr, 10) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

// With the mutex held: bytes left below the limit, after all scratch memory was let go of where they were few.
uint64_t settle(Keeper& k) {
  const uint64_t limit = k.limit, now = resident(k.statm);
  if (now + kLeastLeft < limit) return limit - now;
  for (const Area& area : k.areas) madvise(area.bytes, area.size, MADV_DONTNEED);
  return 0;
}

void keep() {
  Keeper& k = keeper();
  std::unique_lock<std::mutex> lock(k.mutex);
  while (k.limit != 0) k.changed.wait_for(lock, settle(k) < k.limit / 4 ? kNear : kFar);
  k.running = false;
  close(k.statm);
  k.statm = -1;
}

}  // namespace

uint8_t* shoal_scratch_make(const char* path, size_t size) {
  const int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return nullptr;
  unlink(path);
  void* bytes = MAP_FAILED;
  const int full = posix_fallocate(fd, 0, static_cast<off_t>(size));
  if (full == 0) bytes = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  const int error = full != 0 ? full : errno;
  close(fd);
  errno = error;
  if (bytes == MAP_FAILED) return nullptr;
  // Else the system caches the file in pieces of up to 2 MiB, and one page that is missing brings all of one.
  madvise(bytes, size, MADV_RANDOM);
  madvise(bytes, size, MADV_NOHUGEPAGE);
  Keeper& k = keeper();
  const std::lock_guard<std::mutex> lock(k.mutex);
  k.areas.push_back({static_cast<uint8_t*>(bytes), size});
  return static_cast<uint8_t*>(bytes);
}

void shoal_scratch_release(uint8_t* bytes, size_t size) {
  Keeper& k = keeper();
  const std::lock_guard<std::mutex> lock(k.mutex);
  for (size_t i = 0; i < k.areas.size(); i++) {
    if (k.areas[i].bytes != bytes) continue;
    k.areas.erase(k.areas.begin() + static_cast<ptrdiff_t>(i));
    break;
  }
  munmap(bytes, size);
}

int shoal_scratch_keep_below(uint64_t bytes) {
  Keeper& k = keeper();
  const std::lock_guard<std::mutex> lock(k.mutex);
  k.limit = bytes;
  k.changed.notify_all();
  if (bytes == 0 || k.running) return 1;
  const int statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  if (statm < 0 || resident(statm) == 0) {
    if (statm >= 0) close(statm);
    k.limit = 0;
    return 0;
  }
  k.statm = statm;
  k.running = true;
  std::thread(keep).detach();
  return 1;
}

size_t shoal_scratch_check(void) {
  Keeper& k = keeper();
  if (k.limit == 0) return SIZE_MAX;
  const std::lock_guard<std::mutex> lock(k.mutex);
  if (k.limit == 0) return SIZE_MAX;
  return static_cast<size_t>(std::min(std::max(settle(k) / kReaders, kLeastTouched), kMostTouched));
}

#else

uint8_t* shoal_scratch_make(const char*, size_t) { return nullptr; }
void shoal_scratch_release(uint8_t*, size_t) {}
int shoal_scratch_keep_below(uint64_t) { return 0; }
size_t shoal_scratch_check(void) { return SIZE_MAX; }

#endif
