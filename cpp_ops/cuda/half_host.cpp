// Conversions between float32 and IEEE binary16 on the CPU.

#include <cstdint>

#include "device.h"

namespace haste::cuda {
namespace {

constexpr int kMantissaShift = 13;         // 23 - 10 mantissa bits
constexpr uint32_t kBiasDifference = 112;  // 127 - 15
constexpr uint32_t kFloatInfinity = 0x7f800000u;

}  // namespace

float half_to_float_host(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000u) << 16;
  const uint32_t exponent = bits >> 10 & 31u, mantissa = bits & 1023u;
  if (exponent == 31) return from_bits(sign | kFloatInfinity | mantissa << kMantissaShift);
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
    const float magnitude = static_cast<float>(mantissa) * from_bits(103u << 23);
    return sign ? -magnitude : magnitude;
  }
  return from_bits(sign | (exponent + kBiasDifference) << 23 | mantissa << kMantissaShift);
}

uint16_t float_to_half_host(float value) {
  const uint32_t bits = bits_of(value), magnitude = bits & 0x7fffffffu;
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  if (magnitude > kFloatInfinity) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude < (kBiasDifference + 1) << 23) {
    // Subnormal: adding 0.5 leaves the result, rounded to nearest even, in the low mantissa bits.
    const uint32_t rounded = bits_of(from_bits(magnitude) + 0.5f) - bits_of(0.5f);
    return static_cast<uint16_t>(sign | rounded);
  }
  const uint32_t odd = magnitude >> kMantissaShift & 1u;
  const uint32_t rounded = (magnitude - (kBiasDifference << 23) + 0xfffu + odd) >> kMantissaShift;
  return static_cast<uint16_t>(sign | (rounded > 0x7c00u ? 0x7c00u : rounded));
}

}  // namespace haste::cuda
