// Convolving patches of 4 to 8 pixels on multiply-add units.
//
// A lane takes four output channels and two rows of the patch: t and t + 4 for lane 4 g + t. Per bucket and kernel row
// it then reads two rows of a window and kTaps times four merged taps, and every value that it reads takes part in four
// products or more: what a multiprocessor delivers from shared memory in a cycle, one value to each lane of a warp, is
// a quarter of what it multiplies. Merged filters go through shared memory once, from the lanes that merged them.
#pragma once

#include "convolve_warps.h"

namespace haste::cuda {

template <int kPatch, int kTapsOfRow>
struct Rows {
  static constexpr int kTaps = kTapsOfRow;
  static constexpr int kLaneRows = kPatch > 4 ? 2 : 1;

  struct State {
    LaneFilters<kTaps> filters;
    float sum[kLaneRows][kPatch][4];
  };

  using Pixel = float;
  static constexpr int kSlots = 8;
  static HASTE_DEVICE int pitch(const LayerPlan& layer) { return layer.merged_pitch; }

  // Merged filters of a step: [8 buckets][kFilterPitch], of each [kTaps][32]. Eight more than those, so that the lanes
  // that store different buckets hit different banks.
  static constexpr int kFilterPitch = kTaps * kWarpChannels + 8;
  static constexpr int kScratchBytes = kBucketsPerStep * kFilterPitch * static_cast<int>(sizeof(float));

  static HASTE_DEVICE void start(State& state, const LayerPlan&, int, int) {
    HASTE_UNROLL
    for (int i = 0; i < kLaneRows * kPatch * 4; i++) state.sum[i / (4 * kPatch)][i / 4 % kPatch][i % 4] = 0.0f;
  }

  static HASTE_DEVICE void stage(const LayerPlan& layer, const BucketLists& lists, int bucket, int pixel, Pixel* to) {
    float value[4];
    load_window(layer, lists, bucket, pixel, value);
    store4(to, value);
  }

  static HASTE_DEVICE void multiply_bucket(State& state, const LayerPlan& layer, const float* window,
                                           const float* filters, int lane) {
    float w[kTaps][4];
    HASTE_UNROLL
    for (int tap = 0; tap < kTaps; tap++) copy4(filters + tap * kWarpChannels + lane_channels(lane), w[tap]);
    HASTE_UNROLL
    for (int r = 0; r < kLaneRows; r++) {
      // Rows beyond the patch repeat its last one; nobody stores them.
      const float* const pixels = window + min_of(lane % 4 + 4 * r, kPatch - 1) * layer.window_w;
      float x[kPatch + kTaps - 1];
      HASTE_UNROLL
      for (int i = 0; i < kPatch + kTaps - 1; i++) x[i] = pixels[i];
      HASTE_UNROLL
      for (int tap = 0; tap < kTaps; tap++) {
        HASTE_UNROLL
        for (int i = 0; i < 4 * kPatch; i++) state.sum[r][i / 4][i % 4] += w[tap][i % 4] * x[i / 4 + tap];
      }
    }
  }

  static HASTE_DEVICE void multiply(ThreadStates<State>& states, const LayerPlan& layer, const Pixel* windows, int warp,
                                    unsigned char* scratch) {
    float* const filters = reinterpret_cast<float*>(scratch);
    each_lane(warp, [&](int thread) {
      const int lane = thread % kWarp;
      const State& state = states.of(thread);
      HASTE_UNROLL
      for (int i = 0; i < 2 * kTaps; i++) {
        const int bucket = lane_bucket(lane) + i / kTaps * 4, tap = i % kTaps;
        store4(filters + bucket * kFilterPitch + tap * kWarpChannels + lane_channels(lane),
               state.filters.merged[i / kTaps][tap]);
      }
    });
    sync_warp();
    each_lane(warp, [&](int thread) {
      for (int bucket = 0; bucket < kBucketsPerStep; bucket++) {
        multiply_bucket(states.of(thread), layer, windows + bucket * pitch(layer), filters + bucket * kFilterPitch,
                        thread % kWarp);
      }
    });
    sync_warp();
  }

  // sums: [outputs][channels], from this lane's output channels on.
  static HASTE_DEVICE void leave(const State& state, int lane, int channels, float* sums) {
    HASTE_UNROLL
    for (int i = 0; i < kLaneRows * kPatch; i++) {
      const int row = lane % 4 + i / kPatch * 4;
      if (row < kPatch) store4(sums + (row * kPatch + i % kPatch) * channels, state.sum[i / kPatch][i % kPatch]);
    }
  }
};

}  // namespace haste::cuda
