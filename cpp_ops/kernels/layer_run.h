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

// The run that a call asks for, whose sizes and hyperplanes were checked; without its correction.
inline LayerRun layer_run(const haste_conv& conv, const haste_conv_run_args& args, int64_t out_height,
                          int64_t out_width, const uint32_t* labels) {
  LayerRun run{conv, conv.geometry, args};
  run.out_height = out_height, run.out_width = out_width;
  run.rows = ceil_div(out_height, run.g.patch);
  run.columns = ceil_div(out_width, run.g.patch);
  run.patches = args.batch * run.rows * run.columns;
  run.plan = args.hyperplanes > 0 && !labels ? conv.hyperplanes->plan(static_cast<int>(args.hyperplanes)) : nullptr;
  run.labels = labels;
  run.gain = conv.unit_gain.data();
  run.bias = conv.bias.data();
  return run;
}

}  // namespace haste
