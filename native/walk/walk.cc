#include "walk/walk.h"

#include <errno.h>

#if defined(_WIN32)

extern "C" int shoal_walk(int, uint64_t, uint8_t*, size_t, size_t, const shoal_chunk_params*, uint32_t*, uint8_t*, size_t, shoal_walk_result*) {
  return SHOAL_WALK_EPLATFORM;
}

extern "C" int shoal_walk_pieces(int, uint64_t, uint8_t*, size_t, uint32_t*, size_t, int, uint8_t*, uint64_t*, int*) { return SHOAL_WALK_EPLATFORM; }

#else

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>

namespace {

// Read, scanned and hashed at a time: with what the kernel touches it stays within about half a MiB of second-level cache.
constexpr size_t kStep = 384 * 1024;

// Reads up to `length` bytes; fewer only at the end of the file. Returns errno, or 0.
int ReadAt(int fd, uint64_t position, uint8_t* into, size_t length, size_t* got) {
  *got = 0;
  while (*got < length) {
    const ssize_t count = pread(fd, into + *got, length - *got, static_cast<off_t>(position + *got));
    if (count == 0) return 0;
    if (count < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    *got += static_cast<size_t>(count);
  }
  return 0;
}

// What reads past the kernel's memory begins, ends and arrives at multiples of this: no medium has larger blocks.
constexpr size_t kBlock = 4096;

// The same file, read from the medium; -1 where that cannot be had.
class Medium {
 public:
  Medium(int fd, int wanted) {
#ifdef O_DIRECT
    char name[32];
    // Opened anew: what is asked of this description must not be asked of the one that others read and write by.
    if (wanted != 0 && snprintf(name, sizeof name, "/proc/self/fd/%d", fd) > 0) fd_ = open(name, O_RDONLY | O_DIRECT | O_CLOEXEC);
#else
    (void)fd, (void)wanted;
#endif
  }
  ~Medium() { Close(); }
  Medium(const Medium&) = delete;
  Medium& operator=(const Medium&) = delete;

  // Reads up to `length` bytes to `*at`, somewhere in `into`; fewer only at the end of the file. `*at` stays null where it is not
  // possible in this way. Returns errno, or 0: what the medium refuses to give must not be taken from memory instead.
  int Read(uint64_t position, size_t length, uint8_t* into, size_t room, uint8_t** at, size_t* got) {
    if (fd_ < 0) return 0;
    const size_t before = position % kBlock, all = (before + length + kBlock - 1) / kBlock * kBlock;
    const size_t skip = (kBlock - reinterpret_cast<uintptr_t>(into) % kBlock) % kBlock;
    size_t done = 0;
    if (room < skip || room - skip < all) return 0;
    while (done < all) {
      const ssize_t count = pread(fd_, into + skip + done, all - done, static_cast<off_t>(position - before + done));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0 && errno != EINVAL && errno != EOPNOTSUPP) return errno;
      if (count < 0) {
        Close();
        return 0;
      }
      done += static_cast<size_t>(count);
      if (count == 0 || done % kBlock != 0) break;
    }
    *got = done <= before ? 0 : done - before < length ? done - before : length;
    *at = into + skip + before;
    return 0;
  }

 private:
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  int fd_ = -1;
};

}  // namespace

extern "C" int shoal_walk(int fd, uint64_t position, uint8_t* buffer, size_t size, size_t filled, const shoal_chunk_params* params,
                          uint32_t* cuts, uint8_t* hashes, size_t capacity, shoal_walk_result* result) {
  *result = {filled, 0, 0, 0};
  if (filled > size || size > INT32_MAX || params->min == 0 || capacity < size / params->min + 1) return SHOAL_WALK_EPARAMS;
  const shoal_chunk_isa scanner = shoal_chunk_best();
  const shoal_hash_isa hasher = shoal_hash_best();
  size_t start = 0;
  while (!result->ended && result->filled < size) {
    const size_t room = size - result->filled, want = room < kStep ? room : kStep;
    size_t got;
    result->error = ReadAt(fd, position, buffer + result->filled, want, &got);
    if (result->error != 0) return SHOAL_WALK_EREAD;
    position += got;
    result->filled += got;
    result->ended = got < want;
    uint32_t* const found = cuts + result->chunks;
    const int64_t count = shoal_chunk_cuts(scanner, buffer + start, result->filled - start, params, result->ended, found, capacity - result->chunks);
    if (count < 0) return SHOAL_WALK_EPARAMS;
    if (count == 0) continue;
    // The hash wants lengths, the caller ends in the buffer.
    for (int64_t i = count - 1; i > 0; i--) found[i] -= found[i - 1];
    if (shoal_hash_pieces(hasher, buffer + start, found, static_cast<size_t>(count), hashes + result->chunks * SHOAL_HASH_BYTES) != SHOAL_HASH_OK) return SHOAL_WALK_EMEMORY;
    for (int64_t i = 0; i < count; i++) found[i] = static_cast<uint32_t>(start += found[i]);
    result->chunks += static_cast<size_t>(count);
  }
  return SHOAL_WALK_OK;
}

extern "C" int shoal_walk_pieces(int fd, uint64_t position, uint8_t* into, size_t room, uint32_t* lengths, size_t count, int medium, uint8_t* hashes, uint64_t* got, int* error) {
  *got = 0;
  *error = 0;
  uint64_t all = 0;
  for (size_t i = 0; i < count; i++) {
    if (lengths[i] > room || lengths[i] > SHOAL_HASH_MOST) return SHOAL_WALK_EPARAMS;
    all += lengths[i];
  }
  const bool over = all > room;
  const size_t step = room < kStep ? room : kStep;
  const shoal_hash_isa hasher = shoal_hash_best();
  Medium direct(fd, medium);
  for (size_t from = 0; from < count;) {
    size_t to = from, want = 0;
    while (to < count && (to == from || want + lengths[to] <= step)) want += lengths[to++];
    size_t there;
    uint8_t* at = nullptr;
    *error = direct.Read(position + *got, want, into, room, &at, &there);
    if (*error == 0 && at == nullptr) {
      at = over || medium != 0 ? into : into + *got;
      *error = ReadAt(fd, position + *got, at, want, &there);
    }
    if (*error != 0) return SHOAL_WALK_EREAD;
    *got += there;
    for (size_t i = from, left = there; there < want && i < to; left -= lengths[i++]) {
      if (lengths[i] > left) lengths[i] = static_cast<uint32_t>(left);
    }
    if (shoal_hash_pieces(hasher, at, lengths + from, to - from, hashes + from * SHOAL_HASH_BYTES) != SHOAL_HASH_OK) return SHOAL_WALK_EMEMORY;
    from = to;
  }
  return SHOAL_WALK_OK;
}

#endif
