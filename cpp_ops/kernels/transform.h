// Windows of buckets, transformed as the form of the convolution wants them (geometry.h).
#pragma once

#include "nested.h"
#include "winograd.h"

namespace haste {
namespace HASTE_NS {

// A window of 5x5, for F(3,3) along y: [point][column].
HASTE_INLINE void transform_columns(const float* window, float* out) {
  row8 rows[kPoints], points[kPoints];
  for (int y = 0; y < kPoints; y++) rows[y] = load8(window + 5 * y);
  transform<3>(rows, points);
  // Rows overlap by three in the store, so they go in ascending order.
  for (int k = 0; k < kPoints; k++) store8(out + 5 * k, points[k]);
}

// Tiles along both axes are transformed together: those along y into rows of points, which become lanes, then those
// along x.
template <typename Layout>
HASTE_INLINE void transform_tiles(const float* window, float* out) {
  constexpr Tiling kAxis = Layout::kAxis;
  constexpr int kFirst = kAxis.first, kSecond = kAxis.second;
  constexpr int kSide = kAxis.window(), kAll = kAxis.all_points();
  row16 pixels[kSide], lines[16] = {}, points[kAll];
  // Neither reads nor writes may leave a window's or a bucket's slot.
  constexpr int kReach = kSide > 8 ? 16 : 8;
  static_assert((kSide - 1) * kSide + kReach <= kAxis.slot(), "reads");
  constexpr int kLast = kAxis.points(0) - 1;
  static_assert(Layout::at(kLast, 0, Layout::columns(kLast) - 1) + 16 <= kAxis.bucket_slot(), "writes");
  static_assert(kAll <= 16, "points along y are lanes");
  for (int y = 0; y < kSide; y++) pixels[y] = kSide > 8 ? load16(window + y * kSide) : load8_of16(window + y * kSide);
  transform<kFirst>(pixels, lines);
  if constexpr (kSecond != 0) transform<kSecond>(pixels + kFirst, lines + kAxis.points(0));
  transpose16<kAll, kSide>(lines);
  transform<kFirst>(lines, points);
  if constexpr (kSecond != 0) transform<kSecond>(lines + kFirst, points + kAxis.points(0));
  // Stores reach past their points, so they go in ascending order.
  for (int k = 0; k < kAxis.points(0); k++)
    for (int c = 0; c < Layout::columns(k); c++) store16(out + Layout::at(k, 0, c), points[c * kAxis.points(0) + k]);
}

// A window for nested F(n,3), of tiling(patch).window() pixels squared.
HASTE_INLINE void transform_nested(int patch, const float* window, float* out) {
  with_layout(patch,
              [&](auto layout) __attribute__((always_inline)) { transform_tiles<decltype(layout)>(window, out); });
}

}  // namespace HASTE_NS
}  // namespace haste
