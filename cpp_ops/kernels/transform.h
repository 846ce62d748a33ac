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

// One tile of a window, transformed along both axes: points along x, each a vector of those along y.
template <int kHeight, int kWidth>
HASTE_INLINE void transform_tile(const float* window, int pitch, row8* points) {
  row8 rows[kMostPoints], along_y[8] = {};
  for (int y = 0; y < kHeight + 2; y++) rows[y] = load8(window + y * pitch);
  transform<kHeight>(rows, along_y);
  transpose8(along_y);
  transform<kWidth>(along_y, points);
}

template <int kFirst, int kSecond>
HASTE_INLINE void transform_tiles(const float* window, float* out) {
  using Layout = NestedLayout<kFirst, kSecond>;
  constexpr Tiling kAxis = Layout::kAxis;
  constexpr int kPitch = kAxis.window();
  row8 points[2][2][kMostPoints];
  transform_tile<kFirst, kFirst>(window, kPitch, points[0][0]);
  if constexpr (kSecond != 0) {
    transform_tile<kFirst, kSecond>(window + kFirst, kPitch, points[0][1]);
    transform_tile<kSecond, kFirst>(window + kFirst * kPitch, kPitch, points[1][0]);
    transform_tile<kSecond, kSecond>(window + kFirst * kPitch + kFirst, kPitch, points[1][1]);
  }
  // Stores reach past their points, so they go in ascending order; the window may lie where they go.
  for (int k = 0; k < kAxis.points(0); k++)
    for (int r = 0; r < kAxis.tiles(); r++)
      for (int c = 0; c < Layout::columns(k); c++) store8(out + Layout::at(k, r, c), points[r][c][k]);
}

// A window of `axis`.window() pixels squared, for nested F(n,3).
HASTE_INLINE void transform_nested(Tiling axis, const float* window, float* out) {
  if (axis == Tiling{3, 3})
    transform_tiles<3, 3>(window, out);
  else if (axis == Tiling{4, 3})
    transform_tiles<4, 3>(window, out);
  else
    transform_tiles<4, 0>(window, out);
}

}  // namespace HASTE_NS
}  // namespace haste
