// Which instruction sets are compiled in, and which of them this processor has.

#include "kernels.h"

namespace haste {

#define HASTE_DECLARE(isa)         \
  namespace isa_##isa {            \
    extern const Kernels kKernels; \
  }
#if defined(HASTE_WITH_X86)
HASTE_DECLARE(avx512)
HASTE_DECLARE(avx2)
#endif
#if defined(HASTE_WITH_NEON)
HASTE_DECLARE(neon)
#endif
HASTE_DECLARE(generic)
#undef HASTE_DECLARE

namespace {

struct Available {
  const Kernels* list[8] = {};  // terminated
  Available() {
    int n = 0;
#if defined(HASTE_WITH_X86)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2") &&
                      __builtin_cpu_supports("popcnt");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
      list[n++] = &isa_avx512::kKernels;
    if (avx2) list[n++] = &isa_avx2::kKernels;
#endif
#if defined(HASTE_WITH_NEON)
    list[n++] = &isa_neon::kKernels;
#endif
    list[n] = &isa_generic::kKernels;
  }
};

}  // namespace

const Kernels* const* available_kernels() {
  static const Available available;
  return available.list;
}

}  // namespace haste
