#include "wasm.h"

#include <algorithm>
#include <cstring>

#include "delta/common/bytes.h"
#include "delta/common/touch.h"
#include "delta/references/mapped.h"
#include "delta/references/wasm_code.h"

namespace shoal::delta {
namespace {

constexpr size_t kMostModules = 4096;
constexpr size_t kLeastStretch = 64;
constexpr size_t kPiece = 1 << 20;
constexpr size_t kMostVotes = 1 << 20;  // before those that agree are counted as one
constexpr size_t kEntryCosts = 4;       // bytes of a value of a map
constexpr uint8_t kCode = 10, kElements = 9, kLastSection = 13;

bool readModule(const uint8_t* p, size_t size, size_t at, WasmModule& module) {
  uint32_t last = 0;
  for (uint64_t i = at + 8; i + 2 <= size;) {
    const uint8_t id = p[i];
    const Leb length = readLeb(p, i + 1, size, 5);
    const uint64_t begin = i + 1 + length.length;
    if (id > kLastSection || length.length == 0 || length.bits > size - begin) break;
    // Behind the number of functions or of lists.
    const Leb count = readLeb(p, begin, begin + length.bits, 5);
    if ((id == kCode || id == kElements) && length.bits >= kLeastStretch)
      module.stretches.push_back({begin + count.length, begin + length.bits, id == kCode ? kWasmCode : kWasmList});
    if (id == last && id != 0) break;
    last = id;
    i = begin + length.bits;
  }
  return !module.stretches.empty();
}

template <class Visit>
void walk(RuleKind kind, const uint8_t* p, uint64_t from, uint64_t to, Visit visit) {
  if (kind == kWasmList) walkList(p, from, to, visit);
  else walkWasm(p, from, to, visit);
}

class Learner {
 public:
  void add(uint32_t from, uint32_t to) {
    votes_.push_back({from, to, 1});
    if (votes_.size() >= limit_) {
      count();
      limit_ = std::max(kMostVotes, 2 * votes_.size());
    }
  }
  std::vector<ValuePair> settled() { return settle(votes_); }

 private:
  void count() {
    std::sort(votes_.begin(), votes_.end(), [](const ValuePair& a, const ValuePair& b) { return a.from != b.from ? a.from < b.from : a.to < b.to; });
    size_t kept = 0;
    for (const ValuePair v : votes_) {
      if (kept > 0 && votes_[kept - 1].from == v.from && votes_[kept - 1].to == v.to) votes_[kept - 1].times += v.times;
      else votes_[kept++] = v;
    }
    votes_.resize(kept);
  }

  std::vector<ValuePair> votes_;
  size_t limit_ = kMostVotes;
};

void learn(const uint8_t* base, const uint8_t* target, const std::vector<Cover>& covers, WasmModule& module) {
  Learner functions, constants;
  Touch touch;
  for (const WasmModule::Stretch& s : module.stretches) {
    auto c = std::partition_point(covers.begin(), covers.end(), [&](const Cover& x) { return x.target + x.length <= s.begin; });
    for (; c != covers.end() && c->target < s.end; ++c) {
      if (c->base & (kFill | kTable)) continue;
      const uint64_t skip = s.begin > c->target ? s.begin - c->target : 0, length = std::min(s.end, c->target + c->length) - c->target;
      touch(2 * (length - skip));
      const uint8_t* to = target + c->target;
      walk(s.kind, base + c->base, skip, length, [&](Operand what, uint64_t at, const Leb& n) {
        const Leb now = readLeb(to, at, length, n.length);
        uint32_t before, after;
        if (now.length != n.length || !valueOf(what, n, before) || !valueOf(what, now, after)) return;
        (what == Operand::kFunction ? functions : constants).add(before, after);
      });
    }
  }
  module.functions = functions.settled();
  module.constants = constants.settled();
}

bool changes(const std::vector<ValuePair>& pairs) {
  return std::any_of(pairs.begin(), pairs.end(), [](const ValuePair& p) { return p.from != p.to; });
}

// Calls visit(from, to) with each piece of base bytes that a rule works on.
template <class Visit>
void eachPiece(const Rule& rule, const std::vector<Piece>& pieces, Visit visit) {
  uint64_t at = 0;
  const uint64_t end = uint64_t{rule.begin} + rule.size;
  for (const Piece& p : pieces) {
    const uint64_t from = std::max<uint64_t>(at, rule.begin), to = std::min(at + p.length, end);
    if (p.kind == SHOAL_DELTA_BASE && from < to) visit(static_cast<uint32_t>(from), static_cast<uint32_t>(to));
    at += p.length;
  }
}

}  // namespace

std::vector<WasmModule> findWasm(const uint8_t* base, const uint8_t* target, size_t targetSize, const std::vector<Cover>& covers) {
  static const uint8_t kMagic[8] = {0, 'a', 's', 'm', 1, 0, 0, 0};
  std::vector<WasmModule> found;
  Touch touch;
  for (size_t at = 0; at + 16 <= targetSize && found.size() < kMostModules;) {
    const size_t piece = std::min(targetSize - at, kPiece);
    touch(piece);
    const void* next = memmem(target + at, piece, kMagic, sizeof kMagic);
    if (next == nullptr) {
      at += piece - (piece < sizeof kMagic ? piece : sizeof kMagic - 1);
      if (piece < kPiece) break;
      continue;
    }
    at = static_cast<size_t>(static_cast<const uint8_t*>(next) - target);
    WasmModule module;
    if (readModule(target, targetSize, at, module)) {
      learn(base, target, covers, module);
      if (changes(module.functions) || changes(module.constants)) found.push_back(std::move(module));
    }
    at += sizeof kMagic;
  }
  return found;
}

std::vector<ValueMap> wasmMaps(const WasmModule& module, const Rule& rule, const uint8_t* bytes, const uint8_t* target, const std::vector<Piece>& pieces) {
  std::vector<uint32_t> functions, constants;
  size_t limit = kMostVotes;
  eachPiece(rule, pieces, [&](uint32_t from, uint32_t to) {
    walk(static_cast<RuleKind>(rule.kind), bytes, from, to, [&](Operand what, uint64_t, const Leb& n) {
      uint32_t v;
      if (valueOf(what, n, v)) (what == Operand::kFunction ? functions : constants).push_back(v);
    });
    // A module has a million of them, and few different ones.
    if (functions.size() + constants.size() < limit) return;
    sortUnique(functions);
    sortUnique(constants);
    limit = std::max(kMostVotes, 2 * (functions.size() + constants.size()));
  });
  std::vector<ValueMap> maps = {sharedMap(module.functions, functions), sharedMap(module.constants, constants)};
  const size_t before = countEqual(bytes + rule.begin, target + rule.begin, rule.size);
  std::vector<uint8_t> work;
  for (size_t k = 0; k < 2; k++) {
    std::vector<ValueMap> one(2);
    one[k] = maps[k];
    Rule alone = rule;
    alone.ids = 0;
    alone.strings = 1;
    work.assign(bytes, bytes + rule.begin + rule.size);
    WasmMapper mapper(one, alone);
    eachPiece(rule, pieces, [&](uint32_t from, uint32_t to) { mapper.map(work.data(), from, to); });
    const size_t after = countEqual(work.data() + rule.begin, target + rule.begin, rule.size);
    if (after < before + kEntryCosts * maps[k].from.size()) maps[k] = ValueMap();
  }
  return maps;
}

}  // namespace shoal::delta
