// What haste-run prints: a table for people, JSON for programs.
#ifndef HASTE_RUNNER_REPORT_H_
#define HASTE_RUNNER_REPORT_H_

#include <string>
#include <vector>

#include "dynamic_library.h"
#include "measure.h"
#include "options.h"
#include "session.h"

namespace haste::runner {

struct Report {
  const Options& options;
  const OnnxRuntime& runtime;
  const DynamicLibrary& library;
  const Measurement& measurement;
  const std::vector<Output>& outputs;
};

std::string human_report(const Report& report);
std::string json_report(const Report& report);

}  // namespace haste::runner

#endif  // HASTE_RUNNER_REPORT_H_
