// Any kernel, any patch: merge filters and convolve one patch, 3 x 3 output pixels at a time.
//
// Nine broadcast window elements serve the filters of up to three blocks of 16 output channels: with three, 27
// accumulators hide the latency of the multiply-adds, each broadcast is used three times, and what a bucket costs
// beside its multiplications, which matters for 1x1 kernels, is shared by three blocks. 27 accumulators, three filters
// and a broadcast are 31 of 32 registers. Merged filters of one bucket are summed into a few L1-resident lines; those
// of single channels are read where they lie.

#include "epilogue.h"

namespace haste {
namespace HASTE_NS {
namespace {

constexpr int kPixels = kSubtile * kSubtile;
constexpr int kPointSlot = (kPixels + kLanes - 1) / kLanes * kLanes;  // floats per slot of a 1x1 kernel

template <typename Weight>
struct BucketFilters {
  const Weight* block[kMaxBlocks];  // [taps][16] of the bucket, per output block
};

// The sizes that the loops over taps run to; constants for 1x1, where loops would cost more than what is in them.
template <bool kPointwise>
struct Taps {
  int height, width, window_w;
  explicit Taps(const Geometry& g)
      : height(kPointwise ? 1 : g.kernel_h),
        width(kPointwise ? 1 : g.kernel_w),
        window_w(kPointwise ? kSubtile : g.window_w) {}
  int count() const { return height * width; }
};

// One tap of every block on the nine pixels it meets.
template <int kBlocks>
HASTE_INLINE void multiply_tap(const vec* w, const float* x, int window_w, vec (*acc)[kPixels]) {
  for (int r = 0; r < kSubtile; r++, x += window_w)
    for (int c = 0; c < kSubtile; c++) {
      const vec d = set1(x[c]);
      for (int o = 0; o < kBlocks; o++) acc[o][r * kSubtile + c] = fma(w[o], d, acc[o][r * kSubtile + c]);
    }
}

template <int kBlocks, bool kPointwise, typename Weight>
HASTE_INLINE void multiply(const Taps<kPointwise>& taps, const float* window, const BucketFilters<Weight>& filters,
                           vec (*acc)[kPixels]) {
  for (int ky = 0, tap = 0; ky < taps.height; ky++)
    for (int kx = 0; kx < taps.width; kx++, tap++) {
      vec w[kBlocks];
      for (int o = 0; o < kBlocks; o++) w[o] = load(filters.block[o] + tap * kBlock);
      multiply_tap<kBlocks>(w, window + ky * taps.window_w + kx, taps.window_w, acc);
    }
}

template <typename Weight, int kBlocks, bool kScaled, bool kPointwise>
void convolve(const ConvolveArgs& args, int part, int row, int col) {
  const Geometry& g = *args.geometry;
  const PatchWork& work = *args.work;
  const Taps<kPointwise> taps(g);
  const ptrdiff_t slot = kPointwise ? kPointSlot : g.slot;
  const ptrdiff_t filter_size = static_cast<ptrdiff_t>(taps.count()) * kBlock, block_size = filter_size * g.channels;
  const Weight* weights = static_cast<const Weight*>(args.weights) + part * kLanes;
  const ptrdiff_t corner = static_cast<ptrdiff_t>(row) * g.window_w + col;
  vec acc[kBlocks][kPixels];
  for (auto& a : acc)
    for (vec& v : a) v = zero();
  for (int b = 0; b < work.singles; b++) {
    BucketFilters<Weight> filters;
    for (int o = 0; o < kBlocks; o++)
      filters.block[o] = weights + o * block_size + work.single_channel[b] * filter_size;
    multiply<kBlocks>(taps, work.single_window + b * slot + corner, filters, acc);
  }
  float* scratch = args.taps_scratch + part * kLanes;
  BucketFilters<float> merged;
  for (int o = 0; o < kBlocks; o++) merged.block[o] = scratch + o * filter_size;
  for (int b = 0; b < work.merged; b++) {
    const int begin = work.first[b], end = work.first[b + 1];
    const float* window = work.merged_window + b * slot + corner;
    // The filter slice of member j, times its coefficient, added to `sum`.
    const auto add = [&](int j, int o, ptrdiff_t tap, vec sum) __attribute__((always_inline)) {
      const vec slice = load(weights + o * block_size + work.member[j] * filter_size + tap * kBlock);
      return kScaled ? fma(set1(work.coefficient[j]), slice, sum) : sum + slice;
    };
    for (ptrdiff_t tap = 0; tap < taps.count(); tap++) {
      vec w[kBlocks];
      for (int o = 0; o < kBlocks; o++) w[o] = add(begin, o, tap, zero());
      for (int j = begin + 1; j < end; j++)
        for (int o = 0; o < kBlocks; o++) w[o] = add(j, o, tap, w[o]);
      if (kPointwise)
        multiply_tap<kBlocks>(w, window, taps.window_w, acc);
      else
        for (int o = 0; o < kBlocks; o++) store(scratch + o * filter_size + tap * kBlock, w[o]);
    }
    if (!kPointwise) multiply<kBlocks>(taps, window, merged, acc);
  }
  for (int o = 0; o < kBlocks; o++) finish<kSubtile, kSubtile>(args, o, part, row, col, acc[o]);
}

template <typename Weight, int kBlocks>
void convolve_patch(const ConvolveArgs& args) {
  const Geometry& g = *args.geometry;
  const bool pointwise = g.taps() == 1 && g.patch == kSubtile;
  for (int part = 0; part < kParts; part++)
    for (int row = 0; row < args.rows; row += kSubtile)
      for (int col = 0; col < args.cols; col += kSubtile)
        if (args.merge != Merge::kMean)
          (pointwise ? convolve<Weight, kBlocks, true, true> : convolve<Weight, kBlocks, true, false>)(args, part, row,
                                                                                                       col);
        else
          (pointwise ? convolve<Weight, kBlocks, false, true> : convolve<Weight, kBlocks, false, false>)(args, part,
                                                                                                         row, col);
}

template <typename Weight>
void convolve_blocks(const ConvolveArgs& args, int blocks) {
  switch (blocks) {
    case 1:
      convolve_patch<Weight, 1>(args);
      break;
    case 2:
      convolve_patch<Weight, 2>(args);
      break;
    default:
      convolve_patch<Weight, 3>(args);
      break;
  }
}

}  // namespace

void convolve_direct(const ConvolveArgs& args, int blocks) {
  for (int i = 0; i < args.prefetch_lines; i++) __builtin_prefetch(args.prefetch + ptrdiff_t{i} * 64, 0, 2);
  if (args.weight_type == WeightType::kFloat16)
    convolve_blocks<half>(args, blocks);
  else
    convolve_blocks<float>(args, blocks);
}

}  // namespace HASTE_NS
}  // namespace haste
