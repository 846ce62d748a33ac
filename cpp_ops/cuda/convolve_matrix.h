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
    FactorA high[kTaps][2], low[kTaps][2];  // [half]
    FactorB window_high, window_low;        // of one tap and tile
    Sum product[2];                         // of one tile and all kTaps, [half]
    int corner[kPixelTiles];                // of the window of pixel g of a tile, in bucket t's staged windows; pixels
                                            // beyond the patch repeat the last one
  };

  // Of the windows of buckets t and t + 4, as a lane wants it.
  struct alignas(16) Pixel {
    FactorB high, low;
  };
  static constexpr int kSlots = 4;
  // Even, but not a multiple of four: then the eight lanes that read 16 bytes at once hit different banks.
  static HASTE_DEVICE int pitch(const LayerPlan& layer) { return layer.merged_pitch + 2; }
  static constexpr int kScratchBytes = 0;

  static HASTE_DEVICE void start(State& state, const LayerPlan& layer, int pass, int lane) {
    HASTE_UNROLL
    for (int tile = 0; tile < kPixelTiles; tile++) {
      const int pixel = min_of((pass * kPixelTiles + tile) * 8 + lane / 4, layer.patch * layer.patch - 1);
      state.corner[tile] =
          lane_bucket(lane) * pitch(layer) + pixel / layer.patch * layer.window_w + pixel % layer.patch;
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

  static HASTE_DEVICE void split_filters(State& state) {
    HASTE_UNROLL
    for (int i = 0; i < 8 * kTaps; i++) {  // tap, half, then element: row g or g + 8, bucket t or t + 4
      const int tap = i / 8, half = i / 4 % 2, row = i % 2, bucket = i / 2 % 2;
      const Tf32Pair pair = split_tf32(state.filters.merged[bucket][tap][2 * half + row]);
      state.high[tap][half].value[i % 4] = pair.high;
      state.low[tap][half].value[i % 4] = pair.low;
    }
  }

  // Tensor cores cut their sums where additions round (Fasi, Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA
  // tensor cores, 2021). In one sum over all buckets those errors, all towards zero, would add up; so tensor cores sum
  // one step at kTaps taps only, and additions the rest.
  static HASTE_DEVICE void multiply(ThreadStates<State>& states, const LayerPlan&, const Pixel* windows, int warp,
                                    unsigned char*) {
    each_lane(warp, [&](int thread) { split_filters(states.of(thread)); });
    sync_warp();  // merging may have parted the warp, and mma wants it together
    HASTE_UNROLL
    for (int tile = 0; tile < kPixelTiles; tile++) {
      each_lane(warp, [&](int thread) { states.of(thread).product[0] = states.of(thread).product[1] = Sum{}; });
      HASTE_UNROLL
      for (int tap = 0; tap < kTaps; tap++) {
        each_lane(warp, [&](int thread) {
          State& state = states.of(thread);
          const Pixel pixel = windows[state.corner[tile] + tap];
          state.window_high = pixel.high;
          state.window_low = pixel.low;
        });
        HASTE_UNROLL
        for (int i = 0; i < 6; i++) {
          const auto product = [&](State& s) -> Sum& { return s.product[i % 2]; };
          const auto filters = [&](State& s) -> FactorA& { return i < 2 ? s.low[tap][i % 2] : s.high[tap][i % 2]; };
          const auto pixels = [&](State& s) -> FactorB& { return i / 2 == 1 ? s.window_low : s.window_high; };
          mma_of_warp(states, warp, product, filters, pixels);  // small terms first
        }
      }
      each_lane(warp, [&](int thread) {
        State& state = states.of(thread);
        HASTE_UNROLL
        for (int i = 0; i < 8; i++) state.sum[i / 4][tile].value[i % 4] += state.product[i / 4].value[i % 4];
      });
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
