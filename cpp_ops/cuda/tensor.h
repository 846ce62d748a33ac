// Where the elements of an activation tensor lie, in either layout of docs/operator.md.
#pragma once

#include <cstdint>

#include "device.h"

namespace haste::cuda {

struct TensorView {
  int64_t channels, height, width;
  bool blocked;  // [N, C/16, H, W, 16] in place of [N, C, H, W]

  HASTE_DEVICE int64_t image() const { return channels * height * width; }
  // Offset of channel c of an image, and the distance between neighbouring pixels of it.
  HASTE_DEVICE int64_t channel(int64_t c) const {
    return blocked ? (c >> 4) * (height * width * 16) + (c & 15) : c * height * width;
  }
  HASTE_DEVICE int64_t pixel_step() const { return blocked ? 16 : 1; }
};

}  // namespace haste::cuda
