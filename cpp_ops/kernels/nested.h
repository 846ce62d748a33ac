// How the window of a bucket is laid out for nested F(n,3): [point along x][tile along x][tile along y][point along y],
// without the tiles along x that have no such point. The sums of a patch lie alike.
#pragma once

#include "isa.h"

namespace haste {
namespace HASTE_NS {

// Of a patch that hangs over the edge of the image there are only the first kRows x kCols tiles.
template <int kFirst, int kSecond, int kRows = kSecond ? 2 : 1, int kCols = kSecond ? 2 : 1>
struct NestedLayout {
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

template <int kSize>
struct Pixels {
  static constexpr int value = kSize;
};

// Calls body with the layout of a patch that has a tiling and of which rows x cols pixels exist.
template <typename Body>
HASTE_INLINE void with_layout(int patch, int rows, int cols, Body body) {
  const Tiling axis = tiling(patch);
  const bool two_rows = axis.second && rows > axis.first, two_cols = axis.second && cols > axis.first;
  const auto inside = [&](auto first, auto second) __attribute__((always_inline)) {
    constexpr int kFirst = decltype(first)::value, kSecond = decltype(second)::value;
    if (two_rows && two_cols) return body(NestedLayout<kFirst, kSecond, 2, 2>());
    if (two_rows) return body(NestedLayout<kFirst, kSecond, 2, 1>());
    if (two_cols) return body(NestedLayout<kFirst, kSecond, 1, 2>());
    body(NestedLayout<kFirst, kSecond, 1, 1>());
  };
  if (axis == Tiling{3, 3})
    inside(Pixels<3>(), Pixels<3>());
  else if (axis == Tiling{4, 3})
    inside(Pixels<4>(), Pixels<3>());
  else
    body(NestedLayout<4, 0>());
}

}  // namespace HASTE_NS
}  // namespace haste
