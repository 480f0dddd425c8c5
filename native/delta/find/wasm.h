// What an encoder knows of WebAssembly modules in the target: how numbers of functions and addresses changed. Internal C++ interface.
#ifndef SHOAL_DELTA_WASM_H
#define SHOAL_DELTA_WASM_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/common/cover.h"
#include "delta/references/references.h"
#include "elf.h"
#include "learn.h"

namespace shoal::delta {

struct WasmModule {
  struct Stretch {
    uint64_t begin, end;
    RuleKind kind;
  };
  std::vector<Stretch> stretches;  // of code and of lists of functions
  std::vector<ValuePair> functions, constants;
};

// Modules in the target of which something was learned from what covers align.
std::vector<WasmModule> findWasm(const uint8_t* base, const uint8_t* target, size_t targetSize, const std::vector<Cover>& covers);
// Of what a module knows, the maps for a rule on `bytes`: of functions and of constants. Those that cost more than they gain are empty.
std::vector<ValueMap> wasmMaps(const WasmModule& module, const Rule& rule, const uint8_t* bytes, const uint8_t* target, const std::vector<Piece>& pieces);

}  // namespace shoal::delta

#endif
