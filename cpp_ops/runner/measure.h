// Timed runs of a session, and what the operator library and the kernel say about them.
#ifndef HASTE_RUNNER_MEASURE_H_
#define HASTE_RUNNER_MEASURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "dynamic_library.h"
#include "options.h"
#include "session.h"

namespace haste::runner {

struct Times {
  std::vector<double> seconds;  // in the order of the runs
  double median() const { return quantile(0.5); }
  double spread() const { return quantile(0.75) - quantile(0.25); }  // interquartile range
  double quantile(double fraction) const;                            // linear between neighbours
};

// The sums of docs/operator.md, "Statistics", of one HasteConv.
struct LayerStats {
  std::string name;
  std::vector<float> sums;
  bool native() const { return sums[0] > 0; }
  double compression() const { return sums[1] > 0 ? 1.0 - static_cast<double>(sums[2]) / sums[1] : 0; }
};

struct Measurement {
  Times times;
  std::vector<LayerStats> layers;
  std::uint64_t native_runs = 0;                     // HasteConv kernels run in one inference
  std::uint64_t memory_loaded = 0, memory_peak = 0;  // bytes, VmHWM after loading the model and at the end
};

// One inference; a simulator can be told to count inside this function by its name.
extern "C" void haste_run_measured(Session* session);

Measurement measure(Session& session, const DynamicLibrary& library, const Options& options);

// Native HasteConv runs in this process so far; 0 without the library.
std::uint64_t native_run_count(const DynamicLibrary& library);

// VmHWM of /proc/self/status in bytes; 0 where there is none.
std::uint64_t peak_memory();

double now_seconds();

}  // namespace haste::runner

#endif  // HASTE_RUNNER_MEASURE_H_
