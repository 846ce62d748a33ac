// Launch geometry, shared memory and workspace of HasteConv on a GPU, computed without one.
//
// Letters as in docs/operator.md: C, M channels, p patch, q window, L hyperplanes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "haste/haste.h"

namespace haste::cuda {

// How a patch is convolved: a lane an output channel (convolve_lanes.h), or a warp 32 of them, on tensor cores
// (convolve_matrix.h) or on multiply-add units (convolve_rows.h).
enum class Shape { kWinograd3x3, kDirect1x1, kGeneric, kMatrix, kRows };

// Of convolve_warps.h.
inline bool has_grid(Shape shape) {
  return shape == Shape::kMatrix || shape == Shape::kRows;
}

// What a plan needs to know of a GPU.
struct DeviceLimits {
  int multiprocessors;
  size_t shared_per_block;  // the opt-in maximum
  size_t shared_per_multiprocessor;
  size_t l2;      // bytes of cache
  int registers;  // per block
  bool matrix;    // tensor cores that are worth three TF32 products for one of float32
};

// A part of a block's working memory: in shared memory, or in the block's slot of the workspace where it is too large.
struct Region {
  bool shared;
  size_t offset;  // bytes from the start of shared memory or of the slot
};

constexpr int kConvolveWarps = 8;   // of a block of convolve_lanes.h
constexpr int kWarpChannels = 32;   // output channels of a warp of convolve_warps.h
constexpr int kBucketsPerStep = 8;  // that it multiplies at once
constexpr int kMaxGridWarps = 8;    // of its block
constexpr int kFrontThreads = 256;  // of a block of the front kernel, or more where few blocks fit
constexpr int kMaxFrontThreads = 1024;
constexpr int kMaxFrontPatches = 8;  // patches of one block of the front kernel

// What follows from a layer and a GPU alone.
struct LayerPlan {
  int channels, filters, kernel_h, kernel_w, patch;
  int window_h, window_w, window;  // q_h, q_w, q_h * q_w
  int merged_pitch;                // floats between merged windows in the workspace: a multiple of four
  int outputs;                     // pixels of a pass
  int passes;                      // over the buckets of a patch: more than one only where it has more pixels
  Shape shape;
  int tile;        // output channels that are packed together. Of convolve_lanes.h those of a block, 32, 16 or 8: then
                   // 32/tile lane groups share a patch's buckets. Else all of them, in multiples of 32
  bool resident;   // convolve_lanes.h: a block keeps the weights of its tile in shared memory
  size_t element;  // bytes of a stored activation or weight
  size_t convolve_shared;
  int tiles() const { return (filters + tile - 1) / tile; }
  int taps() const { return kernel_h * kernel_w; }
};

// Everything that a front block works with, for one patch each (the pitches say how far patches are apart).
struct FrontPlan {
  int patches_per_block;
  int lanes;             // threads per patch
  int hyperplane_group;  // hyperplanes projected together
  int sort_size;         // C rounded up to a power of two
  int projection_pitch;  // floats between hyperplanes
  int channel_pitch;     // floats between pixels of gathered windows: odd, so that lanes hit all banks either way
  int bucket_pitch;      // likewise, of the buckets' windows
  Region windows;        // float [window][channel_pitch]
  Region projections;    // with their partial sums and means
  Region buckets;        // float [window][bucket_pitch], where there is room in place of projections, no longer needed
  Region keys;           // uint64 [sort_size]: code << 32 | channel
  Region lists;  // float coefficient [C], int head [C], int staying [C], int asleep [C], int state [C], uint64 scan
                 // [2][C], totals
  size_t windows_pitch, projections_pitch, buckets_pitch, keys_pitch, lists_pitch;  // bytes
  size_t shared, slot;                                                              // bytes per block
  int threads() const { return lanes * patches_per_block; }
};

// How a block of convolve_warps.h is cut.
struct WarpGrid {
  int output_warps;   // warps with output channels of their own, on the same buckets
  int bucket_warps;   // warps with buckets of their own, on the same output channels
  int output_blocks;  // blocks of a patch along the output channels
  int steps;          // of kBucketsPerStep buckets between two barriers
  size_t shared;      // bytes per block
  int warps() const { return output_warps * bucket_warps; }
};

// One run: how its patches are cut into launches and what they need.
struct RunPlan {
  int64_t out_height, out_width, grid_h, grid_w;
  int64_t patches;  // of the whole batch
  int64_t chunk;    // patches of one pair of launches
  FrontPlan front;
  int first_pitch;          // ints kept per patch for the beginnings of its merged buckets
  int front_blocks;         // of a full chunk
  int64_t convolve_blocks;  // along the patches, of convolve_lanes.h
  WarpGrid grid;            // of convolve_warps.h
  size_t members_at, first_at, windows_at, headers_at, slots_at, counters_at;  // offsets in the workspace
  size_t workspace;                                                            // bytes
};

// element: bytes of a stored value, 4 or 2.
LayerPlan plan_layer(const haste_conv_params& params, size_t element, const DeviceLimits& limits);

// The same plan serves every number of hyperplanes. The kernel must fit the padded input.
RunPlan plan_run(const LayerPlan& layer, const haste_conv_params& params, const DeviceLimits& limits, int64_t batch,
                 int64_t height, int64_t width);

}  // namespace haste::cuda
