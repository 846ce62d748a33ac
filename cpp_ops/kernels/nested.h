// How the window of a bucket is laid out for nested F(n,3): [point along x][tile along x][tile along y][point along y],
// without the tiles along x that have no such point.
#pragma once

#include "geometry.h"

namespace haste {

template <int kFirst, int kSecond>
struct NestedLayout {
  static constexpr Tiling kAxis{kFirst, kSecond};

  static constexpr int columns(int point) { return kAxis.tiles() - (kSecond && point >= kAxis.points(1) ? 1 : 0); }
  static constexpr int at(int point, int row, int col) {
    int offset = col * kAxis.all_points() + (row ? kAxis.points(0) : 0);
    for (int k = 0; k < point; k++) offset += columns(k) * kAxis.all_points();
    return offset;
  }
};

}  // namespace haste
