// What this core can do at best, for the benchmarks: independent multiply-adds that touch no memory.

#include "isa.h"

namespace haste {
namespace HASTE_NS {

int64_t multiply_adds(int rounds) {
  // Two ports of four cycles' latency want eight chains; twelve leave room and still fit the sixteen registers of AVX2.
  constexpr int kChains = 12;
  vec a[kChains];
  for (int i = 0; i < kChains; i++) a[i] = set1(static_cast<float>(i));
  const vec b = set1(0.999f), c = set1(1e-3f);
  for (int r = 0; r < rounds; r++) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; i++) a[i] = fma(a[i], b, c);
  }
  vec sum = zero();
  for (const vec& v : a) sum = sum + v;
  volatile float keep = reduce_add(sum);
  (void)keep;
  return int64_t{2} * kChains * kLanes * rounds;
}

}  // namespace HASTE_NS
}  // namespace haste
