#include "measure.h"

#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "marks.h"
#include "memory_stream.h"

namespace haste::runner {
namespace {

const std::string kStatsPrefix = "haste_stats/";
constexpr std::size_t kStats = 8;

std::vector<LayerStats> layer_stats(const Session& session) {
  std::vector<LayerStats> layers;
  for (const Output& output : session.outputs()) {
    if (output.name.rfind(kStatsPrefix, 0) != 0 || !output.type || output.type->onnx != kFloat ||
        element_count(output.shape) != kStats)
      continue;
    std::vector<float> sums(kStats);
    std::memcpy(sums.data(), output.data, kStats * sizeof(float));
    layers.push_back({output.name.substr(kStatsPrefix.size()), sums});
  }
  return layers;
}

}  // namespace

// noinline, and not a lambda: valgrind's --toggle-collect finds it by this name.
extern "C" __attribute__((noinline)) void haste_run_measured(Session* session) {
  session->run();
  asm volatile("" : : : "memory");
}

double now_seconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

std::uint64_t peak_memory() {
  std::uint64_t kib = 0;
  if (std::FILE* status = std::fopen("/proc/self/status", "r")) {
    char line[256];
    while (std::fgets(line, sizeof line, status)) {
      unsigned long long value;
      if (std::sscanf(line, "VmHWM: %llu kB", &value) == 1) kib = value;
    }
    std::fclose(status);
  }
  return kib * 1024;
}

std::uint64_t native_run_count(const DynamicLibrary& library) {
  const auto count = reinterpret_cast<std::uint64_t (*)()>(library.symbol("haste_run_count"));
  return count ? count() : 0;
}

double Times::quantile(double fraction) const {
  std::vector<double> sorted = seconds;
  std::sort(sorted.begin(), sorted.end());
  const double place = fraction * static_cast<double>(sorted.size() - 1);
  const std::size_t low = static_cast<std::size_t>(place);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (place - static_cast<double>(low));
}

Measurement measure(Session& session, const DynamicLibrary& library, const Options& options) {
  Measurement result;
  result.memory_loaded = peak_memory();
  MemoryStreams streams;
  // What a cold run starts from is empty caches: nothing before it needs to be simulated.
  if (options.marks && !options.evict_bytes) mark(Mark::kWarm);
  for (int i = 0; i < options.warmup; i++) session.run();
  const std::uint64_t before = native_run_count(library);
  for (int i = 0; i < options.runs; i++) {
    if (options.evict_bytes) {
      // A simulator empties its caches at once; walking a buffer would only cost simulated time.
      if (options.marks)
        mark(Mark::kFlush);
      else
        streams.evict(options.evict_bytes);
    }
    if (options.marks) mark(Mark::kBegin);
    const double start = now_seconds();
    haste_run_measured(&session);
    result.times.seconds.push_back(now_seconds() - start);
    if (options.marks) mark(Mark::kEnd);
  }
  result.native_runs = (native_run_count(library) - before) / static_cast<std::uint64_t>(options.runs);
  result.layers = layer_stats(session);
  result.memory_peak = peak_memory();
  return result;
}

}  // namespace haste::runner
