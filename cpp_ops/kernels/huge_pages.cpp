#include "huge_pages.h"

#if defined(__linux__)

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>

namespace haste {
namespace {

constexpr uintptr_t kHugePage = uintptr_t{2} << 20;  // where pages have 4 KB; with others there is nothing to gain
#if !defined(MADV_COLLAPSE)
#define MADV_COLLAPSE 25
#endif

// MADV_COLLAPSE does not ask what the system's administrator wants.
bool are_allowed() {
  std::FILE* const file = std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
  if (!file) return false;
  char line[64] = "";
  const bool read = std::fgets(line, sizeof line, file) != nullptr;
  std::fclose(file);
  return read && !std::strstr(line, "[never]");
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
