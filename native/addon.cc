// The one module that knows N-API, with addon_call.h (arguments, calls on the pool), addon_deflate.h and addon_delta.h. Each kernel lives in its own folder as pure C++ behind a C interface; here its
// functions are wrapped: arguments are checked, caller-owned buffers are passed through, nothing is kept.
#if defined(__linux__)
#include <malloc.h>
#endif

#include "addon_call.h"
#include "addon_deflate.h"
#include "addon_delta.h"
#include "addon_scratch.h"
#include "chunk/chunk.h"
#include "hash/hash.h"
#include "walk/walk.h"

namespace {

// Raised when an exported function changes meaning, so that a stale build is never mistaken for a current one.
constexpr int32_t kAbi = 16;

napi_value Abi(napi_env env, napi_callback_info) {
  napi_value value;
  return napi_create_int32(env, kAbi, &value) == napi_ok ? value : nullptr;
}

// chunkCuts(data: Uint8Array, min, avg, max: number, final: boolean, cuts: Uint32Array, isa: number): number
// Synchronous: the caller keeps `data` to the few MiB that take less than a millisecond.
napi_value ChunkCuts(napi_env env, napi_callback_info info) {
  napi_value args[7];
  size_t count = 7;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 7) {
    return Refuse(env, "chunkCuts takes seven arguments");
  }
  napi_typedarray_type data_type, cuts_type;
  size_t size, capacity;
  void *data, *cuts;
  shoal_chunk_params params;
  bool final;
  int32_t isa;
  if (napi_get_typedarray_info(env, args[0], &data_type, &size, &data, nullptr, nullptr) != napi_ok ||
      data_type != napi_uint8_array ||
      napi_get_value_uint32(env, args[1], &params.min) != napi_ok ||
      napi_get_value_uint32(env, args[2], &params.avg) != napi_ok ||
      napi_get_value_uint32(env, args[3], &params.max) != napi_ok ||
      napi_get_value_bool(env, args[4], &final) != napi_ok ||
      napi_get_typedarray_info(env, args[5], &cuts_type, &capacity, &cuts, nullptr, nullptr) != napi_ok ||
      cuts_type != napi_uint32_array || napi_get_value_int32(env, args[6], &isa) != napi_ok) {
    return Refuse(env, "chunkCuts: an argument has the wrong type");
  }
  if (isa < SHOAL_CHUNK_SCALAR || isa > SHOAL_CHUNK_NEON) return Refuse(env, "chunkCuts: no such instruction set");
  const int64_t found =
      shoal_chunk_cuts(static_cast<shoal_chunk_isa>(isa), static_cast<const uint8_t*>(data), size, &params, final,
                       static_cast<uint32_t*>(cuts), capacity);
  switch (found) {
    case SHOAL_CHUNK_EPARAMS: return Refuse(env, "chunkCuts: parameters out of bounds");
    case SHOAL_CHUNK_ESIZE: return Refuse(env, "chunkCuts: too many bytes");
    case SHOAL_CHUNK_ECAPACITY: return Refuse(env, "chunkCuts: no room for the cuts");
    case SHOAL_CHUNK_EISA: return Refuse(env, "chunkCuts: this processor does not have that instruction set");
    default: break;
  }
  napi_value value;
  return napi_create_int64(env, found, &value) == napi_ok ? value : nullptr;
}

// Bit n is set when instruction set n, up to `last`, can run here.
template <typename Isa>
napi_value Isas(napi_env env, int (*has)(Isa), Isa last) {
  uint32_t bits = 0;
  for (uint32_t isa = 0; isa <= static_cast<uint32_t>(last); isa++) {
    if (has(static_cast<Isa>(isa))) bits |= 1u << isa;
  }
  napi_value value;
  return napi_create_uint32(env, bits, &value) == napi_ok ? value : nullptr;
}

// chunkIsas(): number, of native/chunk/chunk.h
napi_value ChunkIsas(napi_env env, napi_callback_info) { return Isas(env, shoal_chunk_has, SHOAL_CHUNK_NEON); }

// hashIsas(): number, of native/hash/hash.h
napi_value HashIsas(napi_env env, napi_callback_info) { return Isas(env, shoal_hash_has, SHOAL_HASH_AVX512); }

// Whether `lengths` are pieces of `size` bytes, and `out` has room for their hashes.
bool Pieces(const uint32_t* lengths, size_t count, size_t size, size_t out) {
  uint64_t sum = 0;
  for (size_t i = 0; i < count; i++) {
    if (lengths[i] > SHOAL_HASH_MOST) return false;
    sum += lengths[i];
  }
  return sum <= size && count <= out / SHOAL_HASH_BYTES;
}

struct HashWork : Work {
  shoal_hash_isa isa;
  const uint8_t* data;
  std::vector<uint32_t> lengths;
  uint8_t* out;
  void run() override { status = shoal_hash_pieces(isa, data, lengths.data(), lengths.size(), out); }
  napi_value result(napi_env) override { return nullptr; }
};

// hashPieces(data: Uint8Array, lengths: Uint32Array, out: Uint8Array, isa: number, later: boolean): number | Promise<number>
// BLAKE3-256 of pieces that lie one after another, 32 bytes each, here and now or on a thread of the pool.
napi_value HashPieces(napi_env env, napi_callback_info info) {
  napi_value args[5];
  size_t count = 5, size, pieces, room;
  const uint8_t* data;
  const uint32_t* lengths;
  uint8_t* out;
  int32_t isa;
  bool later;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 5 ||
      !Array(env, args[0], napi_uint8_array, &data, &size) || !Array(env, args[1], napi_uint32_array, &lengths, &pieces) ||
      !Array(env, args[2], napi_uint8_array, &out, &room) || napi_get_value_int32(env, args[3], &isa) != napi_ok ||
      napi_get_value_bool(env, args[4], &later) != napi_ok || !Pieces(lengths, pieces, size, room) ||
      !shoal_hash_has(static_cast<shoal_hash_isa>(isa)))
    return Refuse(env, "hashPieces: a wrong argument");
  if (later) {
    HashWork* work = new (std::nothrow) HashWork;
    if (work == nullptr) return Refuse(env, "no memory");
    work->isa = static_cast<shoal_hash_isa>(isa);
    work->data = data;
    work->lengths.assign(lengths, lengths + pieces);
    work->out = out;
    const napi_value held[2] = {args[0], args[2]};
    return Start(env, work, held, 2);
  }
  napi_value value;
  const int status = shoal_hash_pieces(static_cast<shoal_hash_isa>(isa), data, lengths, pieces, out);
  return napi_create_int32(env, status, &value) == napi_ok ? value : nullptr;
}

struct WalkWork : Work {
  int32_t fd;
  uint64_t position;
  uint8_t* buffer;
  size_t size, filled;
  shoal_chunk_params params;
  uint32_t* cuts;
  uint8_t* hashes;
  size_t capacity;
  shoal_walk_result walked;
  void run() override { status = shoal_walk(fd, position, buffer, size, filled, &params, cuts, hashes, capacity, &walked); }
  napi_value result(napi_env env) override {
    return Doubles(env, {static_cast<double>(walked.filled), static_cast<double>(walked.chunks), static_cast<double>(walked.ended)});
  }
};

// walkChunks(fd, position, buffer: Uint8Array, filled, min, avg, max, cuts: Uint32Array, hashes: Uint8Array):
//   Promise<[filled, chunks, ended] | number>
napi_value WalkChunks(napi_env env, napi_callback_info info) {
  napi_value args[9];
  size_t count = 9, size, cuts, room;
  int32_t fd;
  double position;
  uint32_t filled;
  shoal_chunk_params params;
  uint8_t *buffer, *hashes;
  uint32_t* ends;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 9 ||
      napi_get_value_int32(env, args[0], &fd) != napi_ok || napi_get_value_double(env, args[1], &position) != napi_ok ||
      !Whole(position) || !Array(env, args[2], napi_uint8_array, &buffer, &size) ||
      napi_get_value_uint32(env, args[3], &filled) != napi_ok || napi_get_value_uint32(env, args[4], &params.min) != napi_ok ||
      napi_get_value_uint32(env, args[5], &params.avg) != napi_ok || napi_get_value_uint32(env, args[6], &params.max) != napi_ok ||
      !Array(env, args[7], napi_uint32_array, &ends, &cuts) || !Array(env, args[8], napi_uint8_array, &hashes, &room))
    return Refuse(env, "walkChunks: a wrong argument");
  WalkWork* work = new (std::nothrow) WalkWork;
  if (work == nullptr) return Refuse(env, "no memory");
  work->fd = fd;
  work->position = static_cast<uint64_t>(position);
  work->buffer = buffer;
  work->size = size;
  work->filled = filled;
  work->params = params;
  work->cuts = ends;
  work->hashes = hashes;
  work->capacity = cuts < room / SHOAL_HASH_BYTES ? cuts : room / SHOAL_HASH_BYTES;
  const napi_value held[3] = {args[2], args[7], args[8]};
  return Start(env, work, held, 3);
}

struct PiecesWork : Work {
  int32_t fd;
  uint64_t position, got = 0;
  uint8_t* into;
  size_t room;
  std::vector<uint32_t> lengths;
  bool medium;
  uint8_t* hashes;
  void run() override {
    int error;
    status = shoal_walk_pieces(fd, position, into, room, lengths.data(), lengths.size(), medium, hashes, &got, &error);
  }
  napi_value result(napi_env env) override {
    napi_value value;
    return napi_create_double(env, static_cast<double>(got), &value) == napi_ok ? value : nullptr;
  }
};

// walkPieces(fd, position, into: Uint8Array, lengths: Uint32Array, medium: boolean, hashes: Uint8Array): Promise<number>, bytes read or a status
napi_value WalkPieces(napi_env env, napi_callback_info info) {
  napi_value args[6];
  size_t count = 6, size, pieces, room;
  int32_t fd;
  double position;
  bool medium;
  const uint32_t* lengths;
  uint8_t *into, *hashes;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 6 ||
      napi_get_value_int32(env, args[0], &fd) != napi_ok || napi_get_value_double(env, args[1], &position) != napi_ok ||
      !Whole(position) || !Array(env, args[2], napi_uint8_array, &into, &size) ||
      !Array(env, args[3], napi_uint32_array, &lengths, &pieces) || napi_get_value_bool(env, args[4], &medium) != napi_ok ||
      !Array(env, args[5], napi_uint8_array, &hashes, &room) || pieces > room / SHOAL_HASH_BYTES)
    return Refuse(env, "walkPieces: a wrong argument");
  PiecesWork* work = new (std::nothrow) PiecesWork;
  if (work == nullptr) return Refuse(env, "no memory");
  work->fd = fd;
  work->position = static_cast<uint64_t>(position);
  work->into = into;
  work->room = size;
  work->lengths.assign(lengths, lengths + pieces);
  work->medium = medium;
  work->hashes = hashes;
  const napi_value held[2] = {args[2], args[5]};
  return Start(env, work, held, 2);
}

// returnMemory(): what is freed goes back to the system, for the whole process and from now on. The C library would keep it: large blocks once a
// larger one was freed, and blocks of each thread apart from those of others.
napi_value ReturnMemory(napi_env, napi_callback_info) {
#if defined(__GLIBC__)
  constexpr int kKept = 128 * 1024;
  mallopt(M_MMAP_THRESHOLD, kKept);
  mallopt(M_TRIM_THRESHOLD, kKept);
  mallopt(M_ARENA_MAX, 1);
#endif
  return nullptr;
}

bool Export(napi_env env, napi_value exports, const char* name, napi_callback function) {
  napi_value value;
  return napi_create_function(env, name, NAPI_AUTO_LENGTH, function, nullptr, &value) == napi_ok &&
         napi_set_named_property(env, exports, name, value) == napi_ok;
}

}  // namespace

NAPI_MODULE_INIT() {
  if (!Export(env, exports, "abi", Abi) || !Export(env, exports, "chunkCuts", ChunkCuts) ||
      !Export(env, exports, "chunkIsas", ChunkIsas) || !Export(env, exports, "hashPieces", HashPieces) ||
      !Export(env, exports, "hashIsas", HashIsas) || !Export(env, exports, "walkChunks", WalkChunks) ||
      !Export(env, exports, "walkPieces", WalkPieces) || !Export(env, exports, "deltaDecodePage", DeltaDecodePage) ||
      !Export(env, exports, "deltaShifts", DeltaShifts) || !Export(env, exports, "deltaPlan", DeltaPlan) ||
      !Export(env, exports, "deltaCopy", DeltaCopy) ||
      !Export(env, exports, "deltaDecodeSegment", DeltaDecodeSegment) || !Export(env, exports, "deltaSpent", DeltaSpent) ||
      !Export(env, exports, "deltaEncode", DeltaEncode) || !Export(env, exports, "deflateStreams", DeflateStreams) ||
      !Export(env, exports, "inflate", Inflate) || !Export(env, exports, "inflateFirst", InflateFirst) ||
      !Export(env, exports, "returnMemory", ReturnMemory) ||
      !Export(env, exports, "scratchMemory", ScratchMemory) ||
      !Export(env, exports, "scratchKeepBelow", ScratchKeepBelow) || !Export(env, exports, "scratchCheck", ScratchCheck)) {
    napi_throw_error(env, "SHOAL_NATIVE", "cannot register the native kernels");
    return nullptr;
  }
  return exports;
}
