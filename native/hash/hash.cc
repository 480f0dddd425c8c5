#include "hash/hash.h"

#include <stdlib.h>
#include <string.h>

#include "hash/lanes.h"

namespace shoal_hash {
namespace {

#if defined(__x86_64__)
#if defined(SHOAL_HASH_EMULATE_AVX512)
bool HasAvx512() { return true; }
#else
bool HasAvx512() { return __builtin_cpu_supports("avx512f"); }
#endif

// Whether `isa` makes of an input in each lane what one lane after another makes of it. Machines differ more than those it was
// written on: an instruction set that fails this is never used.
bool Agrees(const Isa& isa) {
  uint8_t input[kMostLanes][2 * kBlock], values[2][kMostLanes][kValue];
  Batch batch = {};
  batch.blocks = 2;
  for (size_t lane = 0; lane < isa.lanes; lane++) {
    for (size_t i = 0; i < 2 * kBlock; i++) input[lane][i] = static_cast<uint8_t>(i * 37 + lane * 101 + (i * lane >> 3));
    batch.at[lane] = input[lane];
    batch.out[lane] = values[0][lane];
    batch.counter[lane] = lane << 31;
    batch.ends[lane] = lane % 3 == 0 ? 0 : 1;
    for (uint32_t block = 0; block < 2; block++) {
      batch.length[block][lane] = static_cast<uint32_t>(kBlock - lane);
      batch.flags[block][lane] = static_cast<uint32_t>(block + 2 * lane);
    }
  }
  isa.compress(batch);
  for (size_t lane = 0; lane < isa.lanes; lane++) {
    Batch one = batch;
    one.at[0] = batch.at[lane];
    one.out[0] = values[1][lane];
    one.counter[0] = batch.counter[lane];
    one.ends[0] = batch.ends[lane];
    for (uint32_t block = 0; block < 2; block++) {
      one.length[block][0] = batch.length[block][lane];
      one.flags[block][0] = batch.flags[block][lane];
    }
    kScalar.compress(one);
    if (memcmp(values[0][lane], values[1][lane], kValue) != 0) return false;
  }
  return true;
}

const Isa* Avx512() {
  static const Isa* const found = HasAvx512() && Agrees(kAvx512) ? &kAvx512 : nullptr;
  return found;
}
#endif

const Isa* Implementation(shoal_hash_isa isa) {
  switch (isa) {
    case SHOAL_HASH_SCALAR: return &kScalar;
#if defined(__x86_64__)
    case SHOAL_HASH_SSE41: return __builtin_cpu_supports("sse4.1") ? &kSse41 : nullptr;
    case SHOAL_HASH_AVX2: return __builtin_cpu_supports("avx2") ? &kAvx2 : nullptr;
    case SHOAL_HASH_AVX512: return Avx512();
#elif defined(__aarch64__)
    case SHOAL_HASH_NEON: return &kNeon;
#endif
    default: return nullptr;
  }
}

inline size_t Leaves(uint32_t length) { return length == 0 ? 1 : (length + kLeaf - 1) / kLeaf; }

// Inputs that wait until a vector is full. All of one Queue have the same number of blocks, the same lengths and flags.
class Queue {
 public:
  Queue(const Isa& isa, uint32_t blocks, uint32_t first, uint32_t middle, uint32_t last) : isa_(isa) {
    batch_.blocks = blocks;
    batch_.even = true;
    for (uint32_t block = 0; block < blocks; block++) {
      const uint32_t flags = middle | (block == 0 ? first : 0) | (block + 1 == blocks ? last : 0);
      for (size_t lane = 0; lane < kMostLanes; lane++) {
        batch_.length[block][lane] = kBlock;
        batch_.flags[block][lane] = flags;
      }
    }
  }

  void Add(const uint8_t* at, uint64_t counter, uint8_t* out) {
    batch_.at[count_] = at;
    batch_.counter[count_] = counter;
    batch_.out[count_] = out;
    if (++count_ == isa_.lanes) {
      isa_.compress(batch_);
      count_ = 0;
    }
  }

  void Flush() {
    if (count_ == 0) return;
    // A vector that is mostly empty takes longer than one after another.
    if (count_ * 4 <= isa_.lanes) {
      for (size_t lane = 0; lane < count_; lane++) {
        batch_.at[0] = batch_.at[lane];
        batch_.counter[0] = batch_.counter[lane];
        batch_.out[0] = batch_.out[lane];
        kScalar.compress(batch_);
      }
    } else {
      for (size_t lane = count_; lane < isa_.lanes; lane++) {
        batch_.at[lane] = batch_.at[0];
        batch_.counter[lane] = 0;
        batch_.out[lane] = spare_;
      }
      isa_.compress(batch_);
    }
    count_ = 0;
  }

 private:
  const Isa& isa_;
  Batch batch_;
  size_t count_ = 0;
  uint8_t spare_[kValue];
};

// Last leaves, which are shorter than the others, and leaves that are the whole of their piece: each lane has its own length.
class Tails {
 public:
  explicit Tails(const Isa& isa) : isa_(isa) { batch_.even = false; }

  // `length`: 0 to kLeaf bytes.
  void Add(const uint8_t* at, size_t length, uint64_t counter, bool root, uint8_t* out) {
    uint8_t* copy = copies_[count_];
    if (length > 0) memcpy(copy, at, length);
    const uint32_t blocks = length == 0 ? 1 : static_cast<uint32_t>((length + kBlock - 1) / kBlock);
    memset(copy + length, 0, blocks * kBlock - length);
    batch_.at[count_] = copy;
    batch_.counter[count_] = counter;
    batch_.out[count_] = out;
    batch_.ends[count_] = blocks - 1;
    for (uint32_t block = 0; block < blocks; block++) {
      const bool last = block + 1 == blocks;
      batch_.length[block][count_] = last ? static_cast<uint32_t>(length - block * kBlock) : kBlock;
      batch_.flags[block][count_] = (block == 0 ? kLeafStart : 0) | (last ? kLeafEnd | (root ? kRoot : 0) : 0);
    }
    if (++count_ == isa_.lanes) Flush();
  }

  void Flush() {
    if (count_ == 0) return;
    uint32_t most = 0;
    for (size_t lane = 0; lane < isa_.lanes; lane++) {
      if (lane >= count_) {
        batch_.at[lane] = copies_[lane];
        batch_.counter[lane] = 0;
        batch_.out[lane] = spare_;
        batch_.ends[lane] = 0;
      }
      if (batch_.ends[lane] > most) most = batch_.ends[lane];
    }
    batch_.blocks = most + 1;
    isa_.compress(batch_);
    count_ = 0;
  }

 private:
  const Isa& isa_;
  Batch batch_ = {};
  size_t count_ = 0;
  uint8_t copies_[kMostLanes][kLeaf] = {};
  uint8_t spare_[kValue];
};

// Where the chaining values of one piece lie among those of its group.
struct Tree {
  size_t begin;
  size_t count;
};

struct Scratch {
  uint8_t* values[2] = {nullptr, nullptr};
  Tree* trees = nullptr;
  ~Scratch() {
    free(values[0]);
    free(values[1]);
    free(trees);
  }
};

// Leaves of a group: enough to fill the lanes, few enough for the nearest caches.
constexpr size_t kGroupLeaves = 512;

class Forest {
 public:
  explicit Forest(const Isa& isa)
      : leaves_(isa, kLeafBlocks, kLeafStart, 0, kLeafEnd), tails_(isa), parents_(isa, 1, 0, kParent, 0), roots_(isa, 1, 0, kParent | kRoot, 0) {}

  void Hash(const uint8_t* data, const uint32_t* lengths, size_t count, uint8_t* out, const Scratch& scratch) {
    uint8_t* values = scratch.values[0];
    size_t used = 0;
    for (size_t piece = 0; piece < count; piece++) {
      const size_t leaves = Leaves(lengths[piece]);
      scratch.trees[piece] = {used, leaves};
      for (size_t leaf = 0; leaf + 1 < leaves; leaf++) leaves_.Add(data + leaf * kLeaf, leaf, values + (used + leaf) * kValue);
      const size_t before = (leaves - 1) * kLeaf, rest = lengths[piece] - before;
      uint8_t* last = leaves == 1 ? out + piece * kValue : values + (used + leaves - 1) * kValue;
      if (rest == kLeaf && leaves > 1) {
        leaves_.Add(data + before, leaves - 1, last);
      } else {
        tails_.Add(data + before, rest, leaves - 1, leaves == 1, last);
      }
      data += lengths[piece];
      used += leaves;
    }
    leaves_.Flush();
    tails_.Flush();
    // Neighbours are joined level by level; one without a neighbour goes up as it is. That is the tree of the specification.
    for (int from = 0;; from ^= 1) {
      bool more = false;
      const uint8_t* below = scratch.values[from];
      uint8_t* above = scratch.values[from ^ 1];
      for (size_t piece = 0; piece < count; piece++) {
        Tree& tree = scratch.trees[piece];
        if (tree.count < 2) continue;
        const uint8_t* pair = below + tree.begin * kValue;
        if (tree.count == 2) {
          roots_.Add(pair, 0, out + piece * kValue);
          tree.count = 0;
          continue;
        }
        more = true;
        uint8_t* joined = above + tree.begin * kValue;
        for (size_t i = 0; i + 1 < tree.count; i += 2, pair += 2 * kValue, joined += kValue) parents_.Add(pair, 0, joined);
        if (tree.count % 2 == 1) memcpy(joined, pair, kValue);
        tree.count = (tree.count + 1) / 2;
      }
      parents_.Flush();
      roots_.Flush();
      if (!more) return;
    }
  }

 private:
  Queue leaves_;
  Tails tails_;
  Queue parents_;
  Queue roots_;
};

}  // namespace
}  // namespace shoal_hash

extern "C" int shoal_hash_has(shoal_hash_isa isa) { return shoal_hash::Implementation(isa) != nullptr; }

extern "C" shoal_hash_isa shoal_hash_best(void) {
  constexpr shoal_hash_isa kByRate[] = {SHOAL_HASH_NEON, SHOAL_HASH_AVX512, SHOAL_HASH_AVX2, SHOAL_HASH_SSE41};
  for (const shoal_hash_isa isa : kByRate) {
    if (shoal_hash_has(isa)) return isa;
  }
  return SHOAL_HASH_SCALAR;
}

extern "C" int shoal_hash_pieces(shoal_hash_isa isa, const uint8_t* data, const uint32_t* lengths, size_t count, uint8_t* out) {
  using namespace shoal_hash;
  const Isa* implementation = Implementation(isa);
  if (implementation == nullptr) return SHOAL_HASH_EISA;

  // The largest group: pieces are taken together until they have enough leaves.
  size_t most_leaves = 0, most_pieces = 0;
  for (size_t piece = 0, leaves = 0, pieces = 0; piece < count; piece++) {
    if (lengths[piece] > SHOAL_HASH_MOST) return SHOAL_HASH_ESIZE;
    leaves += Leaves(lengths[piece]);
    pieces++;
    if (leaves > most_leaves) most_leaves = leaves;
    if (pieces > most_pieces) most_pieces = pieces;
    if (leaves >= kGroupLeaves) leaves = pieces = 0;
  }
  if (count == 0) return SHOAL_HASH_OK;
  Scratch scratch;
  for (uint8_t*& values : scratch.values) values = static_cast<uint8_t*>(malloc(most_leaves * kValue));
  scratch.trees = static_cast<Tree*>(malloc(most_pieces * sizeof(Tree)));
  if (scratch.values[0] == nullptr || scratch.values[1] == nullptr || scratch.trees == nullptr) return SHOAL_HASH_EMEMORY;

  Forest forest(*implementation);
  for (size_t first = 0; first < count;) {
    size_t leaves = 0, bytes = 0, next = first;
    while (next < count && leaves < kGroupLeaves) {
      leaves += Leaves(lengths[next]);
      bytes += lengths[next++];
    }
    forest.Hash(data, lengths + first, next - first, out + first * SHOAL_HASH_BYTES, scratch);
    data += bytes;
    first = next;
  }
  return SHOAL_HASH_OK;
}
