// What a kernel reads of its node and of one run: attributes with defaults, tensors with their shapes.
#pragma once

#include <string>
#include <vector>

#include "op.h"
#include "shape.h"

namespace haste::ort {

class Node {
 public:
  Node(const Api& api, const OrtKernelInfo* info);

  const Api& api() const { return api_; }
  const std::string& name() const { return name_; }

  int64_t integer(const char* attribute, int64_t fallback) const;
  std::vector<int64_t> integers(const char* attribute, std::vector<int64_t> fallback) const;
  std::vector<float> floats(const char* attribute) const;
  std::string text(const char* attribute, const char* fallback) const;
  haste_layout layout(const char* attribute) const;

  // Throws an Error that names the node.
  [[noreturn]] void refuse(const std::string& sentence, int code = ORT_INVALID_ARGUMENT) const;

  // Adds the node's name to an error of the kernels.
  template <typename Body>
  void named(Body body) const {
    try {
      body();
    } catch (const Error& error) {
      refuse(error.message, error.code);
    }
  }

 private:
  Api api_;
  const OrtKernelInfo* info_;  // valid while the kernel is being created
  std::string name_;
};

struct Tensor {
  int type = 0;  // an ElementType
  Shape shape;
  void* data = nullptr;

  template <typename T>
  const T* values() const {
    return static_cast<const T*>(data);
  }
};

Tensor tensor_of(const Api& api, const OrtValue* value);
// Input i of a run; an absent optional one has no data and the shape {-1}.
Tensor input(const Api& api, const OrtKernelContext* context, size_t index, size_t count);
// Allocates output i; nullptr when the node does not ask for it.
void* output(const Api& api, OrtKernelContext* context, size_t index, size_t count, const Shape& shape);

// haste_parallel_for over the session's own thread pool.
struct SessionPool {
  const Api& api;
  const OrtKernelContext* context;
  OrtStatus* failure = nullptr;

  static void run(void* pool, haste_task task, size_t count, void* state);
  // Throws when the runtime could not run the tasks of a call.
  void check();
};

}  // namespace haste::ort
