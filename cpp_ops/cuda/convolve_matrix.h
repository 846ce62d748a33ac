// Merging and convolving on tensor cores (mma.h says why the result is as good as float32's).
//
// The direct convolution of a patch is, tap by tap, a product of matrices: merged filters [output channels][buckets]
// times pixels of the buckets' windows, moved by the tap [buckets][pixels]. A warp takes 32 output channels and all
// pixels of a patch, eight buckets at a step. A lane merges just those elements of the filters that it holds as a
// factor, so they exist nowhere else. Windows are split into their TF32 parts as they enter shared memory, where all
// warps of the block that work on the same buckets find them: `output_warps` with different output channels.
// `bucket_warps` go through different buckets of the patch, so that few patches also fill a GPU; the sums of those are
// added at the end.
//
// Weights are read once per patch, by rows of 32 output channels from L2: what a large patch is for.
#pragma once

#include "convolve.h"
#include "mma.h"

namespace haste::cuda {

// The two buckets of a step that a lane merges, t and t + 4, and of each the first member.
struct LaneBuckets {
  int begin[2], count[2];
  Member first[2];
};

// kTaps taps of one kernel row are merged together.
template <int kPixelTiles, int kTaps>
struct MatrixState {
  // Rows g and g + 8 of A and D are output channels 4 g + 2 half and 4 g + 2 half + 1, so that a lane's four lie side
  // by side in memory. Columns of B and D are pixels, in tiles of eight.
  Sum sum[2][kPixelTiles];
  // Loads are sent before what comes next is multiplied: the buckets of the next step, and weights of the first members
  // at the next taps. Most buckets have no other member.
  LaneBuckets buckets, next_buckets;
  float first[2][kTaps][4];   // [bucket][tap][output channel 4 g + i]
  float merged[2][kTaps][4];  // likewise
  FactorA high[2], low[2];    // of one tap, [half]
  FactorB window_high[kPixelTiles], window_low[kPixelTiles];
  int corner[kPixelTiles];  // of the window of pixel g of a tile; pixels beyond the patch repeat the last one
};

// A pixel of the windows of buckets t and t + 4 of a step, as a lane wants it.
struct alignas(16) StagedPixel {
  FactorB high, low;
};

// Of a warp, between two barriers.
HASTE_DEVICE int buckets_per_round(const MatrixShape& shape) {
  return shape.steps * kBucketsPerStep;
}

// A thread's place in its block, and what its warp works on.
struct MatrixWarp {
  int output_warp, bucket_warp;

  HASTE_DEVICE MatrixWarp(const MatrixShape& shape, int warp)
      : output_warp(warp % shape.output_warps), bucket_warp(warp / shape.output_warps) {}

  // First of the buckets that this warp takes in a round.
  HASTE_DEVICE int first_bucket(const MatrixShape& shape, int round) const {
    return (round * shape.bucket_warps + bucket_warp) * buckets_per_round(shape);
  }
};

// Staged windows of a step: [4][staged_pitch], by bucket t. An even number of pixels apart that is not a multiple of
// four, so that the eight lanes that read 16 bytes at once hit different banks.
HASTE_DEVICE int staged_pitch(const LayerPlan& layer) {
  return layer.merged_pitch + 2;
}

HASTE_DEVICE StagedPixel* staged_windows(const LayerPlan& layer, const MatrixShape& shape, int round, int bucket_warp,
                                         unsigned char* shared) {
  const int buffer = round % 2 * shape.bucket_warps + bucket_warp;
  return reinterpret_cast<StagedPixel*>(shared) + int64_t{buffer} * shape.steps * 4 * staged_pitch(layer);
}

// Splits the windows of a round; zeros behind the last bucket.
HASTE_DEVICE void stage_windows(const LayerPlan& layer, const MatrixShape& shape, const BucketLists& lists, int round,
                                int thread, unsigned char* shared) {
  const MatrixWarp warp(shape, thread / kWarp);
  const int first_bucket = warp.first_bucket(shape, round), threads = shape.output_warps * kWarp;
  const int fours = layer.merged_pitch / 4;
  StagedPixel* const to = staged_windows(layer, shape, round, warp.bucket_warp, shared);
  for (int i = thread % threads; i < shape.steps * 4 * fours; i += threads) {
    const int t = i / fours, pixel = i % fours * 4;  // t counts on over the steps
    float value[2][4] = {};
    HASTE_UNROLL
    for (int j = 0; j < 2; j++) {
      const int bucket = first_bucket + t / 4 * kBucketsPerStep + t % 4 + 4 * j;
      if (bucket < lists.header.buckets) load4(lists.windows + int64_t{bucket} * layer.merged_pitch + pixel, value[j]);
    }
    HASTE_UNROLL
    for (int j = 0; j < 4; j++) {
      const Tf32Pair a = split_tf32(value[0][j]), b = split_tf32(value[1][j]);
      to[t * staged_pitch(layer) + pixel + j] = {{{a.high, b.high}}, {{a.low, b.low}}};
    }
  }
}

HASTE_DEVICE LaneBuckets find_buckets(const BucketLists& lists, int first_bucket, int lane) {
  LaneBuckets found{};
  HASTE_UNROLL
  for (int i = 0; i < 2; i++) {
    const int bucket = first_bucket + mma_member(lane) + 4 * i;
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

template <int kPixelTiles, int kTaps, class T>
HASTE_DEVICE void load_first(MatrixState<kPixelTiles, kTaps>& state, const LayerPlan& layer, const LaneBuckets& buckets,
                             const T* weights) {
  HASTE_UNROLL
  for (int i = 0; i < 2; i++) {
    if (buckets.count[i] > 0) load_filter<kTaps>(layer, weights, buckets.first[i].channel, state.first[i]);
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

// Merges this lane's elements of its two buckets' filters. Both are loaded at once, and the next members before them.
template <int kPixelTiles, int kTaps, class T>
HASTE_DEVICE void merge_factors(MatrixState<kPixelTiles, kTaps>& state, const LayerPlan& layer,
                                const BucketLists& lists, const T* weights) {
  const LaneBuckets& buckets = state.buckets;
  HASTE_UNROLL
  for (int i = 0; i < 2; i++) {
    HASTE_UNROLL
    for (int k = 0; k < 4 * kTaps; k++) {
      const float product = buckets.first[i].coefficient * state.first[i][k / 4][k % 4];
      state.merged[i][k / 4][k % 4] = buckets.count[i] > 0 ? product : 0.0f;
    }
  }
  const int most = buckets.count[0] > buckets.count[1] ? buckets.count[0] : buckets.count[1];
  if (most < 2) return;
  Member next[2] = {member_of(lists, buckets, 0, 1), member_of(lists, buckets, 1, 1)};
  for (int j = 1; j < most; j++) {
    const Member member[2] = {next[0], next[1]};
    float w[2][kTaps][4];
    HASTE_UNROLL
    for (int i = 0; i < 2; i++) {
      load_filter<kTaps>(layer, weights, member[i].channel, w[i]);
      next[i] = member_of(lists, buckets, i, j + 1);
    }
    HASTE_UNROLL
    for (int k = 0; k < 8 * kTaps; k++) {
      const int i = k / (4 * kTaps), tap = k / 4 % kTaps;
      state.merged[i][tap][k % 4] += member[i].coefficient * w[i][tap][k % 4];
    }
  }
}

// The factors of one tap. windows: of the step, moved by the tap.
template <int kPixelTiles, int kTaps>
HASTE_DEVICE void load_factors(MatrixState<kPixelTiles, kTaps>& state, const LayerPlan& layer,
                               const StagedPixel* windows, int tap, int lane) {
  HASTE_UNROLL
  for (int i = 0; i < 8; i++) {  // half, then element: row g or g + 8, bucket t or t + 4
    const int half = i / 4, row = i % 2, bucket = i / 2 % 2;
    const Tf32Pair pair = split_tf32(state.merged[bucket][tap][2 * half + row]);
    state.high[half].value[i % 4] = pair.high;
    state.low[half].value[i % 4] = pair.low;
  }
  const StagedPixel* const own = windows + mma_member(lane) * staged_pitch(layer);
  HASTE_UNROLL
  for (int tile = 0; tile < kPixelTiles; tile++) {
    const StagedPixel pixel = own[state.corner[tile]];
    state.window_high[tile] = pixel.high;
    state.window_low[tile] = pixel.low;
  }
}

// A warp's share of a round. weights: [C][taps][tile] from the warp's first output channel on.
template <int kPixelTiles, int kTaps, class T>
HASTE_DEVICE void multiply_round(ThreadStates<MatrixState<kPixelTiles, kTaps>>& states, const ConvolveArgs& args,
                                 const BucketLists& lists, const T* weights, int round, int warp,
                                 unsigned char* shared) {
  using State = MatrixState<kPixelTiles, kTaps>;
  const LayerPlan& layer = args.layer;
  const MatrixWarp role(args.matrix, warp);
  const StagedPixel* const windows = staged_windows(layer, args.matrix, round, role.bucket_warp, shared);
  const int first_bucket = role.first_bucket(args.matrix, round);
  const int taps = layer.kernel_h * layer.kernel_w;
  for (int step = 0; step < args.matrix.steps; step++) {
    const int bucket = first_bucket + step * kBucketsPerStep;
    if (bucket >= lists.header.buckets) return;
    const bool last_step = step + 1 == args.matrix.steps;
    const int next_bucket = last_step ? role.first_bucket(args.matrix, round + 1) : bucket + kBucketsPerStep;
    each_lane(warp,
              [&](int thread) { states.of(thread).next_buckets = find_buckets(lists, next_bucket, thread % kWarp); });
    int row = 0, column = 0;  // of the taps in the kernel
    for (int first_tap = 0; first_tap < taps; first_tap += kTaps) {
      const bool last_taps = first_tap + kTaps == taps;
      each_lane(warp, [&](int thread) {
        State& state = states.of(thread);
        const T* const own = weights + 4 * mma_group(thread % kWarp);
        merge_factors(state, layer, lists, own + first_tap * layer.tile);
        if (last_taps) state.buckets = state.next_buckets;
        load_first(state, layer, state.buckets, own + (last_taps ? 0 : first_tap + kTaps) * layer.tile);
      });
      const StagedPixel* const moved = windows + step * 4 * staged_pitch(layer) + row * layer.window_w + column;
      HASTE_UNROLL
      for (int tap = 0; tap < kTaps; tap++) {
        each_lane(warp, [&](int thread) { load_factors(states.of(thread), layer, moved + tap, tap, thread % kWarp); });
        HASTE_UNROLL
        for (int i = 0; i < 2 * kPixelTiles; i++) {
          const auto sum = [&](State& s) -> Sum& { return s.sum[i % 2][i / 2]; };
          const auto high = [&](State& s) -> FactorA& { return s.high[i % 2]; };
          const auto low = [&](State& s) -> FactorA& { return s.low[i % 2]; };
          const auto window_high = [&](State& s) -> FactorB& { return s.window_high[i / 2]; };
          const auto window_low = [&](State& s) -> FactorB& { return s.window_low[i / 2]; };
          mma_of_warp(states, warp, sum, low, window_high);  // small terms first
          mma_of_warp(states, warp, sum, high, window_low);
          mma_of_warp(states, warp, sum, high, window_high);
        }
      }
      column += kTaps;
      if (column == layer.kernel_w) column = 0, row++;
    }
  }
}

template <int kPixelTiles, int kTaps>
HASTE_DEVICE void clear_sums(MatrixState<kPixelTiles, kTaps>& state, const LayerPlan& layer, int pass, int lane) {
  HASTE_UNROLL
  for (int tile = 0; tile < kPixelTiles; tile++) {
    const int pixel = min_of((pass * kPixelTiles + tile) * 8 + mma_group(lane), layer.patch * layer.patch - 1);
    state.corner[tile] = pixel / layer.patch * layer.window_w + pixel % layer.patch;
    HASTE_UNROLL
    for (int i = 0; i < 8; i++) state.sum[i / 4][tile].value[i % 4] = 0.0f;
  }
}

// Leaves a lane's sums in shared memory, as store_pixels wants them.
template <int kPixelTiles, int kTaps>
HASTE_DEVICE void leave_sums(const MatrixState<kPixelTiles, kTaps>& state, const MatrixShape& shape, int thread,
                             float* sums) {
  const MatrixWarp warp(shape, thread / kWarp);
  const int lane = thread % kWarp, channels = shape.output_warps * kMatrixChannels;
  float* const own =
      sums + warp.bucket_warp * kPixelTiles * 8 * channels + warp.output_warp * kMatrixChannels + 4 * mma_group(lane);
  HASTE_UNROLL
  for (int i = 0; i < 2 * kPixelTiles; i++) {
    const int tile = i / 2, column = i % 2;
    const Sum &a = state.sum[0][tile], &b = state.sum[1][tile];
    const float four[4] = {a.value[column], a.value[2 + column], b.value[column], b.value[2 + column]};
    store4(own + (tile * 8 + 2 * mma_member(lane) + column) * channels, four);
  }
}

template <int kPixelTiles, int kTaps, class T>
HASTE_DEVICE void convolve_matrix_block(const ConvolveArgs& args, const Block& block, unsigned char* shared) {
  const LayerPlan& layer = args.layer;
  const MatrixShape& shape = args.matrix;
  const int output_block = block.index_x % shape.output_blocks;
  const int pass = block.index_x / shape.output_blocks % layer.passes;
  const int64_t local = block.index_x / shape.output_blocks / layer.passes;
  const int first_channel = output_block * shape.output_warps * kMatrixChannels;
  const BucketLists lists = lists_of(args, local);
  const int per_round = shape.bucket_warps * buckets_per_round(shape);
  const int rounds = (lists.header.buckets + per_round - 1) / per_round;
  const auto weights_of = [&](int warp) {
    return static_cast<const T*>(args.weights) + first_channel + MatrixWarp(shape, warp).output_warp * kMatrixChannels;
  };
  ThreadStates<MatrixState<kPixelTiles, kTaps>> states(block);
  block.run([&](int thread) {
    auto& state = states.of(thread);
    const int warp = thread / kWarp, lane = thread % kWarp;
    clear_sums(state, layer, pass, lane);
    state.buckets = find_buckets(lists, MatrixWarp(shape, warp).first_bucket(shape, 0), lane);
    load_first(state, layer, state.buckets, weights_of(warp) + 4 * mma_group(lane));
    if (rounds > 0) stage_windows(layer, shape, lists, 0, thread, shared);
  });
  for (int round = 0; round < rounds; round++) {
    // While one buffer is multiplied the next round's windows arrive in the other.
    if (round + 1 < rounds) {
      block.run_unsynced([&](int thread) { stage_windows(layer, shape, lists, round + 1, thread, shared); });
    }
    block.each_warp([&](int warp) { multiply_round(states, args, lists, weights_of(warp), round, warp, shared); });
    block.barrier();
  }
  float* const sums = reinterpret_cast<float*>(shared);
  block.run([&](int thread) { leave_sums(states.of(thread), shape, thread, sums); });
  block.run([&](int thread) {
    const PixelSums from{sums, shape.bucket_warps, kPixelTiles * 8, shape.output_warps * kMatrixChannels,
                         pass, first_channel};
    store_pixels<T>(args, from, args.first_patch + local, thread, block.count);
  });
}

}  // namespace haste::cuda
