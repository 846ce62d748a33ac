#include "cache_size.h"

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <string>

#include "system_file.h"

namespace haste {
namespace {

constexpr size_t kGuess = 512 * 1024;

// The folder of the first processor's second-level cache, or "".
std::string l2_folder() {
  for (int index = 0; index < 8; index++) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    if (read_line(folder + "level") == "2\n") return folder;
  }
  return "";
}

size_t size_from_sysfs() {
  const std::string folder = l2_folder();
  if (folder.empty()) return 0;
  unsigned long size = 0;
  char unit = 0;
  if (std::sscanf(read_line(folder + "size").c_str(), "%lu%c", &size, &unit) < 1) return 0;
  return size * (unit == 'K' ? 1024u : unit == 'M' ? 1024u * 1024u : 1u);
}

// How many processors a list such as "0-3,8" names.
int processors(const std::string& list) {
  int count = 0;
  const char* at = list.c_str();
  int first = 0, last = 0, read = 0;
  while (std::sscanf(at, "%d%n", &first, &read) == 1) {
    at += read;
    last = first;
    if (std::sscanf(at, "-%d%n", &last, &read) == 1) at += read;
    count += last - first + 1;
    if (*at != ',') break;
    at++;
  }
  return count;
}

int cores_from_sysfs() {
  const std::string folder = l2_folder();
  if (folder.empty()) return 1;
  const int sharing = processors(read_line(folder + "shared_cpu_list"));
  const int siblings = processors(read_line("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"));
  return sharing > siblings && siblings > 0 ? sharing / siblings : 1;
}

size_t detect() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const long size = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (size > 0) return static_cast<size_t>(size);
#endif
  const size_t size_sysfs = size_from_sysfs();
  return size_sysfs ? size_sysfs : kGuess;
}

std::atomic<size_t>& size() {
  static std::atomic<size_t> bytes{detect()};
  return bytes;
}

std::atomic<int>& cores() {
  static std::atomic<int> count{cores_from_sysfs()};
  return count;
}

}  // namespace

size_t l2_cache_size() {
  return size().load(std::memory_order_relaxed);
}

int l2_cache_cores() {
  return cores().load(std::memory_order_relaxed);
}

void set_l2_cache(size_t bytes, int shared_by) {
  size().store(bytes ? bytes : detect());
  cores().store(shared_by ? shared_by : cores_from_sysfs());
}

}  // namespace haste
