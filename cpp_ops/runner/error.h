// Failures of haste-run, each with the exit code it ends the process with.
#ifndef HASTE_RUNNER_ERROR_H_
#define HASTE_RUNNER_ERROR_H_

#include <stdexcept>
#include <string>

namespace haste::runner {

enum ExitCode {
  kDone = 0,
  kCheckFailed = 1,  // the model or a requested check failed
  kUsage = 2,        // a wrong option, or a file that cannot be read
  kEnvironment = 3,  // no ONNX Runtime, no operator library
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

}  // namespace haste::runner

#endif  // HASTE_RUNNER_ERROR_H_
