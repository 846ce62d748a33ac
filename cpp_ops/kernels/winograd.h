// F(3,3) and F(4,3): n outputs of three taps on n + 2 inputs, by products at n + 2 points. The points are, in this
// order, 0, 1, -1, 2, infinity, and for n = 4 also -2: both forms evaluate a filter alike.
//   G = [1 0 0; 1 1 1; 1 -1 1; 1 2 4; 0 0 1; 1 -2 4]      on filters, when they are merged: additions alone
//   B^T      on windows, once per bucket; it also carries what G would have to be divided by
//     n = 3: [1 -1/2 -1 1/2 0; 0 1 1/2 -1/2 0; 0 -1/3 1/2 -1/6 0; 0 -1/6 0 1/6 0; 0 2 -1 -2 1]
//     n = 4: [1 0 -5/4 0 1/4 0; 0 4/6 4/6 -1/6 -1/6 0; 0 -4/6 4/6 1/6 -1/6 0; 0 -2/24 -1/24 2/24 1/24 0;
//             0 4 0 -5 0 1; 0 2/24 -1/24 -2/24 1/24 0]
//   A^T      on sums over all buckets, once per patch
//     n = 3: [1 1 1 1 0; 0 1 -1 2 0; 0 1 1 4 1]
//     n = 4: [1 1 1 1 0 1; 0 1 -1 2 0 -2; 0 1 1 4 0 4; 0 1 -1 8 1 -8]
#pragma once

#include "isa.h"

namespace haste {
namespace HASTE_NS {

constexpr int kTaps = 9, kPoints = 5;  // points of F(3,3)
constexpr int kMostPoints = 6;         // of F(4,3)

// G: taps (w0, w1, w2) at point k. s = w0 + w2, which the points 1 and -1 share. Additions, since many processors have
// ports for them beside those of the multiply-adds.
HASTE_INLINE vec evaluate(int k, vec w0, vec w1, vec w2, vec s) {
  if (k == 0) return w0;
  if (k == 1) return s + w1;
  if (k == 2) return s - w1;
  if (k == 4) return w2;
  const vec twice = w2 + w2, t = k == 3 ? twice + w1 : twice - w1;
  return t + t + w0;
}

// The same for nested forms. On 64-bit ARM additions share the ports of multiply-adds: there a multiply-add takes the
// place of two, and what the points 2 and -2 share is computed once.
HASTE_INLINE vec evaluate_nested(int k, vec w0, vec w1, vec w2, vec s) {
#if defined(HASTE_BY_LANE)
  if (k == 3 || k == 5) {
    const vec even = fma(set1(4.0f), w2, w0), odd = w1 + w1;
    return k == 3 ? even + odd : even - odd;
  }
#endif
  return evaluate(k, w0, w1, w2, s);
}

// B^T, on n + 2 rows of pixels.
template <int kOutputs, typename Row>
HASTE_INLINE void transform(const Row* r, Row* out) {
  if constexpr (kOutputs == 3) {
    const Row d = r[1] - r[3];
    out[0] = (r[0] - r[2]) - d * 0.5f;
    out[1] = r[1] + (r[2] - r[3]) * 0.5f;
    out[2] = (r[2] - r[1] * (2.0f / 3.0f) - r[3] * (1.0f / 3.0f)) * 0.5f;
    out[3] = d * (-1.0f / 6.0f);
    out[4] = (d + d) + (r[4] - r[2]);
  } else {
    const Row even = r[2] * 4.0f - r[4], odd = r[1] * 4.0f - r[3], far = r[4] - r[2], near = (r[3] - r[1]) * 2.0f;
    out[0] = r[0] - r[2] * 1.25f + r[4] * 0.25f;
    out[1] = (even + odd) * (1.0f / 6.0f);
    out[2] = (even - odd) * (1.0f / 6.0f);
    out[3] = (far + near) * (1.0f / 24.0f);
    out[4] = odd - r[3] * 4.0f + r[5];
    out[5] = (far - near) * (1.0f / 24.0f);
  }
}

// A^T.
template <int kOutputs>
HASTE_INLINE void interpolate(const vec* point, vec* out) {
  const vec both = point[1] + point[2], difference = point[1] - point[2];
  if constexpr (kOutputs == 3) {
    out[0] = point[0] + both + point[3];
    out[1] = difference + (point[3] + point[3]);
    out[2] = fma(set1(4.0f), point[3], both) + point[4];
  } else {
    const vec both2 = point[3] + point[5], difference2 = point[3] - point[5];
    out[0] = point[0] + both + both2;
    out[1] = difference + (difference2 + difference2);
    out[2] = fma(set1(4.0f), both2, both);
    out[3] = fma(set1(8.0f), difference2, difference) + point[4];
  }
}

}  // namespace HASTE_NS
}  // namespace haste
