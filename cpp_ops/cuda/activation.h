// What follows a sum: bias is in it already; residual and activation as in docs/operator.md.
#pragma once

#include <cmath>

#include "device.h"
#include "haste/haste.h"

namespace haste::cuda {

struct Epilogue {
  haste_activation activation;
  float params[2];
};

// Comparisons are written so that a NaN passes through.
HASTE_DEVICE float activate(const Epilogue& epilogue, float y) {
  switch (epilogue.activation) {
    case HASTE_RELU:
      return y < 0.0f ? 0.0f : y;
    case HASTE_LEAKY_RELU:
      return y < 0.0f ? epilogue.params[0] * y : y;
    case HASTE_CLIP: {
      const float above = y < epilogue.params[0] ? epilogue.params[0] : y;
      return above > epilogue.params[1] ? epilogue.params[1] : above;
    }
    case HASTE_HARD_SWISH: {
      const float gate = y / 6.0f + 0.5f;
      return y * (gate < 0.0f ? 0.0f : gate > 1.0f ? 1.0f : gate);
    }
    case HASTE_SILU:
      return y / (1.0f + expf(-y));
    case HASTE_SIGMOID:
      return 1.0f / (1.0f + expf(-y));
    default:
      return y;
  }
}

}  // namespace haste::cuda
