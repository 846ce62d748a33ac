// haste-run: runs a model with the HasteConv operator library, with nothing but ONNX Runtime's shared library.
#include <cstdio>
#include <exception>
#include <memory>
#include <new>

#include "error.h"
#include "lockstep.h"
#include "measure.h"
#include "npy.h"
#include "options.h"
#include "report.h"
#include "session.h"

#ifndef HASTE_RUNNER_VERSION
#define HASTE_RUNNER_VERSION "unknown"
#endif

namespace haste::runner {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

void write_text(const std::string& path, const std::string& text) {
  if (path == "-") {
    std::fputs(text.c_str(), stdout);
    return;
  }
  const std::unique_ptr<std::FILE, CloseFile> file(std::fopen(path.c_str(), "w"));
  if (!file || std::fputs(text.c_str(), file.get()) < 0 || std::fflush(file.get()) != 0)
    throw Error(kUsage, path + ": cannot be written");
}

void write_outputs(const Options& options, const std::vector<Output>& outputs) {
  for (const Output& output : outputs) {
    auto file = options.outputs.find(output.name);
    if (file == options.outputs.end() && outputs.size() == 1) file = options.outputs.find("");
    if (file == options.outputs.end()) continue;
    if (!output.type) throw Error(kUsage, "output " + output.name + ": its type cannot be written as .npy");
    write_npy(file->second, *output.type, output.shape, output.data);
  }
}

int run(int argc, const char* const* argv) {
  const Options options = parse_options(argc, argv);
  if (options.help) {
    std::fputs(usage(), stdout);
    return kDone;
  }
  if (options.version) {
    std::puts("haste-run " HASTE_RUNNER_VERSION);
    return kDone;
  }
  const OnnxRuntime runtime = load_onnxruntime(options.onnxruntime);
  const DynamicLibrary library = options.use_library ? load_operator_library(options.library) : DynamicLibrary();
  Session session(runtime, library, options);
  if (options.lockstep) {
    obey_commands(session);
    return kDone;
  }
  const Measurement measurement = measure(session, library, options);
  const std::vector<Output> outputs = session.outputs();
  write_outputs(options, outputs);
  const Report report{options, runtime, library, measurement, outputs};
  if (options.json != "-") std::fputs(human_report(report).c_str(), stdout);
  if (!options.json.empty()) write_text(options.json, json_report(report));
  if (options.require_native && measurement.native_runs == 0)
    throw Error(kCheckFailed,
                "no native HasteConv kernel ran" + std::string(library.open() ? "" : " (no operator library)"));
  return kDone;
}

}  // namespace
}  // namespace haste::runner

int main(int argc, char** argv) {
  try {
    return haste::runner::run(argc, argv);
  } catch (const haste::runner::Error& error) {
    std::fprintf(stderr, "haste-run: %s\n", error.what());
    return error.code();
  } catch (const std::bad_alloc&) {
    std::fputs("haste-run: out of memory\n", stderr);
    return haste::runner::kCheckFailed;
  }
}
