// The sizes of a layer, as every stage of the kernel sees them. Letters as in docs/operator.md.
#pragma once

#include <cstddef>
#include <cstdint>

#include "haste/haste.h"

namespace haste {

constexpr int kBlock = 16;        // channels per block of blocked activations and packed weights
constexpr int kStripPatches = 4;  // patches side by side that are gathered and hashed together
constexpr int kSubtile = 3;       // output pixels are computed 3 x 3 at a time where a patch has no tiling
constexpr int kMaxHyperplanes = 32;

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
inline int64_t round_up(int64_t a, int64_t b) {
  return ceil_div(a, b) * b;
}

// How a patch is convolved: tap by tap (convolve_direct.cpp), by F(3,3) along y (convolve_columns.cpp: 3x3, patch 3),
// or by F(3,3) and F(4,3) along both axes (convolve_nested.cpp: 3x3, patches that have a tiling).
enum class Form { kDirect, kColumns, kNested };

// Tiles of three or four output pixels that a patch is cut into along each axis, the larger one first, for nested
// F(n,3). Tile t of n pixels has n + 2 points.
struct Tiling {
  int first = 0, second = 0;  // second: 0 where one tile is all

  constexpr bool exists() const { return first > 0; }
  constexpr int tiles() const { return second ? 2 : 1; }
  constexpr int size(int t) const { return t ? second : first; }
  constexpr int start(int t) const { return t ? first : 0; }
  constexpr int points(int t) const { return size(t) + 2; }
  constexpr int all_points() const { return points(0) + (second ? points(1) : 0); }
  constexpr int window() const { return first + second + 2; }  // pixels along the axis, some of them beyond the patch's
  // Floats kept per channel window, in whole cache lines.
  constexpr int slot() const { return (window() * window() + kBlock - 1) / kBlock * kBlock; }
  // Points along an axis of the tiles that `size` pixels reach into.
  constexpr int points_within(int64_t size) const { return size > first ? all_points() : points(0); }
  // Floats kept per bucket of a patch of which that many pixels exist: close together, since windows are most of what
  // some layers read; in whole vectors of four, in which 64-bit ARM reads them.
  constexpr int bucket_slot(int64_t rows, int64_t cols) const {
    return (points_within(rows) * points_within(cols) + 3) / 4 * 4;
  }
  constexpr bool operator==(const Tiling& other) const { return first == other.first && second == other.second; }
};

constexpr Tiling tiling(int64_t patch) {
  if (patch == 4) return {4, 0};
  if (patch == 5 || patch == 6) return {3, 3};
  if (patch == 7) return {4, 3};
  return {};
}

struct Geometry {
  int channels = 0, filters = 0;      // C, M
  int blocks_in = 0, blocks_out = 0;  // of 16 channels
  int kernel_h = 0, kernel_w = 0;
  int patch = 0;                   // p
  int window_h = 0, window_w = 0;  // q_h, q_w
  int window = 0;                  // q_h * q_w
  // Floats kept per channel window: `window`, what a subtile may read beyond it, whole vectors. Nested: rows of
  // tiling().window() pixels, which at patch 5 are one more than the window's, and zero there.
  int slot = 0;
  int bucket_slot = 0;  // floats kept per bucket at most, transformed as `form` wants it
  int strip_w = 0;      // pixels per row that the patches of a strip see
  Form form = Form::kDirect;

  int taps() const { return kernel_h * kernel_w; }
  // Floats kept per bucket of a patch of which that many pixels exist.
  int bucket_slot_of(int64_t rows, int64_t cols) const {
    return form == Form::kNested ? tiling(patch).bucket_slot(rows, cols) : bucket_slot;
  }
  // Patches start an odd number of cache lines apart: powers of two would alias in L1.
  size_t window_pitch() const { return static_cast<size_t>(blocks_in) * kBlock * slot + 48; }
  size_t strip_size() const {
    return (static_cast<size_t>(window_h) * strip_w + (kStripPatches - 1) * patch + 1) * kBlock;
  }
};

// Of a layer whose parameters have been checked, for vectors of so many lanes.
Geometry make_geometry(const haste_conv_params& params, int lanes);

}  // namespace haste
