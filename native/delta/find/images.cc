#include "images.h"

#include <algorithm>
#include <cstring>

#include "delta/coding/change.h"
#include "delta/common/bytes.h"
#include "delta/common/touch.h"

// Field names and numbers: System V ABI, "Object Files".

namespace shoal::delta {
namespace {

constexpr size_t kMostImages = 1 << 16;
constexpr uint64_t kAlloc = 2;
constexpr size_t kPiece = 1 << 20;
constexpr size_t kNested = 16;  // images before a place of which one may hold it
constexpr uint32_t kRelocatable = 1, kShared = 3;  // executables lie between

// What both classes of files have, where each has it.
struct Layout {
  uint32_t header, programs, sections, counts;      // the header: its size, and where what lies in it
  uint32_t programSize, sectionSize, word;          // bytes of an entry, and of an address
  uint32_t loadFlags, loadOffset, loadAddress, loadFile, loadMemory;
  uint32_t flags, address, offset, size, link;      // of a section
};
constexpr Layout kWide = {64, 32, 40, 54, 56, 64, 8, 4, 8, 16, 32, 40, 8, 16, 24, 32, 40};
constexpr Layout kNarrow = {52, 28, 32, 42, 32, 40, 4, 24, 4, 8, 16, 20, 8, 12, 16, 20, 24};

bool readImage(const uint8_t* bytes, size_t size, size_t at, const Opened& opened, Image& image) {
  const uint8_t* p = bytes + at;
  const uint64_t left = size - at;
  if (left < kNarrow.header || (p[4] != 1 && p[4] != 2) || p[5] != 1 || p[6] != 1) return false;
  image.wide = p[4] == 2;
  const Layout& is = image.wide ? kWide : kNarrow;
  if (left < is.header) return false;
  auto word = [&](const uint8_t* from) { return image.wide ? load64(from) : load32(from); };
  const uint32_t type = load16(p + 16);
  image.at = at;
  image.machine = static_cast<uint16_t>(load16(p + 18));
  const uint64_t programs = opened.offset(at, word(p + is.programs)), sections = opened.offset(at, word(p + is.sections));
  const uint8_t* counts = p + is.counts;
  const uint32_t programSize = load16(counts), programCount = load16(counts + 2), sectionSize = load16(counts + 4),
                 sectionCount = load16(counts + 6), names = load16(counts + 8);
  if (type < kRelocatable || type > kShared || (programCount > 0 && programSize != is.programSize) || sectionSize != is.sectionSize || names >= sectionCount) return false;
  if (programs > left || programCount * uint64_t{programSize} > left - programs) return false;
  if (sections > left || sectionCount * uint64_t{sectionSize} > left - sections) return false;
  image.end = at + sections + sectionCount * uint64_t{sectionSize};
  for (uint32_t i = 0; i < programCount; i++) {
    const uint8_t* h = p + programs + i * programSize;
    if (load32(h) != 1) continue;
    const Load l = {opened.offset(at, word(h + is.loadOffset)), word(h + is.loadAddress), word(h + is.loadFile), word(h + is.loadMemory), load32(h + is.loadFlags)};
    if (l.offset > left || l.fileSize > left - l.offset || l.memorySize < l.fileSize || l.address >> 52 || l.memorySize >> 40) return false;
    image.loads.push_back(l);
    // Go's linker has the heads of sections before all of these.
    image.end = std::max(image.end, at + l.offset + l.fileSize);
  }
  const uint8_t* table = p + sections;
  const uint64_t text = opened.offset(at, word(table + names * sectionSize + is.offset)), textSize = word(table + names * sectionSize + is.size);
  if (text > left || textSize > left - text) return false;
  for (uint32_t i = 0; i < sectionCount; i++) {
    const uint8_t* h = table + i * sectionSize;
    Section s = {{}, load32(h + 4), load32(h + is.link), load32(h + is.link + 4), word(h + is.flags), word(h + is.address), word(h + is.offset), word(h + is.size)};
    const uint32_t name = load32(h);
    if (name < textSize) {
      const char* from = reinterpret_cast<const char*>(p + text + name);
      s.name = {from, strnlen(from, textSize - name)};
    }
    const uint64_t last = s.offset + s.size;
    s.offset = opened.offset(at, s.offset);
    // Sections without bytes, and what is out of bounds or was compressed, keep their number.
    if (s.type == 8 || s.offset > left || s.size > left - s.offset || opened.offset(at, last) - s.offset != s.size) s.size = 0;
    image.end = std::max(image.end, at + s.offset + s.size);
    image.sections.push_back(s);
  }
  return true;
}

std::vector<Image> imagesIn(const uint8_t* bytes, size_t size, const Opened& opened) {
  std::vector<Image> found;
  Touch touch;
  for (size_t at = 0; at + kNarrow.header <= size && found.size() < kMostImages;) {
    // Piece by piece, for what was gone through may have to go.
    const size_t piece = std::min(size - at, kPiece);
    touch(piece);
    const void* next = memmem(bytes + at, piece, "\x7f" "ELF", 4);
    if (next == nullptr) {
      at += piece - 3;
      continue;
    }
    at = static_cast<size_t>(static_cast<const uint8_t*>(next) - bytes);
    Image image;
    if (readImage(bytes, size, at, opened, image)) found.push_back(std::move(image));
    touch.place();
    at += 4;
  }
  return found;
}

// Base position that the longest cover of [begin, end) comes from; false: none.
bool comesFrom(const std::vector<Cover>& covers, uint64_t begin, uint64_t end, uint64_t& from) {
  auto c = std::partition_point(covers.begin(), covers.end(), [&](const Cover& x) { return x.target + x.length <= begin; });
  uint64_t longest = 0;
  for (; c != covers.end() && c->target < end; ++c) {
    const uint64_t first = std::max(begin, c->target), length = std::min(end, c->target + c->length) - first;
    if (c->base & (kFill | kTable) || length <= longest) continue;
    longest = length;
    from = c->base + (first - c->target);
  }
  return longest != 0;
}

}  // namespace

Opened::Opened(const shoal_delta_stream* streams, size_t count) {
  uint64_t raw = 0, at = 0;
  for (size_t i = 0; i < count; i++) {
    raw += streams[i].at - at;
    streams_.push_back({streams[i].at, streams[i].held, raw, streams[i].size});
    raw += streams[i].size;
    at = streams[i].at + streams[i].held;
  }
}

uint64_t Opened::offset(uint64_t at, uint64_t offset) const {
  // The last that begins at or before it: what lies in one counts what it holds.
  auto next = std::partition_point(streams_.begin(), streams_.end(), [&](const Stream& s) { return s.at <= at; });
  if (next != streams_.begin() && at - (next - 1)->at < (next - 1)->held) return offset;
  if (next == streams_.end()) return offset;
  const uint64_t raw = next->raw - (next->at - at) + offset;
  if (raw < offset) return UINT64_MAX;
  next = std::partition_point(next, streams_.end(), [&](const Stream& s) { return s.raw + s.size <= raw; });
  if (next == streams_.end()) {
    const Stream& last = streams_.back();
    return last.at + last.held + (raw - last.raw - last.size) - at;
  }
  return raw > next->raw ? UINT64_MAX : next->at - (next->raw - raw) - at;
}

std::vector<ImagePair> pairImages(const uint8_t* base, size_t baseSize, const uint8_t* target, size_t targetSize, const Opened& opened,
                                  const std::vector<Cover>& covers) {
  std::vector<ImagePair> pairs;
  std::vector<Image> wanted = imagesIn(target, targetSize, opened);
  if (wanted.empty()) return pairs;
  const std::vector<Image> given = imagesIn(base, baseSize, Opened());
  for (Image& t : wanted) {
    const Section* largest = nullptr;
    for (const Section& s : t.sections)
      if ((s.flags & kAlloc) && (largest == nullptr || s.size > largest->size)) largest = &s;
    uint64_t from;
    if (largest == nullptr || !comesFrom(covers, t.at + largest->offset, t.at + largest->offset + largest->size, from)) continue;
    // The innermost that holds it: the last that begins before.
    const Image* best = nullptr;
    auto next = std::partition_point(given.begin(), given.end(), [&](const Image& b) { return b.at <= from; });
    for (size_t tries = 0; tries < kNested && next != given.begin() && best == nullptr; tries++) {
      --next;
      if (from < next->end && next->machine == t.machine && next->wide == t.wide) best = &*next;
    }
    if (best != nullptr) pairs.push_back({*best, std::move(t)});
  }
  return pairs;
}

}  // namespace shoal::delta
