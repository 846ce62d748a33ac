// How the window of a bucket is laid out for nested F(n,3): [point along x][tile along x][tile along y][point along y],
// without the tiles along x that have no such point.
#pragma once

#include "isa.h"

namespace haste {
namespace HASTE_NS {

// The sums of a patch lie alike; of a patch that hangs over the edge of the image only the first kRows x kCols tiles.
template <int kFirst, int kSecond, int kRows = kSecond ? 2 : 1, int kCols = kSecond ? 2 : 1>
struct NestedLayout {
  using Whole = NestedLayout<kFirst, kSecond>;
  static constexpr Tiling kAxis{kFirst, kSecond};
  static constexpr int rows = kRows, cols = kCols;

  static constexpr int columns(int point) { return kCols == 2 && point >= kAxis.points(1) ? 1 : kCols; }
  static constexpr int all_points() { return kRows == kAxis.tiles() ? kAxis.all_points() : kAxis.points(0); }
  static constexpr int at(int point, int row, int col) {
    int offset = col * all_points() + (row ? kAxis.points(0) : 0);
    for (int k = 0; k < point; k++) offset += columns(k) * all_points();
    return offset;
  }
};

// Calls body with the layout of a patch that has a tiling.
template <typename Body>
HASTE_INLINE void with_layout(int patch, Body body) {
  const Tiling axis = tiling(patch);
  if (axis == Tiling{3, 3})
    body(NestedLayout<3, 3>());
  else if (axis == Tiling{4, 3})
    body(NestedLayout<4, 3>());
  else
    body(NestedLayout<4, 0>());
}

}  // namespace HASTE_NS
}  // namespace haste
