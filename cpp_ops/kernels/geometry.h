// The sizes of a layer, as every stage of the kernel sees them. Letters as in docs/operator.md.
#pragma once

#include <cstddef>
#include <cstdint>

namespace haste {

constexpr int kBlock = 16;   // channels per block of blocked activations and packed weights
constexpr int kGroup = 4;    // patches that are gathered and hashed together
constexpr int kSubtile = 3;  // output pixels are computed 3 x 3 at a time, whatever the patch
constexpr int kMaxHyperplanes = 32;

inline int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
inline int64_t round_up(int64_t a, int64_t b) {
  return ceil_div(a, b) * b;
}

struct Geometry {
  int channels = 0, filters = 0;      // C, M
  int blocks_in = 0, blocks_out = 0;  // of 16 channels
  int kernel_h = 0, kernel_w = 0;
  int patch = 0;                   // p
  int window_h = 0, window_w = 0;  // q_h, q_w
  int window = 0;                  // q_h * q_w
  int slot = 0;           // floats kept per channel window: `window`, what a subtile may read beyond it, whole vectors
  int strip_w = 0;        // pixels per row of the strip that a group of patches shares
  bool winograd = false;  // slots hold windows transformed for F(3,3) along y (convolve_winograd.cpp)

  int taps() const { return kernel_h * kernel_w; }
  // Patches start an odd number of cache lines apart: powers of two would alias in L1.
  size_t window_pitch() const { return static_cast<size_t>(blocks_in) * kBlock * slot + 48; }
  size_t strip_size() const { return (static_cast<size_t>(window_h) * strip_w + (kGroup - 1) * patch + 1) * kBlock; }
};

}  // namespace haste
