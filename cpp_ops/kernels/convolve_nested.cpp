// 3x3, patches that have a tiling: merge filters and convolve one patch for 16 output channels, F(n,3) along both axes.
//
// A tile of 3x3 pixels then costs 25 multiply-adds in place of 81, one of 4x4 36 in place of 144. What the filters need
// for that, some additions for each of three rows and of the points along x, is shared by the tiles of the patch, as
// the merge is: that is what a larger patch is for. Buckets are taken a few at a time, so that their taps and windows
// stay in L1 while the points along x are gone through one after the other: at each, a filter is three rows of one
// value, evaluated at the points along y, and meets the values of all tiles in up to 22 accumulators.

#include "epilogue.h"
#include "filters.h"
#include "nested.h"

namespace haste {
namespace HASTE_NS {
namespace {

// Buckets: with their windows about 25 KiB. Short vectors go through them several times, with sums of their own, on
// cores whose L1 has few ways.
constexpr int kAtATime = kLanes > 4 ? 24 : 16;

// Multiplies buckets at point kPoint along x with tiles of columns kFrom to kTo - 1. `sum` is that of the whole patch,
// zero before if `fresh`. Out of line: inlined side by side, compilers carry the sums of several points about.
template <typename Tiles, int kPoint, int kFrom, int kTo>
__attribute__((noinline)) void multiply(const Bucket* bucket, int count, const Ahead& ahead, bool fresh, vec* sum) {
  constexpr int kPointsAlongY = Tiles::kAxis.points(0);  // the first tile's: most
  constexpr int kBegin = Tiles::at(kPoint, 0, kFrom), kSums = (kTo - kFrom) * Tiles::all_points();
  vec acc[kSums];
#pragma GCC unroll 24
  for (int i = 0; i < kSums; i++) acc[i] = fresh ? zero() : sum[kBegin + i];
  const Ahead::Share share = ahead.share(kPoint, Tiles::kAxis.points(0));
  for (int b = 0; b < count; b++) {
    const float *taps = bucket[b].taps, *window = bucket[b].window;
    if (kFrom == 0) share.draw(b, count);
    vec v[3];
#pragma GCC unroll 3
    for (int y = 0; y < 3; y++) {
      const vec w0 = load(taps + 3 * y * kBlock), w1 = load(taps + (3 * y + 1) * kBlock),
                w2 = load(taps + (3 * y + 2) * kBlock);
      v[y] = evaluate_nested(kPoint, w0, w1, w2, w0 + w2);
    }
    const vec both = v[0] + v[2];
#if defined(HASTE_BY_LANE)
    constexpr int kOffset = Tiles::at(kPoint, 0, kFrom) / 4 * 4;
    constexpr int kEnd = Tiles::at(kPoint, Tiles::rows - 1, kTo - 1) + Tiles::kAxis.points(Tiles::rows - 1);
    const Elements<kEnd - kOffset> elements(window + kOffset);
#endif
#pragma GCC unroll 6
    for (int j = 0; j < kPointsAlongY; j++) {
      const vec u = evaluate_nested(j, v[0], v[1], v[2], both);
#pragma GCC unroll 2
      for (int c = kFrom; c < kTo; c++)
#pragma GCC unroll 2
        for (int r = 0; r < Tiles::rows; r++) {
          if (j >= Tiles::kAxis.points(r)) continue;
          vec& to = acc[Tiles::at(kPoint, r, c) - kBegin + j];
#if defined(HASTE_BY_LANE)
          to = elements.fma(u, Tiles::at(kPoint, r, c) - kOffset + j, to);
#else
          to = fma(u, set1(window[Tiles::at(kPoint, r, c) + j]), to);
#endif
        }
    }
  }
#pragma GCC unroll 24
  for (int i = 0; i < kSums; i++) sum[kBegin + i] = acc[i];
}

template <typename Tiles, int kPoint>
HASTE_INLINE void multiply_from(const Bucket* bucket, int count, const Ahead& ahead, bool fresh, vec* sum) {
  if constexpr (kPoint < Tiles::kAxis.points(0)) {
    constexpr int kCols = Tiles::columns(kPoint);
    if constexpr (kManyRegisters || kCols == 1) {
      multiply<Tiles, kPoint, 0, kCols>(bucket, count, ahead, fresh, sum);
    } else {
      multiply<Tiles, kPoint, 0, 1>(bucket, count, ahead, fresh, sum);
      multiply<Tiles, kPoint, 1, 2>(bucket, count, ahead, fresh, sum);
    }
    multiply_from<Tiles, kPoint + 1>(bucket, count, ahead, fresh, sum);
  }
}

// The pixels of a tile, from its sums.
template <typename Tiles, int kRow, int kCol, int kHeight = Tiles::kAxis.size(kRow),
          int kWidth = Tiles::kAxis.size(kCol)>
HASTE_INLINE void finish_tile(const ConvolveArgs& args, int part, const vec* sum) {
  if constexpr (kRow < Tiles::rows && kCol < Tiles::cols) {
    vec rows[kHeight][kWidth + 2], out[kHeight][kWidth];
#pragma GCC unroll 6
    for (int x = 0; x < kWidth + 2; x++) {
      vec column[kHeight];
      interpolate<kHeight>(sum + Tiles::at(x, kRow, kCol), column);
      for (int r = 0; r < kHeight; r++) rows[r][x] = column[r];
    }
    for (int r = 0; r < kHeight; r++) interpolate<kWidth>(rows[r], out[r]);
    finish<kHeight, kWidth>(args, 0, part, Tiles::kAxis.start(kRow), Tiles::kAxis.start(kCol), out[0]);
  }
}

template <typename Weight, bool kScaled, typename Tiles>
void convolve(const ConvolveArgs& args) {
  const PatchWork& work = *args.work;
  vec sum[kParts][Tiles::at(Tiles::kAxis.points(0), 0, 0)];
  alignas(64) float buffer[kAtATime * kTaps * kBlock];
  Bucket bucket[kAtATime];
  const int buckets = work.singles + work.merged;
  int from = 0;
  do {
    const int count = min_int(kAtATime, buckets - from);
    // Vectors shorter than a block go through the same buckets one after the other, while those are in L1; the first
    // one draws what comes next.
    for (int part = 0; part < kParts; part++) {
      const Filters<Weight> filters(args, part);
      Ahead ahead;
      list_buckets<kScaled>(work, work.slot, filters, from, count, buffer, bucket);
      if (args.cold && part == 0) ahead.list(work, filters, from + count, min_int(kAtATime, buckets - from - count));
      if (args.prefetch_lines && buckets && part == 0) {
        const int64_t lines = args.prefetch_lines, first = lines * from / buckets,
                      last = lines * (from + count) / buckets;
        ahead.stream(args.prefetch + first * 64, static_cast<int>(last - first));
      }
      multiply_from<Tiles, 0>(bucket, count, ahead, from == 0, sum[part]);
    }
    from += count;
  } while (from < buckets);
  for (int part = 0; part < kParts; part++) {
    finish_tile<Tiles, 0, 0>(args, part, sum[part]);
    finish_tile<Tiles, 0, 1>(args, part, sum[part]);
    finish_tile<Tiles, 1, 0>(args, part, sum[part]);
    finish_tile<Tiles, 1, 1>(args, part, sum[part]);
  }
}

template <typename Weight, typename Tiles>
void convolve_tiles(const ConvolveArgs& args) {
  (args.merge != Merge::kMean ? convolve<Weight, true, Tiles> : convolve<Weight, false, Tiles>)(args);
}

template <typename Weight>
void convolve_weights(const ConvolveArgs& args) {
  with_layout(args.geometry->patch, args.rows, args.cols,
              [&](auto tiles) { convolve_tiles<Weight, decltype(tiles)>(args); });
}

}  // namespace

void convolve_nested(const ConvolveArgs& args) {
  (args.weight_type == WeightType::kFloat16 ? convolve_weights<half> : convolve_weights<float>)(args);
}

}  // namespace HASTE_NS
}  // namespace haste
