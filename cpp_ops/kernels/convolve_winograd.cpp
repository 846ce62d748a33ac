// 3x3, patch 3: merge filters and convolve one patch for 16 output channels, F(3,3) along y.
//
// A bucket's filter is summed in nine registers, never written. Its columns (g0,g1,g2) and those of the window (d0..d4)
// are then evaluated at the points 0, 1, -1, 2 and infinity, where three outputs cost five products in place of nine:
//   G = [1 0 0; 1 1 1; 1 -1 1; 1 2 4; 0 0 1]            applied here, 15 operations for the nine taps
//   B^T = [1 -1/2 -1 1/2 0; 0 1 1/2 -1/2 0; 0 -1/3 1/2 -1/6 0; 0 -1/6 0 1/6 0; 0 2 -1 -2 1]   applied by merge.cpp
//   A^T = [1 1 1 1 0; 0 1 -1 2 0; 0 1 1 4 1]            once per patch, when all buckets are summed
// That is 45 + 15 operations per bucket in place of 81, and fifteen independent accumulators in place of nine, more
// than the eight that two multiply-add ports with four cycles of latency need.

#include "epilogue.h"

namespace haste {
namespace HASTE_NS {
namespace {

constexpr int kTaps = 9, kPoints = 5;
constexpr int kWindow = 32;  // floats per slot: 25 and padding

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

  // Filter columns u[0..2] times a row of the window.
  HASTE_MEMBER void multiply_row(int k, const vec* u, const float* row) {
    for (int c = 0; c < kCols + 2; c++) {
      const vec d = set1(row[c]);
      for (int x = 0; x < 3; x++)
        if (c - x >= 0 && c - x < kCols) sum[k][c - x] = fma(u[x], d, sum[k][c - x]);
    }
  }

  HASTE_MEMBER void multiply(const vec* w, const float* window) {
    if (kOneRow) {
      for (int y = 0; y < 3; y++) multiply_row(y, w + 3 * y, window + 5 * y);
      return;
    }
    vec s[3];
    for (int x = 0; x < 3; x++) s[x] = w[x] + w[6 + x];
    for (int k = 0; k < kRows; k++) {
      vec u[3];
      for (int x = 0; x < 3; x++) {
        if (k == 0) u[x] = w[x];
        if (k == 1) u[x] = s[x] + w[3 + x];
        if (k == 2) u[x] = s[x] - w[3 + x];
        // Additions, since many processors have ports for them beside those of the multiply-adds.
        if (k == 3) {
          const vec t = w[6 + x] + w[6 + x] + w[3 + x];
          u[x] = t + t + w[x];
        }
        if (k == 4) u[x] = w[6 + x];
      }
      multiply_row(k, u, window + 5 * k);
    }
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

template <bool kScaled, int kCols, bool kOneRow>
void convolve(const ConvolveArgs& args, int part) {
  const PatchWork& work = *args.work;
  const float* weights = args.weights + part * kLanes;
  const auto filter = [&](int channel) __attribute__((always_inline)) {
    return weights + static_cast<ptrdiff_t>(channel) * kTaps * kBlock;
  };
  const char* prefetch = args.prefetch;
  const char* const prefetch_end = prefetch + static_cast<ptrdiff_t>(args.prefetch_lines) * 64;
  const int buckets = work.singles + work.merged;
  const int lines = buckets ? (args.prefetch_lines + buckets - 1) / buckets : 0;
  const auto prefetch_next_block = [&]() __attribute__((always_inline)) {
    for (int i = 0; i < lines && prefetch < prefetch_end; i++, prefetch += 64) __builtin_prefetch(prefetch, 0, 2);
  };

  Accumulators<kCols, kOneRow> acc;
  acc.clear();
  for (int b = 0; b < work.singles; b++) {
    prefetch_next_block();
    const float* f = filter(work.single_channel[b]);
    vec w[kTaps];
    for (int i = 0; i < kTaps; i++) w[i] = load(f + i * kBlock);
    acc.multiply(w, work.single_window + static_cast<ptrdiff_t>(b) * kWindow);
  }
  int j = 0;
  for (int b = 0; b < work.merged; b++) {
    const int end = work.first[b + 1];
    prefetch_next_block();
    vec w[kTaps];
    const float* f = filter(work.member[j]);
    if (kScaled) {
      const vec a = set1(work.coefficient[j]);
      for (int i = 0; i < kTaps; i++) w[i] = a * load(f + i * kBlock);
    } else {
      for (int i = 0; i < kTaps; i++) w[i] = load(f + i * kBlock);
    }
    for (j++; j < end; j++) {
      f = filter(work.member[j]);
      if (kScaled) {
        const vec a = set1(work.coefficient[j]);
        for (int i = 0; i < kTaps; i++) w[i] = fma(a, load(f + i * kBlock), w[i]);
      } else {
        for (int i = 0; i < kTaps; i++) w[i] = w[i] + load(f + i * kBlock);
      }
    }
    acc.multiply(w, work.merged_window + static_cast<ptrdiff_t>(b) * kWindow);
  }
  vec out[9];
  acc.finish(out);
  finish(args, 0, part, 0, 0, out);
}

template <int kCols>
void convolve_patch(const ConvolveArgs& args) {
  const bool scaled = args.merge == Merge::kScaled;
  const auto kernel = args.rows == 1 ? (scaled ? convolve<true, kCols, true> : convolve<false, kCols, true>)
                                     : (scaled ? convolve<true, kCols, false> : convolve<false, kCols, false>);
  for (int part = 0; part < kParts; part++) kernel(args, part);
}

}  // namespace

void convolve_winograd(const ConvolveArgs& args) {
  switch (args.cols) {
    case 1:
      convolve_patch<1>(args);
      break;
    case 2:
      convolve_patch<2>(args);
      break;
    default:
      convolve_patch<3>(args);
      break;
  }
}

}  // namespace HASTE_NS
}  // namespace haste
