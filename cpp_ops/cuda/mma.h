// Matrix products on tensor cores that are as good as float32: every factor is the sum of two TF32 numbers, and of the
// four products the one of both small parts, 2^-22 of the whole, is left out.
#pragma once

#include <algorithm>
#include <cmath>

#include "device.h"

namespace haste::cuda {

// x = high + low to 2^-23 of x. The lower 13 bits of both are zero, as TF32 operands want it.
struct alignas(8) Tf32Pair {
  uint32_t high, low;
};

constexpr uint32_t kTf32Bits = 0xffffe000u;

HASTE_DEVICE uint32_t round_to_tf32(float x) {  // to nearest, ties away
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits & kTf32Bits;
#else
  const uint32_t bits = bits_of(x);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return (finite ? bits + 0x1000u : bits) & kTf32Bits;
#endif
}

HASTE_DEVICE Tf32Pair split_tf32(float x) {
  const uint32_t high = round_to_tf32(x);
  return {high, bits_of(x - from_bits(high)) & kTf32Bits};
}

// What a lane holds of the factors and the sum of D[16][8] += A[16][8] B[8][8] (PTX ISA, mma.m16n8k8 for .tf32), with
// g = lane / 4 and t = lane % 4:
//   A: [g][t], [g + 8][t], [g][t + 4], [g + 8][t + 4]
//   B: [t][g], [t + 4][g]
//   D: [g][2 t], [g][2 t + 1], [g + 8][2 t], [g + 8][2 t + 1]
struct FactorA {
  uint32_t value[4];
};
struct FactorB {
  uint32_t value[2];
};
struct Sum {
  float value[4];
};

#if defined(__CUDA_ARCH__)

HASTE_DEVICE void mma(Sum& d, const FactorA& a, const FactorB& b) {
#if __CUDA_ARCH__ >= 800
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d.value[0]), "+f"(d.value[1]), "+f"(d.value[2]), "+f"(d.value[3])
      : "r"(a.value[0]), "r"(a.value[1]), "r"(a.value[2]), "r"(a.value[3]), "r"(b.value[0]), "r"(b.value[1]));
#endif
}

#else

// As tensor cores add (Fasi, Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor cores, 2021): all terms are
// cut to two bits more than the largest would have as a float32, and their sum to 24 bits. Terms are exact products or
// float32 numbers.
inline float cut_sum(const double* terms, int count) {
  double largest = 0.0, plain = 0.0;
  for (int i = 0; i < count; i++) {
    largest = std::max(largest, std::fabs(terms[i]));
    plain += terms[i];
  }
  if (largest == 0.0 || !std::isfinite(plain)) return static_cast<float>(plain);
  const double unit = std::ldexp(1.0, std::ilogb(largest) - 25);
  double sum = 0.0;
  for (int i = 0; i < count; i++) sum += std::trunc(terms[i] / unit) * unit;
  const auto nearest = static_cast<float>(sum);
  return std::fabs(nearest) > std::fabs(sum) ? std::nextafter(nearest, 0.0f) : nearest;
}

// Of a whole warp.
inline void mma(Sum* const* d, const FactorA* const* a, const FactorB* const* b) {
  for (int row = 0; row < 16; row++) {
    for (int column = 0; column < 8; column++) {
      float& sum = d[row % 8 * 4 + column / 2]->value[row / 8 * 2 + column % 2];
      for (int block = 0; block < 2; block++) {
        double terms[5] = {sum};
        for (int k = 0; k < 4; k++) {
          const float left = from_bits(a[row % 8 * 4 + k]->value[block * 2 + row / 8]);
          terms[k + 1] = static_cast<double>(left) * from_bits(b[column * 4 + k]->value[block]);
        }
        sum = cut_sum(terms, 5);
      }
    }
  }
}

#endif

// A warp's lanes multiply together: sum, a and b tell where a lane's state has them.
template <class State, class SumOf, class FactorAOf, class FactorBOf>
HASTE_DEVICE void mma_of_warp(ThreadStates<State>& states, int warp, const SumOf& sum, const FactorAOf& a,
                              const FactorBOf& b) {
#if defined(__CUDA_ARCH__)
  State& own = states.of(warp * kWarp);
  mma(sum(own), a(own), b(own));
#else
  Sum* sums[kWarp];
  const FactorA* left[kWarp];
  const FactorB* right[kWarp];
  for (int lane = 0; lane < kWarp; lane++) {
    State& state = states.of(warp * kWarp + lane);
    sums[lane] = &sum(state), left[lane] = &a(state), right[lane] = &b(state);
  }
  mma(sums, left, right);
#endif
}

}  // namespace haste::cuda
