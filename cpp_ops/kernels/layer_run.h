// What all parts of one run of a layer share: the layer, the call, and the sizes that follow from both.
#pragma once

#include "conv.h"

namespace haste {

struct LayerRun {
  const haste_conv& conv;
  const Geometry& g;
  const haste_conv_run_args& args;
  int64_t out_height = 0, out_width = 0;
  int64_t rows = 0, columns = 0, patches = 0;    // of patches, in one image and in the batch
  const HashPlan* plan = nullptr;                // nullptr: not hashed
  const uint32_t* labels = nullptr;              // [N, patches, C] in place of hash codes, or nullptr
  uint32_t* codes_out = nullptr;                 // [N, patches, C]: codes are all that is wanted, or nullptr
  const float *gain = nullptr, *bias = nullptr;  // [blocks_out * 16]

  bool grouped() const { return plan || labels; }
};

}  // namespace haste
