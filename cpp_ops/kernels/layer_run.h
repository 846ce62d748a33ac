// What all parts of one run of a layer share: the layer, the call, and the sizes that follow from both.
#pragma once

#include "conv.h"

namespace haste {

struct LayerRun {
  const haste_conv& conv;
  const Geometry& g;
  const haste_conv_run_args& args;
  int64_t out_height, out_width;
  int64_t rows, columns, patches;  // of patches, in one image and in the batch
  const HashPlan* plan;            // nullptr: not hashed
  const uint32_t* labels;          // [N, patches, C] in place of hash codes, or nullptr
  uint32_t* codes_out;             // [N, patches, C]: codes are all that is wanted, or nullptr
  const float *gain, *bias;        // [blocks_out * 16]

  bool grouped() const { return plan || labels; }
};

}  // namespace haste
