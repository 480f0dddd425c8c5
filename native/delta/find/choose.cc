#include "choose.h"

#include <algorithm>
#include <cstring>

#include "delta/coding/meter.h"
#include "delta/common/bytes.h"
#include "delta/references/frame_index.h"
#include "delta/residual.h"

namespace shoal::delta {
namespace {

// Where the tables begin that pieces of the rule's stretch lie in.
ValueMap startsMap(const JumpsFound& jumps, const Range& home, const Rule& rule, const std::vector<Piece>& pieces) {
  std::vector<size_t> used;
  uint32_t at = 0;
  for (const Piece& p : pieces) {
    const uint32_t from = std::max(at, rule.begin), to = std::min(at + p.length, rule.begin + rule.size);
    if (p.kind == SHOAL_DELTA_BASE && from < to) {
      const uint64_t first = p.base + (from - at), last = p.base + (to - at);
      auto next = std::upper_bound(jumps.starts.begin(), jumps.starts.end(), first);
      if (next != jumps.starts.begin()) --next;
      for (; next != jumps.starts.end() && *next < last; ++next) used.push_back(static_cast<size_t>(next - jumps.starts.begin()));
    }
    at += p.length;
  }
  std::sort(used.begin(), used.end());
  used.erase(std::unique(used.begin(), used.end()), used.end());
  ValueMap map;
  for (const size_t k : used)
    if (jumps.starts[k] - home.base < std::min<uint64_t>(home.size, UINT32_MAX)) map.from.push_back(static_cast<uint32_t>(jumps.starts[k] - home.base));
  map.by.assign(map.from.size(), 0);
  return map;
}

// What a payload would take for the rule's stretch alone, in bytes. False: no memory.
bool costOf(const Rule& rule, const std::vector<uint8_t>& prediction, const uint8_t* target, const std::vector<Piece>& pieces, uint32_t origin,
                   double& bytes) {
  std::vector<Piece> own;
  uint32_t at = 0;
  for (const Piece& p : pieces) {
    const uint32_t from = std::max(at, rule.begin), to = std::min(at + p.length, rule.begin + rule.size);
    const bool rises = p.kind == SHOAL_DELTA_BASE || p.kind == SHOAL_DELTA_TABLE;
    if (from < to) own.push_back({to - from, p.kind, rises ? p.base + (from - at) : 0});
    at += p.length;
  }
  std::vector<uint8_t> work(prediction.begin() + rule.begin, prediction.begin() + rule.begin + rule.size);
  double bits[4] = {};
  Meter meter;
  meter.ends = &rule.size;
  meter.bits = bits;
  if (!meterPayload(work.data(), target + rule.begin, rule.size, own.data(), own.size(), origin + rule.begin, meter)) return false;
  bytes = (bits[0] + bits[1] + bits[2] + bits[3]) / 8;
  return true;
}

}  // namespace

void Chooser::find(const std::vector<ImagePair>& images, const std::vector<Cover>& covers, const std::vector<Cover>& all) {
  findReferences(images, jumps_, found_);
  addMapped(images, covers);
  if (!found_.rules.empty()) shifts_.build(all.data(), all.size(), baseSize_);
}

// Rules of types and relocations: their numbers are those of what was found.
void Chooser::addMapped(const std::vector<ImagePair>& images, const std::vector<Cover>& covers) {
  shared_[0] = mapOf(types_.ids);
  shared_[1] = mapOf(types_.strings);
  auto add = [&](uint8_t kind, uint64_t begin, uint64_t end, size_t number) {
    Rule rule;
    rule.kind = kind;
    rule.space = static_cast<uint32_t>(number);
    found_.rules.push_back({begin, end, rule, 0, 0});
  };
  for (size_t i = 0; i < types_.sections.size(); i++) add(kTypes, types_.sections[i].begin, types_.sections[i].end, i);
  relocations_ = findRelocations(base_, target_, images, covers);
  for (size_t i = 0; i < relocations_.size(); i++) add(kRelocations, relocations_[i].begin, relocations_[i].end, i);
  wasm_ = findWasm(base_, target_, targetSize_, covers);
  for (size_t i = 0; i < wasm_.size(); i++)
    for (const WasmModule::Stretch& s : wasm_[i].stretches) add(s.kind, s.begin, s.end, i);
  std::stable_sort(found_.rules.begin(), found_.rules.end(), [](const FoundRule& a, const FoundRule& b) { return a.begin < b.begin; });
}

Rules Chooser::rulesFor(uint64_t from, uint64_t to, const std::vector<uint8_t>& prediction, const std::vector<Piece>& pieces) const {
  constexpr size_t kLeastMoved = 24;  // bytes that a rule must bring
  constexpr size_t kValueCosts = 4;   // and for each value of its maps
  constexpr size_t kStartCosts = 2;   // or beginning of a table
  constexpr uint32_t kLeastMetered = 4096;  // bytes of a stretch: of shorter ones what they cost says little
  Rules used;
  std::vector<uint8_t> work(prediction);
  std::vector<uint32_t> numbers(found_.spaces.size(), UINT32_MAX);
  const uint8_t* target = target_ + from;
  std::vector<const TypesFound*> types;
  size_t valuesLeft = kMostValues / 2;  // the rest is for what is shared
  if (!types_.sections.empty()) used.maps.resize(2);
  for (const FoundRule& f : found_.rules) {
    if (f.begin >= to) break;
    if (f.end <= from) continue;
    Rule rule = f.rule;
    const uint32_t unit = stepOf(rule);
    const uint64_t begin = f.begin + (std::max(f.begin, from) - f.begin + unit - 1) / unit * unit;
    const uint64_t end = std::min(f.end, to);
    if (begin >= end || used.rules.size() == kMostRules) continue;
    rule.begin = static_cast<uint32_t>(begin - from);
    rule.size = static_cast<uint32_t>(end - begin);
    const size_t before = countEqual(work.data() + rule.begin, target + rule.begin, rule.size);
    if (before == rule.size) continue;
    if (rule.kind == kFrameIndex) {
      if (f.begin < from + kIndexHead || f.end > to || f.records < from || f.records + f.recordsSize > to) continue;
      rule.records = static_cast<uint32_t>(f.records - from);
      rule.recordsSize = static_cast<uint32_t>(f.recordsSize);
      const std::vector<uint8_t> rows = indexOf(rule, target);
      if (memcmp(rows.data(), target + rule.begin, rule.size) == 0) used.rules.push_back(rule);
      continue;
    }
    Rules one;
    one.rules = {rule};
    Rule& alone = one.rules[0];
    size_t values = 0;
    if (rule.kind == kTypes) {
      const TypesFound& t = types_.sections[rule.space];
      one.maps = {shared_[0], shared_[1], t.ids, t.strings};
      one.maps[2].parent = 1;
      one.maps[3].parent = 2;
      alone.ids = 2;
      alone.strings = 3;
      values = t.ids.from.size() + t.strings.from.size();
    } else if (isWasm(rule.kind)) {
      one.maps = wasmMaps(wasm_[rule.space], rule, work.data(), target, pieces);
      alone.ids = 0;
      alone.strings = 1;
      values = one.maps[0].from.size() + one.maps[1].from.size();
      if (values == 0) continue;
    } else if (rule.kind == kRelocations) {
      const RelocationsFound& r = relocations_[rule.space];
      one.maps = r.maps;
      alone.addends = r.addends;
      alone.offsets = cutOffsets(r.offsets, (begin - f.begin) / kRelocation, rule.size / kRelocation);
      for (const ValueMap& m : r.maps) values += m.from.size();
      values += alone.addends.size() + alone.offsets.size();
    } else {
      one.spaces = {found_.spaces[rule.space]};
      alone.space = 0;
      if (rule.kind == kJumps) {
        one.maps = {startsMap(jumps_[rule.ids], one.spaces[0][rule.home], rule, pieces)};
        alone.ids = 0;
        values = one.maps[0].from.size();
        if (values == 0) continue;
      }
    }
    const std::vector<uint8_t> kept(work.begin() + rule.begin, work.begin() + rule.begin + rule.size);
    moveReferences(one, shifts_, work.data(), static_cast<uint32_t>(from), pieces.data(), pieces.size());
    const size_t after = countEqual(work.data() + rule.begin, target + rule.begin, rule.size);
    const bool full = (!isMapped(rule.kind) && numbers[rule.space] == UINT32_MAX && used.spaces.size() == kMostSpaces) || values > valuesLeft ||
                      used.maps.size() + one.maps.size() > kMostMaps;
    // Bytes that are right are not bytes that are saved: where many change alike, that is cheap to say.
    double costs = 0, cost = 0;
    if (after >= before + kLeastMoved && rule.size >= kLeastMetered && !isMapped(rule.kind)) {
      std::vector<uint8_t> was(work);
      std::copy(kept.begin(), kept.end(), was.begin() + rule.begin);
      if (!costOf(rule, was, target, pieces, static_cast<uint32_t>(from), cost) || !costOf(rule, work, target, pieces, static_cast<uint32_t>(from), costs)) cost = costs = 0;
    }
    if (costs > cost || after < before + kLeastMoved + (rule.kind == kJumps ? kStartCosts : kValueCosts) * values || full) {
      std::copy(kept.begin(), kept.end(), work.begin() + rule.begin);
      continue;
    }
    if (!isMapped(rule.kind)) {
      uint32_t& number = numbers[rule.space];
      if (number == UINT32_MAX) {
        number = static_cast<uint32_t>(used.spaces.size());
        used.spaces.push_back(found_.spaces[rule.space]);
      }
      alone.space = number;
      if (rule.kind == kJumps) {
        valuesLeft -= values;
        alone.ids = static_cast<uint32_t>(used.maps.size());
        used.maps.push_back(std::move(one.maps[0]));
      }
    } else {
      valuesLeft -= values;
      const uint32_t first = static_cast<uint32_t>(used.maps.size());
      if (rule.kind == kTypes) {
        types.push_back(&types_.sections[rule.space]);
        used.maps.insert(used.maps.end(), one.maps.begin() + 2, one.maps.end());
        alone.ids = first;
        alone.strings = first + 1;
      } else {
        used.maps.insert(used.maps.end(), one.maps.begin(), one.maps.end());
        alone.ids += first;
        if (isWasm(rule.kind)) alone.strings += first;
        for (MapUse& u : alone.addends) u.map += first;
        for (MapUse& u : alone.offsets) u.map += u.map == 0 ? 0 : first;
      }
    }
    used.rules.push_back(std::move(alone));
  }
  if (!types.empty()) addShared(types, used);
  return used;
}

// Maps 0 and 1 are what all modules share: of that those values that sections of the segment use.
void Chooser::addShared(const std::vector<const TypesFound*>& types, Rules& rules) const {
  std::vector<uint32_t> ids, strings;
  for (const TypesFound* t : types) {
    ids.insert(ids.end(), t->commonIds.begin(), t->commonIds.end());
    strings.insert(strings.end(), t->commonStrings.begin(), t->commonStrings.end());
  }
  rules.maps[0] = sharedMap(types_.ids, ids);
  rules.maps[1] = sharedMap(types_.strings, strings);
}

}  // namespace shoal::delta
