// The one file that knows N-API. Each kernel lives in its own folder as pure C++ behind a C interface; here its
// functions are wrapped: arguments are checked, caller-owned buffers are passed through, nothing is kept.
#include <node_api.h>

#include <new>
#include <vector>

#include "chunk/chunk.h"
#include "delta/delta.h"
#include "hash/hash.h"
#include "walk/walk.h"

namespace {

// Raised when an exported function changes meaning, so that a stale build is never mistaken for a current one.
constexpr int32_t kAbi = 5;

napi_value Abi(napi_env env, napi_callback_info) {
  napi_value value;
  return napi_create_int32(env, kAbi, &value) == napi_ok ? value : nullptr;
}

napi_value Refuse(napi_env env, const char* message) {
  napi_throw_range_error(env, "SHOAL_NATIVE", message);
  return nullptr;
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

// chunkIsas(): number — bit n is set when instruction set n can run here.
napi_value ChunkIsas(napi_env env, napi_callback_info) {
  uint32_t bits = 0;
  for (uint32_t isa = SHOAL_CHUNK_SCALAR; isa <= SHOAL_CHUNK_NEON; isa++) {
    if (shoal_chunk_has(static_cast<shoal_chunk_isa>(isa))) bits |= 1u << isa;
  }
  napi_value value;
  return napi_create_uint32(env, bits, &value) == napi_ok ? value : nullptr;
}

// A call on a thread of the pool: what it needs, what it made, and the promise its caller waits for. The buffers it was
// given are referenced until it is done.
struct Work {
  napi_deferred deferred = nullptr;
  napi_async_work work = nullptr;
  std::vector<napi_ref> held;
  int32_t status = SHOAL_DELTA_OK;
  virtual void run() = 0;
  virtual napi_value result(napi_env env) = 0;
  virtual ~Work() = default;
};

napi_value Start(napi_env env, Work* work, const napi_value* buffers, size_t count) {
  for (size_t i = 0; i < count; i++) {
    napi_ref ref;
    if (napi_create_reference(env, buffers[i], 1, &ref) == napi_ok) work->held.push_back(ref);
  }
  napi_value promise, name;
  const bool started =
      work->held.size() == count && napi_create_promise(env, &work->deferred, &promise) == napi_ok &&
      napi_create_string_utf8(env, "shoal", NAPI_AUTO_LENGTH, &name) == napi_ok &&
      napi_create_async_work(
          env, nullptr, name, [](napi_env, void* data) { static_cast<Work*>(data)->run(); },
          [](napi_env done, napi_status, void* data) {
            Work* self = static_cast<Work*>(data);
            napi_value value = nullptr;
            if (self->status == SHOAL_DELTA_OK) value = self->result(done);
            if (value == nullptr) napi_create_int32(done, self->status, &value);
            napi_resolve_deferred(done, self->deferred, value);
            for (napi_ref ref : self->held) napi_delete_reference(done, ref);
            napi_delete_async_work(done, self->work);
            delete self;
          },
          work, &work->work) == napi_ok &&
      napi_queue_async_work(env, work->work) == napi_ok;
  if (started) return promise;
  for (napi_ref ref : work->held) napi_delete_reference(env, ref);
  delete work;
  return Refuse(env, "cannot start the work");
}

template <typename T>
bool Array(napi_env env, napi_value value, napi_typedarray_type type, T** data, size_t* length) {
  napi_typedarray_type found;
  void* bytes;
  if (napi_get_typedarray_info(env, value, &found, length, &bytes, nullptr, nullptr) != napi_ok || found != type)
    return false;
  *data = static_cast<T*>(bytes);
  return true;
}

bool Whole(double value) { return value >= 0 && value <= 9007199254740991.0; }

napi_value Doubles(napi_env env, const std::vector<double>& values) {
  void* data;
  napi_value buffer, array;
  if (napi_create_arraybuffer(env, values.size() * sizeof(double), &data, &buffer) != napi_ok) return nullptr;
  for (size_t i = 0; i < values.size(); i++) static_cast<double*>(data)[i] = values[i];
  return napi_create_typedarray(env, napi_float64_array, values.size(), buffer, 0, &array) == napi_ok ? array : nullptr;
}

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

// hashIsas(): number — bit n is set when instruction set n of native/hash/hash.h can run here.
napi_value HashIsas(napi_env env, napi_callback_info) {
  uint32_t bits = 0;
  for (uint32_t isa = SHOAL_HASH_SCALAR; isa <= SHOAL_HASH_NEON; isa++) {
    if (shoal_hash_has(static_cast<shoal_hash_isa>(isa))) bits |= 1u << isa;
  }
  napi_value value;
  return napi_create_uint32(env, bits, &value) == napi_ok ? value : nullptr;
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

struct PageWork : Work {
  const uint8_t* page;
  size_t size;
  uint64_t begin, end, base;
  std::vector<shoal_delta_cover> covers;
  void run() override {
    status = shoal_delta_decode_page(page, size, begin, end, base, covers.data(), covers.size());
  }
  napi_value result(napi_env env) override {
    std::vector<double> out;
    out.reserve(covers.size() * 4);
    for (const shoal_delta_cover& c : covers) {
      // As in src/delta/types.ts: a run's byte, -1 for base bytes, -2 for a table.
      const bool runs = c.base >> 63, table = c.base >> 62 & 1;
      const uint64_t base = c.base & ~(uint64_t{3} << 62);
      out.insert(out.end(), {static_cast<double>(c.target), static_cast<double>(c.length),
                             runs ? 0 : static_cast<double>(base),
                             runs ? static_cast<double>(base & 0xFF) : table ? -2.0 : -1.0});
    }
    return Doubles(env, out);
  }
};

// deltaDecodePage(page: Uint8Array, begin, end, baseSize, covers: number): Promise<Float64Array | number>
napi_value DeltaDecodePage(napi_env env, napi_callback_info info) {
  napi_value args[5];
  size_t count = 5;
  double begin, end, base;
  uint32_t covers;
  const uint8_t* page;
  size_t size;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 5 ||
      !Array(env, args[0], napi_uint8_array, &page, &size) || napi_get_value_double(env, args[1], &begin) != napi_ok ||
      napi_get_value_double(env, args[2], &end) != napi_ok || napi_get_value_double(env, args[3], &base) != napi_ok ||
      napi_get_value_uint32(env, args[4], &covers) != napi_ok || !Whole(begin) || !Whole(end) || !Whole(base) ||
      covers > SHOAL_DELTA_MAX_PAGE_COVERS)
    return Refuse(env, "deltaDecodePage: a wrong argument");
  PageWork* started = new (std::nothrow) PageWork;
  if (started == nullptr) return Refuse(env, "no memory");
  started->page = page;
  started->size = size;
  started->begin = static_cast<uint64_t>(begin);
  started->end = static_cast<uint64_t>(end);
  started->base = static_cast<uint64_t>(base);
  started->covers.resize(covers);
  return Start(env, started, args, 1);
}

struct SegmentWork : Work {
  uint32_t codec, origin;
  const uint8_t* payload;
  uint8_t* buffer;
  size_t payloadSize, size;
  std::vector<shoal_delta_piece> pieces;
  void run() override {
    status = shoal_delta_decode_segment(codec, payload, payloadSize, buffer, size, origin, pieces.data(), pieces.size());
  }
  napi_value result(napi_env) override { return nullptr; }
};

// deltaDecodeSegment(codec, payload: Uint8Array, buffer: Uint8Array, origin, pieces: Uint32Array): Promise<number>
napi_value DeltaDecodeSegment(napi_env env, napi_callback_info info) {
  napi_value args[5];
  size_t count = 5, payloadSize, size, words;
  uint32_t codec, origin;
  const uint8_t* payload;
  uint8_t* buffer;
  const uint32_t* pieces;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 5 ||
      napi_get_value_uint32(env, args[0], &codec) != napi_ok ||
      !Array(env, args[1], napi_uint8_array, &payload, &payloadSize) ||
      !Array(env, args[2], napi_uint8_array, &buffer, &size) || napi_get_value_uint32(env, args[3], &origin) != napi_ok ||
      !Array(env, args[4], napi_uint32_array, &pieces, &words) || words % 3 != 0 || size > SHOAL_DELTA_MAX_SEGMENT)
    return Refuse(env, "deltaDecodeSegment: a wrong argument");
  SegmentWork* work = new (std::nothrow) SegmentWork;
  if (work == nullptr) return Refuse(env, "no memory");
  work->codec = codec;
  work->origin = origin;
  work->payload = payload;
  work->payloadSize = payloadSize;
  work->buffer = buffer;
  work->size = size;
  for (size_t i = 0; i < words; i += 3) work->pieces.push_back({pieces[i], pieces[i + 1], pieces[i + 2]});
  return Start(env, work, args + 1, 2);
}

struct EncodeWork : Work {
  const uint8_t *base, *target;
  size_t baseSize, targetSize;
  std::vector<uint64_t> ends;
  shoal_delta_options options = {};
  shoal_delta_result made = {};
  void run() override {
    status = shoal_delta_encode(base, baseSize, target, targetSize, ends.data(), ends.size(), &options, &made);
  }
  static napi_value copied(napi_env env, const uint8_t* bytes, size_t size) {
    void* data;
    napi_value buffer, array;
    if (napi_create_arraybuffer(env, size, &data, &buffer) != napi_ok) return nullptr;
    for (size_t i = 0; i < size; i++) static_cast<uint8_t*>(data)[i] = bytes[i];
    return napi_create_typedarray(env, napi_uint8_array, size, buffer, 0, &array) == napi_ok ? array : nullptr;
  }
  napi_value result(napi_env env) override {
    std::vector<double> segments, pages;
    for (size_t i = 0; i < made.segment_count; i++) {
      const shoal_delta_segment& s = made.segments[i];
      segments.insert(segments.end(), {static_cast<double>(s.target_begin), static_cast<double>(s.target_end),
                                       static_cast<double>(s.payload_offset), static_cast<double>(s.payload_size),
                                       static_cast<double>(s.codec), static_cast<double>(s.page)});
    }
    for (size_t i = 0; i < made.page_count; i++) {
      const shoal_delta_page& p = made.pages[i];
      pages.insert(pages.end(), {static_cast<double>(p.target_begin), static_cast<double>(p.target_end),
                                 static_cast<double>(p.offset), static_cast<double>(p.size),
                                 static_cast<double>(p.covers)});
    }
    const napi_value parts[4] = {Doubles(env, segments), Doubles(env, pages),
                                 copied(env, made.payloads, made.payload_size), copied(env, made.map, made.map_size)};
    shoal_delta_release(&made);
    napi_value list;
    if (napi_create_array_with_length(env, 4, &list) != napi_ok) return nullptr;
    for (uint32_t i = 0; i < 4; i++)
      if (parts[i] == nullptr || napi_set_element(env, list, i, parts[i]) != napi_ok) return nullptr;
    return list;
  }
};

// deltaEncode(base, target: Uint8Array, ends: Float64Array, memoryCap, segmentPayload, threads: number,
//   control: BigUint64Array): Promise<[segments, pages: Float64Array, payloads, map: Uint8Array] | number>
// control[0]: progress, of about 3 * target bytes; control[1]: not 0 cancels.
napi_value DeltaEncode(napi_env env, napi_callback_info info) {
  napi_value args[7];
  size_t count = 7, baseSize, targetSize, endCount, controls;
  const uint8_t *base, *target;
  const double* ends;
  double cap;
  uint32_t payload, threads;
  uint64_t* control;
  if (napi_get_cb_info(env, info, &count, args, nullptr, nullptr) != napi_ok || count != 7 ||
      !Array(env, args[0], napi_uint8_array, &base, &baseSize) ||
      !Array(env, args[1], napi_uint8_array, &target, &targetSize) ||
      !Array(env, args[2], napi_float64_array, &ends, &endCount) || napi_get_value_double(env, args[3], &cap) != napi_ok ||
      !Whole(cap) || napi_get_value_uint32(env, args[4], &payload) != napi_ok ||
      napi_get_value_uint32(env, args[5], &threads) != napi_ok ||
      !Array(env, args[6], napi_biguint64_array, &control, &controls) || controls < 2)
    return Refuse(env, "deltaEncode: a wrong argument");
  EncodeWork* work = new (std::nothrow) EncodeWork;
  if (work == nullptr) return Refuse(env, "no memory");
  work->base = base;
  work->baseSize = baseSize;
  work->target = target;
  work->targetSize = targetSize;
  for (size_t i = 0; i < endCount; i++) work->ends.push_back(Whole(ends[i]) ? static_cast<uint64_t>(ends[i]) : 0);
  work->options.memory_cap = static_cast<uint64_t>(cap);
  work->options.segment_payload = payload;
  work->options.threads = threads;
  work->options.progress = control;
  work->options.cancel = reinterpret_cast<const volatile uint32_t*>(control + 1);
  const napi_value held[3] = {args[0], args[1], args[6]};
  return Start(env, work, held, 3);
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
      !Export(env, exports, "hashIsas", HashIsas) || !Export(env, exports, "walkChunks", WalkChunks) || !Export(env, exports, "deltaDecodePage", DeltaDecodePage) ||
      !Export(env, exports, "deltaDecodeSegment", DeltaDecodeSegment) ||
      !Export(env, exports, "deltaEncode", DeltaEncode)) {
    napi_throw_error(env, "SHOAL_NATIVE", "cannot register the native kernels");
    return nullptr;
  }
  return exports;
}
