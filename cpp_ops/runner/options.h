// The command line of haste-run.
#ifndef HASTE_RUNNER_OPTIONS_H_
#define HASTE_RUNNER_OPTIONS_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace haste::runner {

struct Options {
  std::string model;
  std::string onnxruntime, library;
  bool use_library = true, require_native = false;
  std::map<std::string, std::string> inputs, outputs;  // tensor name -> file; the name "" means the only one
  std::map<std::string, std::vector<std::int64_t>> shapes;
  std::optional<std::int64_t> hyperplanes, level;
  std::uint64_t seed = 0;
  int threads = 1, runs = 10, warmup = 2;
  std::uint64_t evict_bytes = 0;  // before every timed run
  std::string json;
  bool optimize = true, lockstep = false, marks = false;
  bool help = false, version = false;
};

// Throws Error(kUsage) naming the argument at fault.
Options parse_options(int argc, const char* const* argv);

const char* usage();

}  // namespace haste::runner

#endif  // HASTE_RUNNER_OPTIONS_H_
