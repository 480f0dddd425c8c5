// Maps of values learned from what fields that belong together hold. Internal C++ interface of the encoder.
#ifndef SHOAL_DELTA_LEARN_H
#define SHOAL_DELTA_LEARN_H

#include <cstddef>
#include <cstdint>
#include <vector>

#include "delta/coding/maps.h"

namespace shoal::delta {

// A value of the base, what it becomes, and how often it does.
struct ValuePair {
  uint32_t from, to, times = 1;
};

// Values, ascending, each with what most say that it becomes.
std::vector<ValuePair> settle(std::vector<ValuePair>& votes);
// Pairs ascending by value. What is said too rarely to be worth an entry is left out.
ValueMap mapOf(const std::vector<ValuePair>& pairs);
// A map for these values of what is shared.
ValueMap sharedMap(const std::vector<ValuePair>& pairs, std::vector<uint32_t>& values);
void sortUnique(std::vector<uint32_t>& values);

}  // namespace shoal::delta

#endif
