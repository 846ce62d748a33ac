// Convolving where a warp takes 32 output channels and all pixels of a patch: what the forms on tensor cores
// (convolve_matrix.h) and on multiply-add units (convolve_rows.h) share.
//
// A warp works on eight buckets at a step. A lane merges the filters of two of them for four output channels, so that
// every element is merged once. Windows lie in shared memory for all warps of a block that work on the same buckets:
// `output_warps` with different output channels. `bucket_warps` go through different buckets of the patch, so that few
// patches also fill a GPU; the sums of those are added at the end.
//
// Weights are read once per patch, by rows of 32 output channels, from L2: what a large patch is for.
//
// A Form has
//   State                       what a lane keeps; `filters` is a LaneFilters<Form::kTaps>
//   kTaps                       taps of one kernel row that are merged together
//   Pixel, kSlots, pitch()      staged windows of a step: Pixel [kSlots][pitch]
//   kScratchBytes               shared memory of a warp beside them
//   start(), stage(), multiply(), leave()
#pragma once

#include "convolve.h"

namespace haste::cuda {

// Lane 4 g + t merges output channels 4 g to 4 g + 3 of buckets t and t + 4.
HASTE_DEVICE int lane_channels(int lane) {
  return lane / 4 * 4;
}
HASTE_DEVICE int lane_bucket(int lane) {
  return lane % 4;
}

// Of a warp, between two barriers.
HASTE_DEVICE int buckets_per_round(const WarpGrid& grid) {
  return grid.steps * kBucketsPerStep;
}

// A warp's place in its block.
struct WarpRole {
  int output_warp, bucket_warp;

  HASTE_DEVICE WarpRole(const WarpGrid& grid, int warp)
      : output_warp(warp % grid.output_warps), bucket_warp(warp / grid.output_warps) {}

  // First of the buckets that the warp takes in a round.
  HASTE_DEVICE int first_bucket(const WarpGrid& grid, int round) const {
    return (round * grid.bucket_warps + bucket_warp) * buckets_per_round(grid);
  }
};

// The two buckets of a step that a lane merges, and of each the first member.
struct LaneBuckets {
  int begin[2], count[2];
  Member first[2];
};

// Loads are sent before what comes next is multiplied: the buckets of the next step, and weights of the first members
// at the next taps. Most buckets have no other member.
template <int kTaps>
struct LaneFilters {
  LaneBuckets buckets, next_buckets;
  float first[2][kTaps][4];   // [bucket][tap][output channel]
  float merged[2][kTaps][4];  // likewise
};

HASTE_DEVICE LaneBuckets find_buckets(const BucketLists& lists, int first_bucket, int lane) {
  LaneBuckets found{};
  HASTE_UNROLL
  for (int i = 0; i < 2; i++) {
    const int bucket = first_bucket + lane_bucket(lane) + 4 * i;
    if (bucket >= lists.header.buckets) continue;
    int end = 0;
    lists.range(bucket, &found.begin[i], &end);
    found.count[i] = end - found.begin[i];
    found.first[i] = lists.members[found.begin[i]];
  }
  return found;
}

// weights, here and in what follows: [C][taps][tile] from the first of kTaps taps and this lane's output channels on.
template <int kTaps, class T>
HASTE_DEVICE void load_filter(const LayerPlan& layer, const T* weights, int channel, float (*w)[4]) {
  const T* const filter = weights + static_cast<int64_t>(channel) * layer.kernel_h * layer.kernel_w * layer.tile;
  HASTE_UNROLL
  for (int tap = 0; tap < kTaps; tap++) load4(filter + static_cast<int64_t>(tap) * layer.tile, w[tap]);
}

template <int kTaps, class T>
HASTE_DEVICE void load_first(LaneFilters<kTaps>& filters, const LayerPlan& layer, const T* weights) {
  HASTE_UNROLL
  for (int i = 0; i < 2; i++) {
    const LaneBuckets& buckets = filters.buckets;
    if (buckets.count[i] > 0) load_filter<kTaps>(layer, weights, buckets.first[i].channel, filters.first[i]);
  }
}

// Member j of a lane's bucket i; beyond the last one it is that one, with nothing to contribute.
HASTE_DEVICE Member member_of(const BucketLists& lists, const LaneBuckets& buckets, int i, int j) {
  const int last = buckets.count[i] - 1;
  Member member = buckets.first[i];
  if (last > 0) member = lists.members[buckets.begin[i] + min_of(j, last)];
  if (j > last) member.coefficient = 0.0f;
  return member;
}

// Merges the filters of a lane's two buckets. Two members of each are loaded at once, and those after them are looked
// up before: a large bucket then waits for L2 once for every two of its members.
template <int kTaps, class T>
HASTE_DEVICE void merge_lane(LaneFilters<kTaps>& filters, const LayerPlan& layer, const BucketLists& lists,
                             const T* weights) {
  const LaneBuckets& buckets = filters.buckets;
  HASTE_UNROLL
  for (int i = 0; i < 2; i++) {
    HASTE_UNROLL
    for (int k = 0; k < 4 * kTaps; k++) {
      const float product = buckets.first[i].coefficient * filters.first[i][k / 4][k % 4];
      filters.merged[i][k / 4][k % 4] = buckets.count[i] > 0 ? product : 0.0f;
    }
  }
  const int most = buckets.count[0] > buckets.count[1] ? buckets.count[0] : buckets.count[1];
  if (most < 2) return;
  Member next[4];  // of bucket i at i and i + 2
  HASTE_UNROLL
  for (int i = 0; i < 4; i++) next[i] = member_of(lists, buckets, i % 2, 1 + i / 2);
  for (int j = 1; j < most; j += 2) {
    const Member member[4] = {next[0], next[1], next[2], next[3]};
    float w[4][kTaps][4];
    HASTE_UNROLL
    for (int i = 0; i < 4; i++) {
      load_filter<kTaps>(layer, weights, member[i].channel, w[i]);
      next[i] = member_of(lists, buckets, i % 2, j + 2 + i / 2);
    }
    HASTE_UNROLL
    for (int k = 0; k < 16 * kTaps; k++) {
      const int i = k / (4 * kTaps), tap = k / 4 % kTaps;
      filters.merged[i % 2][tap][k % 4] += member[i].coefficient * w[i][tap][k % 4];
    }
  }
}

// Shared memory of a block: two buffers of staged windows for each of its bucket warps, then every warp's scratch.
template <class Form>
HASTE_DEVICE typename Form::Pixel* staged_windows(const LayerPlan& layer, const WarpGrid& grid, int buffer,
                                                  unsigned char* shared) {
  return reinterpret_cast<typename Form::Pixel*>(shared) +
         int64_t{buffer} * grid.steps * Form::kSlots * Form::pitch(layer);
}

template <class Form>
HASTE_DEVICE unsigned char* scratch_of(const LayerPlan& layer, const WarpGrid& grid, int warp, unsigned char* shared) {
  return reinterpret_cast<unsigned char*>(staged_windows<Form>(layer, grid, 2 * grid.bucket_warps, shared)) +
         warp * Form::kScratchBytes;
}

// Brings the windows of a round; zeros behind the last bucket.
template <class Form>
HASTE_DEVICE void stage_windows(const LayerPlan& layer, const WarpGrid& grid, const BucketLists& lists, int round,
                                int thread, unsigned char* shared) {
  const WarpRole role(grid, thread / kWarp);
  const int first_bucket = role.first_bucket(grid, round), threads = grid.output_warps * kWarp;
  const int fours = layer.merged_pitch / 4;
  auto* const to = staged_windows<Form>(layer, grid, round % 2 * grid.bucket_warps + role.bucket_warp, shared);
  for (int i = thread % threads; i < grid.steps * Form::kSlots * fours; i += threads) {
    const int slot = i / fours, pixel = i % fours * 4;  // slots count on over the steps
    const int bucket = first_bucket + slot / Form::kSlots * kBucketsPerStep + slot % Form::kSlots;
    Form::stage(layer, lists, bucket, pixel, to + slot * Form::pitch(layer) + pixel);
  }
}

// Four pixels of a bucket's window.
HASTE_DEVICE void load_window(const LayerPlan& layer, const BucketLists& lists, int bucket, int pixel, float* value) {
  HASTE_UNROLL
  for (int i = 0; i < 4; i++) value[i] = 0.0f;
  if (bucket < lists.header.buckets) load4(lists.windows + int64_t{bucket} * layer.merged_pitch + pixel, value);
}

// A warp's share of a round. weights: [C][taps][tile] from the warp's first output channel on.
template <class Form, class T>
HASTE_DEVICE void multiply_round(ThreadStates<typename Form::State>& states, const ConvolveArgs& args,
                                 const BucketLists& lists, const T* weights, int round, int warp,
                                 unsigned char* shared) {
  const LayerPlan& layer = args.layer;
  const WarpGrid& grid = args.grid;
  const WarpRole role(grid, warp);
  const auto* const windows =
      staged_windows<Form>(layer, grid, round % 2 * grid.bucket_warps + role.bucket_warp, shared);
  unsigned char* const scratch = scratch_of<Form>(layer, grid, warp, shared);
  const int taps = layer.kernel_h * layer.kernel_w;
  for (int step = 0; step < grid.steps; step++) {
    const int bucket = role.first_bucket(grid, round) + step * kBucketsPerStep;
    if (bucket >= lists.header.buckets) return;
    const bool last_step = step + 1 == grid.steps;
    const int next_bucket = last_step ? role.first_bucket(grid, round + 1) : bucket + kBucketsPerStep;
    each_lane(warp, [&](int thread) {
      states.of(thread).filters.next_buckets = find_buckets(lists, next_bucket, thread % kWarp);
    });
    int row = 0, column = 0;  // of the taps in the kernel
    for (int tap = 0; tap < taps; tap += Form::kTaps) {
      const bool last_taps = tap + Form::kTaps == taps;
      each_lane(warp, [&](int thread) {
        auto& filters = states.of(thread).filters;
        const T* const own = weights + lane_channels(thread % kWarp);
        merge_lane(filters, layer, lists, own + tap * layer.tile);
        if (last_taps) filters.buckets = filters.next_buckets;
        load_first(filters, layer, own + (last_taps ? 0 : tap + Form::kTaps) * layer.tile);
      });
      const auto* const moved = windows + step * Form::kSlots * Form::pitch(layer) + row * layer.window_w + column;
      Form::multiply(states, layer, moved, warp, scratch);
      column += Form::kTaps;
      if (column == layer.kernel_w) column = 0, row++;
    }
  }
}

template <class Form, class T>
HASTE_DEVICE void convolve_warps_block(const ConvolveArgs& args, const Block& block, unsigned char* shared) {
  const LayerPlan& layer = args.layer;
  const WarpGrid& grid = args.grid;
  const int output_block = block.index_x % grid.output_blocks;
  const int pass = block.index_x / grid.output_blocks % layer.passes;
  const int64_t local = block.index_x / grid.output_blocks / layer.passes;
  const int channels = grid.output_warps * kWarpChannels, first_channel = output_block * channels;
  const BucketLists lists = lists_of(args, local);
  const int per_round = grid.bucket_warps * buckets_per_round(grid);
  const int rounds = (lists.header.buckets + per_round - 1) / per_round;
  const auto weights_of = [&](int warp) {
    return static_cast<const T*>(args.weights) + first_channel + WarpRole(grid, warp).output_warp * kWarpChannels;
  };
  ThreadStates<typename Form::State> states(block);
  block.run([&](int thread) {
    auto& state = states.of(thread);
    const int warp = thread / kWarp, lane = thread % kWarp;
    Form::start(state, layer, pass, lane);
    state.filters.buckets = find_buckets(lists, WarpRole(grid, warp).first_bucket(grid, 0), lane);
    load_first(state.filters, layer, weights_of(warp) + lane_channels(lane));
    if (rounds > 0) stage_windows<Form>(layer, grid, lists, 0, thread, shared);
  });
  for (int round = 0; round < rounds; round++) {
    // While one buffer is multiplied the next round's windows arrive in the other.
    if (round + 1 < rounds) {
      block.run_unsynced([&](int thread) { stage_windows<Form>(layer, grid, lists, round + 1, thread, shared); });
    }
    block.each_warp(
        [&](int warp) { multiply_round<Form>(states, args, lists, weights_of(warp), round, warp, shared); });
    block.barrier();
  }
  float* const sums = reinterpret_cast<float*>(shared);
  block.run([&](int thread) {
    const WarpRole role(grid, thread / kWarp);
    const int lane = thread % kWarp;
    float* const of_warp =
        sums + role.bucket_warp * layer.outputs * channels + role.output_warp * kWarpChannels + lane_channels(lane);
    Form::leave(states.of(thread), lane, channels, of_warp);
  });
  block.run([&](int thread) {
    const PixelSums from{sums, grid.bucket_warps, layer.outputs, channels, pass, first_channel};
    store_pixels<T>(args, from, args.first_patch + local, thread, block.count);
  });
}

}  // namespace haste::cuda
