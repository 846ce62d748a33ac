// Windows of buckets, transformed as the form of the convolution wants them (geometry.h).
#pragma once

#include "nested.h"
#include "winograd.h"

namespace haste {
namespace HASTE_NS {

// A window of 5x5, for F(3,3) along y: [point][column].
inline void transform_columns(const float* window, float* out) {
  row8 rows[kPoints], points[kPoints];
  for (int y = 0; y < kPoints; y++) rows[y] = load8(window + 5 * y);
  transform<3>(rows, points);
  // Rows overlap by three in the store, so they go in ascending order.
  for (int k = 0; k < kPoints; k++) store8(out + 5 * k, points[k]);
}

// Floats that the transforms may write behind a bucket's slot.
constexpr int kBehind = kBlock;

// Tiles along both axes are transformed together: those along y into rows of points, which become lanes, then those
// along x. Out of line, since there is one for every layout.
template <typename Layout>
__attribute__((noinline)) void transform_tiles(const float* window, float* out) {
  constexpr Tiling kAxis = Layout::kAxis;
  constexpr int kFirst = kAxis.first, kSecond = kAxis.second;
  constexpr int kSide = kAxis.window(), kLines = Layout::all_points(), kAll = kAxis.all_points();
  constexpr bool kTwoRows = Layout::rows == 2, kTwoCols = Layout::cols == 2;
  // Pixels along either axis that the tiles reach.
  constexpr int kHeight = kTwoRows ? kSide : kAxis.points(0), kWidth = kTwoCols ? kSide : kAxis.points(0);
  row16 pixels[kHeight], lines[16] = {}, points[kAll];
  // Reads may not leave a window's slot.
  constexpr int kReach = kSide > 8 ? 16 : 8;
  static_assert((kSide - 1) * kSide + kReach <= kAxis.slot(), "reads");
  constexpr int kLast = kAxis.points(0) - 1;
  static_assert(Layout::at(kLast, 0, Layout::columns(kLast) - 1) + 16 <= Layout::at(kLast + 1, 0, 0) + kBehind,
                "writes");
  static_assert(kAll <= 16, "points along y are lanes");
  for (int y = 0; y < kHeight; y++) pixels[y] = kSide > 8 ? load16(window + y * kSide) : load8_of16(window + y * kSide);
  transform<kFirst>(pixels, lines);
  if constexpr (kTwoRows) transform<kSecond>(pixels + kFirst, lines + kAxis.points(0));
  transpose16<kLines, kWidth>(lines);
  transform<kFirst>(lines, points);
  if constexpr (kTwoCols) transform<kSecond>(lines + kFirst, points + kAxis.points(0));
  // Stores reach past their points, so they go in ascending order.
  for (int k = 0; k < kAxis.points(0); k++)
    for (int c = 0; c < Layout::columns(k); c++) store16(out + Layout::at(k, 0, c), points[c * kAxis.points(0) + k]);
}

using Transform = void (*)(const float* window, float* out);

// The one for windows of a patch: of slot() pixels, to bucket_slot() points and up to kBehind floats that the next
// bucket overwrites.
HASTE_INLINE Transform nested_transform(int patch, int rows, int cols) {
  Transform found = nullptr;
  with_layout(patch, rows, cols, [&](auto layout) { found = transform_tiles<decltype(layout)>; });
  return found;
}

}  // namespace HASTE_NS
}  // namespace haste
