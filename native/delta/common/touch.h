// Base and target may lie in scratch memory: whoever goes through them says how far.
#ifndef SHOAL_DELTA_TOUCH_H
#define SHOAL_DELTA_TOUCH_H

#include <cstddef>

#include "scratch/scratch.h"

namespace shoal::delta {

// One for each thread.
class Touch {
 public:
  // `bytes` in a row.
  void operator()(size_t bytes) {
    if (bytes > left_) left_ = shoal_scratch_check();
    left_ -= bytes < left_ ? bytes : left_;
  }
  // A place anywhere.
  void place() { (*this)(SHOAL_SCRATCH_TOUCH); }

 private:
  size_t left_ = 0;
};

}  // namespace shoal::delta

#endif
