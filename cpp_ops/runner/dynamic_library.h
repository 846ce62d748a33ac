// A shared library opened at run time, and where haste-run looks for the two it needs.
#ifndef HASTE_RUNNER_DYNAMIC_LIBRARY_H_
#define HASTE_RUNNER_DYNAMIC_LIBRARY_H_

#include <string>

#include "ort_host_api.h"

namespace haste::runner {

// Stays open until the process ends: runtimes keep threads and static objects that must not lose their code.
class DynamicLibrary {
 public:
  DynamicLibrary() = default;
  // Throws Error(kEnvironment) with the loader's reason.
  explicit DynamicLibrary(const std::string& path);

  // Null when the library has no such symbol.
  void* symbol(const char* name) const;
  const std::string& path() const { return path_; }
  bool open() const { return handle_ != nullptr; }

 private:
  std::string path_;
  void* handle_ = nullptr;
};

struct OnnxRuntime {
  DynamicLibrary library;
  ort::Table table;
  std::string version;
};

// Looks at `option`, $HASTE_ONNXRUNTIME, the folder of haste-run (also ../lib beside it), then the loader's search
// path. Throws Error(kEnvironment) that lists the places, or says that the runtime found is older than 1.17.
OnnxRuntime load_onnxruntime(const std::string& option);

// libhaste_ops.so: `option`, $HASTE_OPS_LIBRARY, the folder of haste-run, ../lib beside it. Empty when there is none;
// throws Error(kEnvironment) when an explicitly named one does not load.
DynamicLibrary load_operator_library(const std::string& option);

}  // namespace haste::runner

#endif  // HASTE_RUNNER_DYNAMIC_LIBRARY_H_
