// Ternary hyperplanes as lists of additions.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels.h"

namespace haste {

// The plans of one layer, one per number of hyperplanes in use, each made when it is first asked for.
class Hyperplanes {
 public:
  // rows: int8 [count][geometry.window], checked by the caller to be ternary.
  Hyperplanes(const Geometry& geometry, const int8_t* rows, int count);
  const HashPlan* plan(int hyperplanes) const;

 private:
  struct Plan {
    HashPlan view;
    std::vector<HashPair> pairs;
    std::vector<HashStep> steps;
  };
  std::unique_ptr<Plan> make(int hyperplanes) const;

  std::vector<std::vector<HashStep>> rows_;  // per hyperplane, offset[0] and sign[0] in use
  int32_t zero_offset_;
  mutable std::mutex mutex_;
  mutable std::unique_ptr<Plan> plans_[kMaxHyperplanes + 1];
  mutable std::atomic<const Plan*> ready_[kMaxHyperplanes + 1] = {};
};

// Where each element of a slot lies in the strip, in floats; elements past the window lie where the strip is zero.
std::vector<int32_t> window_offsets(const Geometry& geometry);

}  // namespace haste
