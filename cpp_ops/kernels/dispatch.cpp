#include "dispatch.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "error.h"

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

const Kernels* find(const char* name) {
  for (const Kernels* const* k = available_kernels(); *k; k++)
    if (!std::strcmp((*k)->isa, name)) return *k;
  return nullptr;
}

// nullptr if the environment names none.
const char* wanted_kernels() {
  const char* name = std::getenv("HASTE_ISA");
  return name && *name ? name : nullptr;
}

std::atomic<const Kernels*>& selection() {
  static std::atomic<const Kernels*> selected{[] {
    const char* name = wanted_kernels();
    const Kernels* wanted = name ? find(name) : nullptr;
    return wanted ? wanted : *available_kernels();
  }()};
  return selected;
}

}  // namespace

const Kernels* const* available_kernels() {
  static const Available available;
  return available.list;
}

const Kernels* selected_kernels() {
  return selection().load();
}

haste_status select_kernels(const char* name) {
  const Kernels* kernels = name ? find(name) : nullptr;
  if (!kernels)
    return fail(HASTE_UNSUPPORTED, "instruction set '%s' is not compiled in or not supported here", name ? name : "");
  selection().store(kernels);
  return HASTE_OK;
}

haste_status check_wanted_kernels() {
  const char* name = wanted_kernels();
  if (!name || find(name)) return HASTE_OK;
  return fail(HASTE_UNSUPPORTED, "HASTE_ISA=%s is not compiled in or not supported by this processor", name);
}

}  // namespace haste
