// Bias, residual, activation and store of a tile of output pixels.
#pragma once

#include "isa.h"

namespace haste {
namespace HASTE_NS {

// e^x within 2 ulp on [-87, 88], clamped outside: 2^n times a polynomial on [-ln2/2, ln2/2].
HASTE_INLINE vec exp(vec x) {
  x = min(max(x, set1(-87.3f)), set1(88.0f));
  const vec magic = set1(12582912.0f);  // 1.5 * 2^23: adding it rounds to an integer kept in the low bits
  const vec shifted = fma(x, set1(1.44269504f), magic);
  const vec n = shifted - magic;
  const vec r = fma(n, set1(-1.42860677e-6f), fma(n, set1(-0.693145752f), x));
  vec p = set1(1.98756912e-4f);
  p = fma(p, r, set1(1.39819994e-3f));
  p = fma(p, r, set1(8.33345205e-3f));
  p = fma(p, r, set1(4.16657962e-2f));
  p = fma(p, r, set1(1.66666657e-1f));
  p = fma(p, r, set1(0.5f));
  p = fma(p, r * r, r + set1(1.0f));
  const ivec scale = (reinterpret_cast<ivec>(shifted) << 23) + 0x3f800000;
  return p * reinterpret_cast<vec>(scale);
}

// Where exp would clamp it is 0, and no normal number anyway: x * sigmoid(x) goes to 0 too. A NaN stays one.
HASTE_INLINE vec sigmoid(vec x) {
  const vec y = set1(1.0f) / (set1(1.0f) + exp(zero() - x));
  return select(reinterpret_cast<ivec>(x > set1(-88.0f)), y, select(reinterpret_cast<ivec>(x == x), zero(), x));
}

// A NaN stays one: of two operands, max and min give the second where they cannot be compared.
HASTE_INLINE vec activate(vec x, const Epilogue& e) {
  switch (e.activation) {
    case Activation::kIdentity:
      return x;
    case Activation::kRelu:
      return max(zero(), x);
    case Activation::kLeakyRelu:
      return select(reinterpret_cast<ivec>(x < zero()), x * set1(e.params[0]), x);
    case Activation::kClip:
      return min(set1(e.params[1]), max(set1(e.params[0]), x));
    case Activation::kHardSwish:
      return x * min(max(x * set1(1.0f / 6.0f) + set1(0.5f), zero()), set1(1.0f));
    case Activation::kSilu:
      return x * sigmoid(x);
    case Activation::kSigmoid:
      return sigmoid(x);
  }
  return x;
}

// Writes the tile at (row, col) of the patch for `part` of output block `block`; pixels past the image are dropped.
template <int kHeight, int kWidth>
HASTE_INLINE void finish(const ConvolveArgs& args, int block, int part, int row, int col, const vec* out) {
  const int rows = min_int(args.rows - row, kHeight), cols = min_int(args.cols - col, kWidth);
  const vec gain = loadu(args.gain + block * kBlock + part * kLanes);
  const vec bias = loadu(args.bias + block * kBlock + part * kLanes);
  for (int r = 0; r < rows; r++) {
    float* y = args.y + block * args.y_block + (row + r) * args.y_row + col * kBlock + part * kLanes;
    const float* z =
        args.z ? args.z + block * args.z_block + (row + r) * args.z_row + col * kBlock + part * kLanes : nullptr;
    for (int c = 0; c < cols; c++) {
      vec value = fma(out[r * kWidth + c], gain, bias);
      if (z) value = value + loadu(z + c * kBlock);
      storeu(y + c * kBlock, activate(value, *args.epilogue));
    }
  }
}

}  // namespace HASTE_NS
}  // namespace haste
