// An ONNX Runtime session with the operator library registered, and the inputs it is fed.
#ifndef HASTE_RUNNER_SESSION_H_
#define HASTE_RUNNER_SESSION_H_

#include <memory>
#include <string>
#include <vector>

#include "dynamic_library.h"
#include "error.h"
#include "options.h"
#include "ort_host_api.h"
#include "tensor.h"

namespace haste::runner {

// A model input, output or overridable initializer as the runtime declares it. Open sizes are negative.
struct Declared {
  std::string name;
  int element_type = 0;  // 0: not a tensor
  std::vector<std::int64_t> shape;
};

// An output of the last run; `data` belongs to the session until its next run.
struct Output {
  std::string name;
  const ElementType* type;  // null when the type has no .npy form
  std::vector<std::int64_t> shape;
  const void* data;
};

class Session {
 public:
  // Reads the model, registers `library` if it is open, makes or reads every input. Throws Error.
  Session(const OnnxRuntime& runtime, const DynamicLibrary& library, const Options& options);
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // One inference; throws Error(kCheckFailed) with the runtime's message.
  void run();
  std::vector<Output> outputs() const;

  const std::vector<Declared>& declared_inputs() const { return inputs_; }
  const std::vector<Declared>& declared_overridable() const { return overridable_; }

 private:
  void check(ort::Status* status, ExitCode code, const std::string& what) const;
  std::vector<Declared> declared(bool is_input) const;
  std::vector<Declared> overridable() const;
  Declared describe(const char* name, ort::TypeInfo* type) const;
  std::string take_name(char* name) const;
  void feed(const Options& options);
  void feed_scalar(const std::string& name, std::int64_t value);
  void bind(const std::string& name, Tensor tensor);
  void release_outputs();

  ort::Api api_;
  ort::Allocator* allocator_ = nullptr;
  ort::Env* env_ = nullptr;
  ort::MemoryInfo* memory_ = nullptr;
  ort::Session* session_ = nullptr;
  std::vector<Declared> inputs_, outputs_, overridable_;
  std::vector<std::unique_ptr<Tensor>> tensors_;
  std::vector<std::string> fed_names_;
  std::vector<const char*> fed_name_pointers_, output_name_pointers_;
  std::vector<ort::Value*> fed_values_, output_values_;
};

}  // namespace haste::runner

#endif  // HASTE_RUNNER_SESSION_H_
