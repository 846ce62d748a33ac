#include "huge_pages.h"

#if defined(__linux__)

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "system_file.h"

namespace haste {
namespace {

constexpr uintptr_t kHugePage = uintptr_t{2} << 20;  // where pages have 4 KB; with others there is nothing to gain
#if !defined(MADV_COLLAPSE)
#define MADV_COLLAPSE 25
#endif

// MADV_COLLAPSE does not ask what the system's administrator wants.
bool are_allowed() {
  const std::string policy = read_line("/sys/kernel/mm/transparent_hugepage/enabled");
  return !policy.empty() && policy.find("[never]") == std::string::npos;
}

}  // namespace

void move_to_huge_pages(const void* memory, size_t bytes) {
  static const bool possible = sysconf(_SC_PAGESIZE) == 4096 && are_allowed();
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory), end = (begin + bytes) / kHugePage * kHugePage;
  const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  if (!possible || first >= end) return;
  // Advice: refused, it costs speed and nothing else.
  madvise(reinterpret_cast<void*>(first), end - first, MADV_COLLAPSE);
}

}  // namespace haste

#else

namespace haste {

void move_to_huge_pages(const void*, size_t) {}

}  // namespace haste

#endif
