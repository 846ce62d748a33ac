// Convolving on tensor cores (mma.h says why the result is as good as float32's).
//
// The direct convolution of a patch is, tap by tap, a product of matrices: merged filters [output channels][buckets]
// times pixels of the buckets' windows, moved by the tap [buckets][pixels]. What a lane merges is just what it holds of
// the first factor, so merged filters exist nowhere else. Windows are split into their TF32 parts as they are staged.
#pragma once

#include "convolve_warps.h"
#include "mma.h"

namespace haste::cuda {

template <int kPixelTiles, int kTapsOfRow>
struct Matrix {
  static constexpr int kTaps = kTapsOfRow;

  struct State {
    LaneFilters<kTaps> filters;
    // Rows g and g + 8 of A and D are output channels 4 g + 2 half and 4 g + 2 half + 1, so that a lane's four lie side
    // by side in memory. Columns of B and D are pixels, in tiles of eight.
    Sum sum[2][kPixelTiles];
    FactorA high[2], low[2];  // of one tap, [half]
    FactorB window_high[kPixelTiles], window_low[kPixelTiles];
    int corner[kPixelTiles];  // of the window of pixel g of a tile; pixels beyond the patch repeat the last one
  };

  // Of the windows of buckets t and t + 4, as a lane wants it.
  struct alignas(16) Pixel {
    FactorB high, low;
  };
  static constexpr int kSlots = 4;
  // Even, but not a multiple of four: then the eight lanes that read 16 bytes at once hit different banks.
  static HASTE_DEVICE int pitch(const LayerPlan& layer) { return layer.merged_pitch + 2; }
  static HASTE_DEVICE int scratch_bytes() { return 0; }

  static HASTE_DEVICE void start(State& state, const LayerPlan& layer, int pass, int lane) {
    HASTE_UNROLL
    for (int tile = 0; tile < kPixelTiles; tile++) {
      const int pixel = min_of((pass * kPixelTiles + tile) * 8 + lane / 4, layer.patch * layer.patch - 1);
      state.corner[tile] = pixel / layer.patch * layer.window_w + pixel % layer.patch;
      HASTE_UNROLL
      for (int i = 0; i < 8; i++) state.sum[i / 4][tile].value[i % 4] = 0.0f;
    }
  }

  static HASTE_DEVICE void stage(const LayerPlan& layer, const BucketLists& lists, int bucket, int pixel, Pixel* to) {
    float value[2][4];
    load_window(layer, lists, bucket, pixel, value[0]);
    load_window(layer, lists, bucket + 4, pixel, value[1]);
    HASTE_UNROLL
    for (int i = 0; i < 4; i++) {
      const Tf32Pair a = split_tf32(value[0][i]), b = split_tf32(value[1][i]);
      to[i] = {{{a.high, b.high}}, {{a.low, b.low}}};
    }
  }

  static HASTE_DEVICE void load_factors(State& state, const LayerPlan& layer, const Pixel* windows, int tap, int lane) {
    HASTE_UNROLL
    for (int i = 0; i < 8; i++) {  // half, then element: row g or g + 8, bucket t or t + 4
      const int half = i / 4, row = i % 2, bucket = i / 2 % 2;
      const Tf32Pair pair = split_tf32(state.filters.merged[bucket][tap][2 * half + row]);
      state.high[half].value[i % 4] = pair.high;
      state.low[half].value[i % 4] = pair.low;
    }
    const Pixel* const own = windows + lane_bucket(lane) * pitch(layer);
    HASTE_UNROLL
    for (int tile = 0; tile < kPixelTiles; tile++) {
      const Pixel pixel = own[state.corner[tile]];
      state.window_high[tile] = pixel.high;
      state.window_low[tile] = pixel.low;
    }
  }

  static HASTE_DEVICE void multiply(ThreadStates<State>& states, const LayerPlan& layer, const Pixel* windows, int warp,
                                    unsigned char*) {
    HASTE_UNROLL
    for (int tap = 0; tap < kTaps; tap++) {
      each_lane(warp, [&](int thread) { load_factors(states.of(thread), layer, windows + tap, tap, thread % kWarp); });
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
  }

  // sums: [outputs][channels], from this lane's output channels on.
  static HASTE_DEVICE void leave(const State& state, int lane, int channels, float* sums) {
    HASTE_UNROLL
    for (int i = 0; i < 2 * kPixelTiles; i++) {
      const int tile = i / 2, column = i % 2;
      const Sum &a = state.sum[0][tile], &b = state.sum[1][tile];
      const float four[4] = {a.value[column], a.value[2 + column], b.value[column], b.value[2 + column]};
      store4(sums + (tile * 8 + 2 * (lane % 4) + column) * channels, four);
    }
  }
};

}  // namespace haste::cuda
