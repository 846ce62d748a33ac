// Merging and convolving where a lane has one output channel: patches of 3, and whatever convolve_warps.h does not
// take.
//
// A block owns a tile of output channels, keeps its weights in shared memory where they fit, and walks over patches,
// one per warp at a time. A lane owns one output channel of the tile and all output pixels of the patch; where a tile
// has fewer than 32 channels the warp's lane groups take every second or fourth bucket and add up at the end.
#pragma once

#include "convolve.h"

namespace haste::cuda {

// One patch as a lane sees it.
template <class T>
struct LaneWork {
  const T* weights;  // of this lane's output channel: [C][taps] at distance `tile`
  BucketLists lists;
};

// Sum of a bucket's filters at kTaps taps.
template <int kTaps, int kTile, class T>
HASTE_DEVICE void merge_filters(const LaneWork<T>& work, int bucket, float* tap) {
  HASTE_UNROLL
  for (int t = 0; t < kTaps; t++) tap[t] = 0.0f;
  int begin, end;
  work.lists.range(bucket, &begin, &end);
  for (int i = begin; i < end; i++) {
    const Member member = work.lists.members[i];
    const T* const w = work.weights + static_cast<int64_t>(member.channel) * (kTaps * kTile);
    HASTE_UNROLL
    for (int t = 0; t < kTaps; t++) tap[t] += member.coefficient * to_float(w[t * kTile]);
  }
}

// 3x3 filters, 3x3 patches: F(3,3) along y with points 0, 1, -1, 2, infinity, 45 multiply-adds in place of 81. Windows
// arrive transformed (transform_column); filters are transformed here, after the merge, in registers.
template <int kTile, class T>
struct Winograd3x3 {
  static constexpr int kOutputs = 9;

  static HASTE_DEVICE void run(const LayerPlan&, const LaneWork<T>& work, int group, int groups, int, float* y) {
    float sum[5][3];
    HASTE_UNROLL
    for (int i = 0; i < 15; i++) sum[i / 3][i % 3] = 0.0f;
    for (int bucket = group; bucket < work.lists.header.buckets; bucket += groups) {
      float d[28];
      HASTE_UNROLL
      for (int i = 0; i < 7; i++) load4(work.lists.windows + static_cast<int64_t>(bucket) * 28 + 4 * i, d + 4 * i);
      float tap[9];
      merge_filters<9, kTile>(work, bucket, tap);
      HASTE_UNROLL
      for (int kx = 0; kx < 3; kx++) {
        const float g0 = tap[kx], g1 = tap[3 + kx], g2 = tap[6 + kx];
        const float even = g0 + g2;
        const float g[5] = {g0, even + g1, even - g1, (g0 + 2.0f * g1) + 4.0f * g2, g2};
        HASTE_UNROLL
        for (int point = 0; point < 5; point++) {
          HASTE_UNROLL
          for (int x = 0; x < 3; x++) sum[point][x] += g[point] * d[point * 5 + x + kx];
        }
      }
    }
    HASTE_UNROLL
    for (int x = 0; x < 3; x++) {
      const float even = sum[1][x] + sum[2][x];
      y[x] = sum[0][x] + even + sum[3][x];
      y[3 + x] = (sum[1][x] - sum[2][x]) + 2.0f * sum[3][x];
      y[6 + x] = even + 4.0f * sum[3][x] + sum[4][x];
    }
  }
};

// 1x1 filters, 3x3 patches.
template <int kTile, class T>
struct Direct1x1 {
  static constexpr int kOutputs = 9;

  static HASTE_DEVICE void run(const LayerPlan&, const LaneWork<T>& work, int group, int groups, int, float* y) {
    HASTE_UNROLL
    for (int i = 0; i < 9; i++) y[i] = 0.0f;
    for (int bucket = group; bucket < work.lists.header.buckets; bucket += groups) {
      float d[12];
      HASTE_UNROLL
      for (int i = 0; i < 3; i++) load4(work.lists.windows + static_cast<int64_t>(bucket) * 12 + 4 * i, d + 4 * i);
      float tap;
      merge_filters<1, kTile>(work, bucket, &tap);
      HASTE_UNROLL
      for (int i = 0; i < 9; i++) y[i] += tap * d[i];
    }
  }
};

// Any filter and any patch, 16 output pixels per pass; each tap is merged when it is needed.
template <int kTile, class T>
struct Generic {
  static constexpr int kOutputs = 16;

  static HASTE_DEVICE void run(const LayerPlan& layer, const LaneWork<T>& work, int group, int groups, int pass,
                               float* y) {
    int corner[kOutputs];  // of the window of an output pixel; pixels beyond the patch repeat the last one
    HASTE_UNROLL
    for (int i = 0; i < kOutputs; i++) {
      const int pixel = min_of(pass * kOutputs + i, layer.patch * layer.patch - 1);
      corner[i] = pixel / layer.patch * layer.window_w + pixel % layer.patch;
      y[i] = 0.0f;
    }
    const int taps = layer.kernel_h * layer.kernel_w;
    for (int bucket = group; bucket < work.lists.header.buckets; bucket += groups) {
      const float* const window = work.lists.windows + static_cast<int64_t>(bucket) * layer.merged_pitch;
      int begin, end;
      work.lists.range(bucket, &begin, &end);
      for (int t = 0; t < taps; t++) {
        float tap = 0.0f;
        for (int j = begin; j < end; j++) {
          const Member member = work.lists.members[j];
          tap += member.coefficient * to_float(work.weights[(static_cast<int64_t>(member.channel) * taps + t) * kTile]);
        }
        const float* const at = window + t / layer.kernel_w * layer.window_w + t % layer.kernel_w;
        HASTE_UNROLL
        for (int i = 0; i < kOutputs; i++) y[i] += tap * at[corner[i]];
      }
    }
  }
};

template <template <int, class> class Method, int kTile, bool kResident, class T>
HASTE_DEVICE void convolve_block(const ConvolveArgs& args, const Block& block, unsigned char* shared) {
  using Lane = Method<kTile, T>;
  const LayerPlan& layer = args.layer;
  const int taps = layer.kernel_h * layer.kernel_w;
  const int64_t tile_size = static_cast<int64_t>(layer.channels) * taps * kTile;
  const int tile = block.index_x;
  const T* const tile_weights = static_cast<const T*>(args.weights) + tile * tile_size;
  float* const all_sums = reinterpret_cast<float*>(shared);
  T* const staged = reinterpret_cast<T*>(all_sums + kConvolveWarps * kWarp * Lane::kOutputs);
  if (kResident) {
    block.run([&](int thread) {
      constexpr int kPerLoad = static_cast<int>(16 / sizeof(T));  // a tile is a multiple of 16 bytes
      HASTE_UNROLL_4
      for (int64_t i = thread; i < tile_size / kPerLoad; i += block.count) {
        load4(reinterpret_cast<const float*>(tile_weights) + 4 * i, reinterpret_cast<float*>(staged) + 4 * i);
      }
    });
  }
  block.each_warp([&](int warp) {
    float* const sums = all_sums + warp * kWarp * Lane::kOutputs;
    for (int64_t local = block.index_y * int64_t{kConvolveWarps} + warp; local < args.patches;
         local += args.blocks * kConvolveWarps) {
      for (int pass = 0; pass < layer.passes; pass++) {
        run_lanes([&](int lane) {
          const int in_tile = lane % kTile, group = lane / kTile;
          const T* const weights = kResident ? staged : tile_weights;
          const LaneWork<T> work{weights + in_tile, lists_of(args, local)};
          float y[Lane::kOutputs];
          Lane::run(layer, work, group, kWarp / kTile, pass, y);
          HASTE_UNROLL
          for (int i = 0; i < Lane::kOutputs; i++) sums[(group * Lane::kOutputs + i) * kTile + in_tile] = y[i];
        });
        run_lanes([&](int lane) {
          const PixelSums from{sums, kWarp / kTile, Lane::kOutputs, kTile, pass, tile * kTile};
          store_pixels<T>(args, from, args.first_patch + local, lane, kWarp);
        });
      }
    }
  });
}

}  // namespace haste::cuda
