// 3x3, patch 3: merge filters and convolve one patch for 16 output channels, F(3,3) along y.
//
// A bucket's filter is summed in nine registers, never written. Its columns (g0,g1,g2) and those of the window (d0..d4)
// are then evaluated at the points 0, 1, -1, 2 and infinity, where three outputs cost five products in place of nine:
//   G = [1 0 0; 1 1 1; 1 -1 1; 1 2 4; 0 0 1]            applied here, 21 additions for the nine taps
//   B^T = [1 -1/2 -1 1/2 0; 0 1 1/2 -1/2 0; 0 -1/3 1/2 -1/6 0; 0 -1/6 0 1/6 0; 0 2 -1 -2 1]   applied by merge.cpp
//   A^T = [1 1 1 1 0; 0 1 -1 2 0; 0 1 1 4 1]            once per patch, when all buckets are summed
// That is 45 multiply-adds and 21 additions per bucket in place of 81 multiply-adds, and fifteen independent
// accumulators in place of nine, more than the eight that two multiply-add ports with four cycles of latency need.

#include "epilogue.h"

namespace haste {
namespace HASTE_NS {
namespace {

constexpr int kTaps = 9, kPoints = 5;
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

  // A column (w0, w1, w2) of a filter at point k of F(3,3), or its row k where nothing is transformed. s = w0 + w2.
  static HASTE_MEMBER vec evaluate(int k, vec w0, vec w1, vec w2, vec s) {
    if (k == 0) return w0;
    if (kOneRow) return k == 1 ? w1 : w2;
    if (k == 1) return s + w1;
    if (k == 2) return s - w1;
    if (k == 4) return w2;
    // Additions, since many processors have ports for them beside those of the multiply-adds.
    const vec t = w2 + w2 + w1;
    return t + t + w0;
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
        const vec u = evaluate(k, w0, w1, w2, s);
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
      for (int x = 0; x < 3; x++) u[x] = evaluate(k, tap(x), tap(3 + x), tap(6 + x), s[x]);
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
      const vec both = sum[1][c] + sum[2][c], difference = sum[1][c] - sum[2][c], at2 = sum[3][c];
      out[c] = sum[0][c] + both + at2;
      out[3 + c] = difference + (at2 + at2);
      out[6 + c] = fma(set1(4.0f), at2, both) + sum[kRows - 1][c];
    }
  }
};

// The filters of one block of output channels, and the next block on its way into cache.
template <typename Weight>
class Filters {
 public:
  HASTE_MEMBER Filters(const ConvolveArgs& args, int part)
      : work_(*args.work),
        weights_(static_cast<const Weight*>(args.weights) + part * kLanes),
        prefetch_(args.prefetch),
        prefetch_end_(args.prefetch + static_cast<ptrdiff_t>(args.prefetch_lines) * 64) {
    const int buckets = work_.singles + work_.merged;
    lines_ = buckets ? (args.prefetch_lines + buckets - 1) / buckets : 0;
  }

  HASTE_MEMBER const Weight* of(int channel) const {
    return weights_ + static_cast<ptrdiff_t>(channel) * kTaps * kBlock;
  }

  HASTE_MEMBER void prefetch() {
    for (int i = 0; i < lines_ && prefetch_ < prefetch_end_; i++, prefetch_ += 64) __builtin_prefetch(prefetch_, 0, 2);
  }

  // The sum over the members of merged bucket b, in registers.
  template <bool kScaled>
  HASTE_MEMBER void merge(int b, vec* w) const {
    int j = work_.first[b];
    const int end = work_.first[b + 1];
    const Weight* f = of(work_.member[j]);
    vec a = kScaled ? set1(work_.coefficient[j]) : zero();
    for (int i = 0; i < kTaps; i++) w[i] = kScaled ? a * load(f + i * kBlock) : load(f + i * kBlock);
    for (j++; j < end; j++) {
      f = of(work_.member[j]);
      a = kScaled ? set1(work_.coefficient[j]) : zero();
      for (int i = 0; i < kTaps; i++) w[i] = kScaled ? fma(a, load(f + i * kBlock), w[i]) : w[i] + load(f + i * kBlock);
    }
  }

 private:
  const PatchWork& work_;
  const Weight* weights_;
  const char *prefetch_, *prefetch_end_;
  int lines_;
};

// With 32 registers: fifteen accumulators, nine taps and what is derived of them, bucket by bucket.
template <typename Weight, bool kScaled, int kCols, bool kOneRow>
void convolve_at_once(const ConvolveArgs& args, int part) {
  using Sums = Accumulators<kCols, kOneRow>;
  const PatchWork& work = *args.work;
  Filters<Weight> filters(args, part);
  Sums acc;
  acc.clear();
  for (int b = 0; b < work.singles; b++) {
    filters.prefetch();
    const Weight* f = filters.of(work.single_channel[b]);
    vec w[kTaps];
    for (int i = 0; i < kTaps; i++) w[i] = load(f + i * kBlock);
    Sums::template multiply<0, Sums::kRows>([&](int i) __attribute__((always_inline)) { return w[i]; },
                                            work.single_window + static_cast<ptrdiff_t>(b) * kWindow, acc.sum);
  }
  for (int b = 0; b < work.merged; b++) {
    filters.prefetch();
    vec w[kTaps];
    filters.template merge<kScaled>(b, w);
    Sums::template multiply<0, Sums::kRows>([&](int i) __attribute__((always_inline)) { return w[i]; },
                                            work.merged_window + static_cast<ptrdiff_t>(b) * kWindow, acc.sum);
  }
  vec out[9];
  acc.finish(out);
  finish(args, 0, part, 0, 0, out);
}

// With sixteen registers: a few buckets at a time, whose taps are read from memory (merged and widened ones from a
// small buffer), in two passes that need nine accumulators at most.
struct Bucket {
  const float *taps, *window;
};

// A single channel's taps as floats: where they lie, or in the buffer.
HASTE_INLINE const float* as_floats(const float* taps, float* /*buffer*/) {
  return taps;
}
HASTE_INLINE const float* as_floats(const half* taps, float* buffer) {
  for (int i = 0; i < kTaps; i++) store(buffer + i * kBlock, load(taps + i * kBlock));
  return buffer;
}

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
  Filters<Weight> filters(args, part);
  Accumulators<kCols, kOneRow> acc;
  acc.clear();
  alignas(64) float buffer[kAtATime * kTaps * kBlock];
  const int buckets = work.singles + work.merged;
  for (int from = 0; from < buckets; from += kAtATime) {
    Bucket bucket[kAtATime];
    const int count = min_int(kAtATime, buckets - from);
    for (int i = 0; i < count; i++) {
      filters.prefetch();
      const int b = from + i;
      float* taps = buffer + static_cast<ptrdiff_t>(i) * kTaps * kBlock;
      if (b < work.singles) {
        bucket[i] = {as_floats(filters.of(work.single_channel[b]), taps),
                     work.single_window + static_cast<ptrdiff_t>(b) * kWindow};
        continue;
      }
      vec w[kTaps];
      filters.template merge<kScaled>(b - work.singles, w);
      for (int tap = 0; tap < kTaps; tap++) store(taps + tap * kBlock, w[tap]);
      bucket[i] = {taps, work.merged_window + static_cast<ptrdiff_t>(b - work.singles) * kWindow};
    }
    multiply_buckets<0, 3>(bucket, count, acc);
    if (!kOneRow) multiply_buckets<kOneRow ? 0 : 3, Accumulators<kCols, kOneRow>::kRows>(bucket, count, acc);
  }
  vec out[9];
  acc.finish(out);
  finish(args, 0, part, 0, 0, out);
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
void convolve_columns(const ConvolveArgs& args) {
  (args.rows == 1 ? convolve_patch<Weight, kCols, true> : convolve_patch<Weight, kCols, false>)(args);
}

template <typename Weight>
void convolve_weights(const ConvolveArgs& args) {
  switch (args.cols) {
    case 1:
      convolve_columns<Weight, 1>(args);
      break;
    case 2:
      convolve_columns<Weight, 2>(args);
      break;
    default:
      convolve_columns<Weight, 3>(args);
      break;
  }
}

}  // namespace

void convolve_winograd(const ConvolveArgs& args) {
  if (args.weight_type == WeightType::kFloat16)
    convolve_weights<half>(args);
  else
    convolve_weights<float>(args);
}

}  // namespace HASTE_NS
}  // namespace haste
