// Any kernel, any patch: merge filters and convolve one patch, 3 x 3 output pixels at a time.
//
// Nine broadcast window elements serve the filters of one or two blocks of 16 output channels: with two, eighteen
// accumulators hide the latency of the multiply-adds and each broadcast is used twice. Merged filters of one bucket are
// summed into a few L1-resident lines; those of single channels are read where they lie.

#include "epilogue.h"

namespace haste {
namespace HASTE_NS {
namespace {

constexpr int kPixels = kSubtile * kSubtile;

struct Filters {
  const float* block[2];  // [taps][16] of the bucket, per output block
};

template <int kBlocks>
HASTE_INLINE void multiply(const Geometry& g, const float* window, const Filters& filters, vec (*acc)[kPixels]) {
  for (int ky = 0, tap = 0; ky < g.kernel_h; ky++)
    for (int kx = 0; kx < g.kernel_w; kx++, tap++) {
      vec w[kBlocks];
      for (int o = 0; o < kBlocks; o++) w[o] = load(filters.block[o] + tap * kBlock);
      const float* x = window + ky * g.window_w + kx;
      for (int r = 0; r < kSubtile; r++, x += g.window_w)
        for (int c = 0; c < kSubtile; c++) {
          const vec d = set1(x[c]);
          for (int o = 0; o < kBlocks; o++) acc[o][r * kSubtile + c] = fma(w[o], d, acc[o][r * kSubtile + c]);
        }
    }
}

template <int kBlocks, bool kScaled>
void convolve(const ConvolveArgs& args, int part, int row, int col) {
  const Geometry& g = *args.geometry;
  const PatchWork& work = *args.work;
  const int taps = g.taps();
  const ptrdiff_t filter_size = static_cast<ptrdiff_t>(taps) * kBlock, block_size = filter_size * g.channels;
  const float* weights = args.weights + part * kLanes;
  const ptrdiff_t corner = static_cast<ptrdiff_t>(row) * g.window_w + col;
  const auto prefetch_filter = [&](int channel) __attribute__((always_inline)) {
    for (int o = 0; o < kBlocks; o++) __builtin_prefetch(weights + o * block_size + channel * filter_size);
  };
  vec acc[kBlocks][kPixels];
  for (auto& a : acc)
    for (vec& v : a) v = zero();
  Filters filters;
  for (int b = 0; b < work.singles; b++) {
    prefetch_filter(work.single_channel[b + 3]);
    for (int o = 0; o < kBlocks; o++) filters.block[o] = weights + o * block_size + work.single_channel[b] * filter_size;
    multiply<kBlocks>(g, work.single_window + static_cast<ptrdiff_t>(b) * g.slot + corner, filters, acc);
  }
  float* scratch = args.taps_scratch + part * kLanes;
  for (int o = 0; o < kBlocks; o++) filters.block[o] = scratch + o * filter_size;
  for (int b = 0; b < work.merged; b++) {
    const int begin = work.first[b], end = work.first[b + 1];
    for (int tap = 0; tap < taps; tap++) {
      vec w[kBlocks];
      for (vec& v : w) v = zero();
      const float* f = weights + tap * kBlock;
      for (int j = begin; j < end; j++) {
        const vec a = kScaled ? set1(work.coefficient[j]) : zero();
        for (int o = 0; o < kBlocks; o++) {
          const vec slice = load(f + o * block_size + work.member[j] * filter_size);
          w[o] = kScaled ? fma(a, slice, w[o]) : w[o] + slice;
        }
      }
      for (int o = 0; o < kBlocks; o++) store(scratch + o * filter_size + tap * kBlock, w[o]);
    }
    multiply<kBlocks>(g, work.merged_window + static_cast<ptrdiff_t>(b) * g.slot + corner, filters, acc);
  }
  for (int o = 0; o < kBlocks; o++) finish(args, o, part, row, col, acc[o]);
}

template <int kBlocks>
void convolve_patch(const ConvolveArgs& args) {
  for (int part = 0; part < kParts; part++)
    for (int row = 0; row < args.rows; row += kSubtile)
      for (int col = 0; col < args.cols; col += kSubtile)
        if (args.merge == Merge::kScaled)
          convolve<kBlocks, true>(args, part, row, col);
        else
          convolve<kBlocks, false>(args, part, row, col);
}

}  // namespace

void convolve_direct(const ConvolveArgs& args, int blocks) {
  for (int i = 0; i < args.prefetch_lines; i++) __builtin_prefetch(args.prefetch + i * 64, 0, 2);
  if (blocks == 2)
    convolve_patch<2>(args);
  else
    convolve_patch<1>(args);
}

}  // namespace HASTE_NS
}  // namespace haste
