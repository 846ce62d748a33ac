// The second kernel: merge the filters of each bucket and convolve. Merged filters are never stored. This is what its
// forms share (convolve_lanes.h, convolve_warps.h).
#pragma once

#include "activation.h"
#include "front.h"

namespace haste::cuda {

struct ConvolveArgs {
  LayerPlan layer;
  Epilogue epilogue;
  const void* weights;  // [tiles][C][taps][tile], zero beyond the last filter (pack.h)
  const float* gain;    // [M] of a corrected run, or null
  const float* bias;    // [M]
  TensorView y_view, z_view;
  void* y;
  const void* z;  // or null
  int64_t grid_h, grid_w;
  int64_t first_patch, patches;  // of this launch
  int64_t blocks;                // along the patches, of convolve_lanes.h
  WarpGrid grid;                 // of convolve_warps.h
  const PatchHeader* headers;
  const Member* members;
  const int* first;
  const float* windows;
  int first_pitch;
};

// The buckets of a patch.
struct BucketLists {
  PatchHeader header;
  const Member* members;
  const int* first;
  const float* windows;  // [buckets][merged_pitch]

  HASTE_DEVICE void range(int bucket, int* begin, int* end) const {
    *begin = bucket < header.singles ? bucket : first[bucket - header.singles];
    *end = bucket < header.singles ? bucket + 1 : first[bucket - header.singles + 1];
  }
};

// local: index of the patch in its launch.
HASTE_DEVICE BucketLists lists_of(const ConvolveArgs& args, int64_t local) {
  const LayerPlan& layer = args.layer;
  return {args.headers[local], args.members + local * layer.channels, args.first + local * args.first_pitch,
          args.windows + local * layer.channels * layer.merged_pitch};
}

// Sums of a patch's pixels as the threads that computed them leave them: [groups][outputs][channels], to be added over
// the groups. The first is output `pass * outputs` of the patch and output channel `first_channel`.
struct PixelSums {
  const float* sums;
  int groups, outputs, channels;
  int pass, first_channel;
};

// Adds the groups' sums, applies gain, bias and residual, and stores the pixels of a patch that exist.
template <class T>
HASTE_DEVICE void store_pixels(const ConvolveArgs& args, const PixelSums& from, int64_t patch, int thread,
                               int threads) {
  const LayerPlan& layer = args.layer;
  const int64_t per_image = args.grid_h * args.grid_w;
  const int64_t image = patch / per_image, in_image = patch % per_image;
  const int64_t top = in_image / args.grid_w * layer.patch, left = in_image % args.grid_w * layer.patch;
  T* const y = static_cast<T*>(args.y) + image * args.y_view.image();
  const T* const z = args.z ? static_cast<const T*>(args.z) + image * args.z_view.image() : nullptr;
  const int count = from.channels * from.outputs;
  for (int i = thread; i < count; i += threads) {
    // Neighbouring threads write neighbouring addresses: channels of a block, or pixels of a row.
    const int output = args.y_view.blocked ? i / from.channels : i % from.outputs;
    const int channel = args.y_view.blocked ? i % from.channels : i / from.outputs;
    const int pixel = from.pass * from.outputs + output, m = from.first_channel + channel;
    const int64_t row = top + pixel / layer.patch, column = left + pixel % layer.patch;
    if (pixel >= layer.patch * layer.patch || m >= layer.filters) continue;
    if (row >= args.y_view.height || column >= args.y_view.width) continue;
    float sum = 0.0f;
    HASTE_UNROLL_4
    for (int group = 0; group < from.groups; group++)
      sum += from.sums[group * count + output * from.channels + channel];
    sum = (args.gain ? args.gain[m] * sum : sum) + args.bias[m];
    const int64_t at = row * args.y_view.width + column;
    if (z) sum += to_float(z[args.z_view.channel(m) + at * args.z_view.pixel_step()]);
    y[args.y_view.channel(m) + at * args.y_view.pixel_step()] = from_float<T>(activate(args.epilogue, sum));
  }
}

}  // namespace haste::cuda
