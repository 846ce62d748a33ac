#include "cache_size.h"

#include <unistd.h>

#include <cstdio>

namespace haste {
namespace {

constexpr size_t kGuess = 512 * 1024;

size_t from_sysfs() {
  for (int index = 0; index < 8; index++) {
    char path[96];
    std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", index);
    std::FILE* file = std::fopen(path, "r");
    if (!file) return 0;
    int level = 0;
    const bool read = std::fscanf(file, "%d", &level) == 1;
    std::fclose(file);
    if (!read || level != 2) continue;
    std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
    file = std::fopen(path, "r");
    if (!file) return 0;
    unsigned long size = 0;
    char unit = 0;
    const int fields = std::fscanf(file, "%lu%c", &size, &unit);
    std::fclose(file);
    if (fields < 1) return 0;
    return size * (unit == 'K' ? 1024u : unit == 'M' ? 1024u * 1024u : 1u);
  }
  return 0;
}

size_t detect() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const long size = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (size > 0) return static_cast<size_t>(size);
#endif
  const size_t size_sysfs = from_sysfs();
  return size_sysfs ? size_sysfs : kGuess;
}

}  // namespace

size_t l2_cache_size() {
  static const size_t size = detect();
  return size;
}

}  // namespace haste
