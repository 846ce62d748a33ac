// 3x3, patch 3: merge filters and convolve one patch for 16 output channels, F(3,3) along y.
//
// A bucket's filter is summed in nine registers, never written. Its columns and those of the window are then evaluated
// at the five points of winograd.h, where three outputs cost five products in place of nine: 45 multiply-adds and 21
// additions per bucket in place of 81 multiply-adds, into fifteen independent accumulators. Two multiply-add ports with
// four cycles of latency need eight.

#include "epilogue.h"
#include "filters.h"

namespace haste {
namespace HASTE_NS {
namespace {

constexpr int kWindow = (25 + kLanes - 1) / kLanes * kLanes;  // floats per slot

// What a patch needs depends on how much of it lies inside the image. Columns that do not are not computed. Of a single
// row the direct products are fewer than those of F(3,3): 27 against 45, on windows that merge.cpp then leaves as they
// are.
template <int kCols, bool kOneRow>
struct Accumulators {
  static constexpr int kRows =
      kOneRow ? 3 : kPoints;  // one row: a sum for each row of taps, so that nine are in flight
  vec sum[kRows][kCols];

  HASTE_MEMBER void clear() {
    for (auto& row : sum)
      for (vec& v : row) v = zero();
  }

  // A column of a filter at point k, or its row k where nothing is transformed.
  static HASTE_MEMBER vec value(int k, vec w0, vec w1, vec w2, vec s) {
    if (kOneRow) return k == 0 ? w0 : k == 1 ? w1 : w2;
    return evaluate(k, w0, w1, w2, s);
  }

  // Rows kFrom .. kTo - 1 of the products of a filter's nine taps, tap(i), with a window. `out` is what is kept of
  // `sum`.
  template <int kFrom, int kTo, typename Tap>
  static HASTE_MEMBER void multiply(Tap tap, const float* window, vec (*out)[kCols]) {
#if defined(HASTE_BY_LANE)
    // Column by column of the filter: the window stays in seven registers, and of the filter only five values live.
    const Elements<5 * (kTo - 1) + kCols + 2> elements(window);
#pragma GCC unroll 3
    for (int x = 0; x < 3; x++) {
      const vec w0 = tap(x), w1 = tap(3 + x), w2 = tap(6 + x), s = kOneRow ? zero() : w0 + w2;
#pragma GCC unroll 5
      for (int k = kFrom; k < kTo; k++) {
        const vec u = value(k, w0, w1, w2, s);
#pragma GCC unroll 3
        for (int c = 0; c < kCols; c++) out[k - kFrom][c] = elements.fma(u, 5 * k + c + x, out[k - kFrom][c]);
      }
    }
#else
    // Row by row of the window: each element is broadcast once.
    vec s[3];
    for (int x = 0; x < 3; x++) s[x] = kOneRow || kFrom > 2 ? zero() : tap(x) + tap(6 + x);
    for (int k = kFrom; k < kTo; k++) {
      vec u[3];
      for (int x = 0; x < 3; x++) u[x] = value(k, tap(x), tap(3 + x), tap(6 + x), s[x]);
      const float* row = window + 5 * k;
      for (int c = 0; c < kCols + 2; c++) {
        const vec d = set1(row[c]);
        for (int x = 0; x < 3; x++)
          if (c - x >= 0 && c - x < kCols) out[k - kFrom][c - x] = fma(u[x], d, out[k - kFrom][c - x]);
      }
    }
#endif
  }

  // The 3 x 3 output pixels; those outside the image are not written.
  HASTE_MEMBER void finish(vec* out) const {
    for (int c = 0; c < kCols; c++) {
      if (kOneRow) {
        out[c] = sum[0][c] + sum[1][c] + sum[2][c];
        continue;
      }
      vec points[kPoints], column[kSubtile];
      for (int k = 0; k < kPoints; k++) points[k] = sum[min_int(k, kRows - 1)][c];
      interpolate<3>(points, column);
      for (int r = 0; r < kSubtile; r++) out[r * kSubtile + c] = column[r];
    }
  }
};

// The next block on its way into cache, a few lines per bucket.
class NextBlock {
 public:
  HASTE_MEMBER explicit NextBlock(const ConvolveArgs& args)
      : next_(args.prefetch), end_(args.prefetch + static_cast<ptrdiff_t>(args.prefetch_lines) * 64) {
    const int buckets = args.work->singles + args.work->merged;
    lines_ = buckets ? (args.prefetch_lines + buckets - 1) / buckets : 0;
  }

  HASTE_MEMBER void draw() {
    for (int i = 0; i < lines_ && next_ < end_; i++, next_ += 64) __builtin_prefetch(next_, 0, 2);
  }

 private:
  const char *next_, *end_;
  int lines_;
};

// With 32 registers: fifteen accumulators, nine taps and what is derived of them, bucket by bucket.
template <typename Weight, bool kScaled, int kCols, bool kOneRow>
void convolve_at_once(const ConvolveArgs& args, int part) {
  using Sums = Accumulators<kCols, kOneRow>;
  const PatchWork& work = *args.work;
  const Filters<Weight> filters(args, part);
  NextBlock next(args);
  Sums acc;
  acc.clear();
  for (int b = 0; b < work.singles; b++) {
    next.draw();
    const Weight* f = filters.of(work.single_channel[b]);
    vec w[kTaps];
    for (int i = 0; i < kTaps; i++) w[i] = load(f + i * kBlock);
    Sums::template multiply<0, Sums::kRows>([&](int i) __attribute__((always_inline)) { return w[i]; },
                                            work.single_window + static_cast<ptrdiff_t>(b) * kWindow, acc.sum);
  }
  for (int b = 0; b < work.merged; b++) {
    next.draw();
    vec w[kTaps];
    filters.template merge<kScaled>(b, w);
    Sums::template multiply<0, Sums::kRows>([&](int i) __attribute__((always_inline)) { return w[i]; },
                                            work.merged_window + static_cast<ptrdiff_t>(b) * kWindow, acc.sum);
  }
  vec out[9];
  acc.finish(out);
  finish<kSubtile, kSubtile>(args, 0, part, 0, 0, out);
}

// With sixteen registers: a few buckets at a time, whose taps are read from memory (merged and widened ones from a
// small buffer), in two passes that need nine accumulators at most.
template <int kFrom, int kTo, int kCols, bool kOneRow>
HASTE_INLINE void multiply_buckets(const Bucket* bucket, int count, Accumulators<kCols, kOneRow>& acc) {
  vec sum[kTo - kFrom][kCols];
  for (int k = kFrom; k < kTo; k++)
    for (int c = 0; c < kCols; c++) sum[k - kFrom][c] = acc.sum[k][c];
  for (int b = 0; b < count; b++) {
    const float* taps = bucket[b].taps;
    Accumulators<kCols, kOneRow>::template multiply<kFrom, kTo>(
        [&](int i) __attribute__((always_inline)) { return load(taps + i * kBlock); }, bucket[b].window, sum);
  }
  for (int k = kFrom; k < kTo; k++)
    for (int c = 0; c < kCols; c++) acc.sum[k][c] = sum[k - kFrom][c];
}

template <typename Weight, bool kScaled, int kCols, bool kOneRow>
void convolve_in_passes(const ConvolveArgs& args, int part) {
  constexpr int kAtATime = 8;
  const PatchWork& work = *args.work;
  const Filters<Weight> filters(args, part);
  NextBlock next(args);
  Accumulators<kCols, kOneRow> acc;
  acc.clear();
  alignas(64) float buffer[kAtATime * kTaps * kBlock];
  const int buckets = work.singles + work.merged;
  for (int from = 0; from < buckets; from += kAtATime) {
    Bucket bucket[kAtATime];
    const int count = min_int(kAtATime, buckets - from);
    list_buckets<kScaled>(work, kWindow, filters, from, count, buffer, bucket);
    for (int i = 0; i < count; i++) next.draw();
    multiply_buckets<0, 3>(bucket, count, acc);
    if (!kOneRow) multiply_buckets<kOneRow ? 0 : 3, Accumulators<kCols, kOneRow>::kRows>(bucket, count, acc);
  }
  vec out[9];
  acc.finish(out);
  finish<kSubtile, kSubtile>(args, 0, part, 0, 0, out);
}

template <typename Weight, bool kScaled, int kCols, bool kOneRow>
void convolve(const ConvolveArgs& args, int part) {
  if constexpr (kManyRegisters)
    convolve_at_once<Weight, kScaled, kCols, kOneRow>(args, part);
  else
    convolve_in_passes<Weight, kScaled, kCols, kOneRow>(args, part);
}

template <typename Weight, int kCols, bool kOneRow>
void convolve_patch(const ConvolveArgs& args) {
  const auto kernel = args.merge != Merge::kMean ? convolve<Weight, true, kCols, kOneRow>  //
                                                 : convolve<Weight, false, kCols, kOneRow>;
  for (int part = 0; part < kParts; part++) kernel(args, part);
}

template <typename Weight, int kCols>
void convolve_width(const ConvolveArgs& args) {
  (args.rows == 1 ? convolve_patch<Weight, kCols, true> : convolve_patch<Weight, kCols, false>)(args);
}

template <typename Weight>
void convolve_weights(const ConvolveArgs& args) {
  switch (args.cols) {
    case 1:
      convolve_width<Weight, 1>(args);
      break;
    case 2:
      convolve_width<Weight, 2>(args);
      break;
    default:
      convolve_width<Weight, 3>(args);
      break;
  }
}

}  // namespace

void convolve_columns(const ConvolveArgs& args) {
  if (args.weight_type == WeightType::kFloat16)
    convolve_weights<half>(args);
  else
    convolve_weights<float>(args);
}

}  // namespace HASTE_NS
}  // namespace haste
