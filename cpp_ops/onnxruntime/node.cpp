#include "node.h"

namespace haste::ort {

void check(const Api& api, OrtStatus* status) {
  if (!status) return;
  Error error{ORT_FAIL, api.GetErrorMessage(status)};
  api.ReleaseStatus(status);
  throw error;
}

void check(haste_status status) {
  if (status == HASTE_OK) return;
  const std::string sentence = haste_error_message();
  switch (status) {
    case HASTE_INVALID_ARGUMENT:
      throw Error{ORT_INVALID_ARGUMENT, sentence};
    case HASTE_UNSUPPORTED:
      throw Error{ORT_NOT_IMPLEMENTED, sentence};
    default:
      throw Error{ORT_FAIL, sentence};
  }
}

namespace {

// True when the call succeeded; a failure means that the attribute is not there.
bool found(const Api& api, OrtStatus* status) {
  if (!status) return true;
  api.ReleaseStatus(status);
  return false;
}

// Strings and arrays come in two calls: their size, then their contents.
template <typename Container, typename Call>
bool read_sized(const Api& api, Container& out, Call call) {
  size_t size = 0;
  if (!found(api, call(nullptr, &size))) return false;
  out.resize(size);
  return size == 0 || found(api, call(out.data(), &size));
}

}  // namespace

Node::Node(const Api& api, const OrtKernelInfo* info) : api_(api), info_(info) {
  read_sized(api_, name_, [&](char* out, size_t* size) { return api_.KernelInfo_GetNodeName(info_, out, size); });
  name_ = name_.c_str();  // without the terminating zero that was counted
}

int64_t Node::integer(const char* attribute, int64_t fallback) const {
  int64_t value = 0;
  return found(api_, api_.KernelInfoGetAttribute_int64(info_, attribute, &value)) ? value : fallback;
}

std::vector<int64_t> Node::integers(const char* attribute, std::vector<int64_t> fallback) const {
  std::vector<int64_t> values;
  const bool there = read_sized(api_, values, [&](int64_t* out, size_t* size) {
    return api_.KernelInfoGetAttributeArray_int64(info_, attribute, out, size);
  });
  if (!there || values.empty()) return fallback;
  if (!fallback.empty() && values.size() != fallback.size())
    refuse(std::string(attribute) + " has " + std::to_string(values.size()) + " values, " +
           std::to_string(fallback.size()) + " are needed: only 2-D convolutions and pools are supported");
  return values;
}

std::vector<float> Node::floats(const char* attribute) const {
  std::vector<float> values;
  if (!read_sized(api_, values, [&](float* out, size_t* size) {
        return api_.KernelInfoGetAttributeArray_float(info_, attribute, out, size);
      }))
    values.clear();
  return values;
}

std::string Node::text(const char* attribute, const char* fallback) const {
  std::string value;
  if (!read_sized(api_, value, [&](char* out, size_t* size) {
        return api_.KernelInfoGetAttribute_string(info_, attribute, out, size);
      }))
    return fallback;
  return value.c_str();
}

haste_layout Node::layout(const char* attribute) const {
  const std::string value = text(attribute, "NCHW");
  if (value == "NCHW") return HASTE_NCHW;
  if (value == "blocked") return HASTE_BLOCKED;
  refuse(std::string(attribute) + " is '" + value + "', must be 'NCHW' or 'blocked'");
}

void Node::refuse(const std::string& sentence, int code) const {
  throw Error{code, "'" + name_ + "': " + sentence};
}

Tensor tensor_of(const Api& api, const OrtValue* value) {
  Tensor tensor;
  if (!value) {
    tensor.shape = {-1};
    return tensor;
  }
  OrtTensorTypeAndShapeInfo* info = nullptr;
  check(api, api.GetTensorTypeAndShape(value, &info));
  size_t rank = 0;
  OrtStatus* status = api.GetDimensionsCount(info, &rank);
  if (!status) {
    tensor.shape = Shape(rank);
    status = api.GetDimensions(info, tensor.shape.data(), tensor.shape.stored());
  }
  if (!status) status = api.GetTensorElementType(info, &tensor.type);
  api.ReleaseTensorTypeAndShapeInfo(info);
  check(api, status);
  check(api, api.GetTensorMutableData(const_cast<OrtValue*>(value), &tensor.data));
  return tensor;
}

Tensor input(const Api& api, const OrtKernelContext* context, size_t index, size_t count) {
  const OrtValue* value = nullptr;
  if (index < count) check(api, api.KernelContext_GetInput(context, index, &value));
  return tensor_of(api, value);
}

void* output(const Api& api, OrtKernelContext* context, size_t index, size_t count, const Shape& shape) {
  if (index >= count) return nullptr;
  OrtValue* value = nullptr;
  check(api, api.KernelContext_GetOutput(context, index, shape.data(), shape.size(), &value));
  if (!value) return nullptr;
  void* data = nullptr;
  check(api, api.GetTensorMutableData(value, &data));
  return data;
}

void SessionPool::run(void* pool, haste_task task, size_t count, void* state) {
  SessionPool& self = *static_cast<SessionPool*>(pool);
  OrtStatus* status = self.api.KernelContext_ParallelFor(self.context, task, count, 0, state);
  if (!status) return;
  if (self.failure) self.api.ReleaseStatus(self.failure);
  self.failure = status;
}

void SessionPool::check() {
  OrtStatus* status = failure;
  failure = nullptr;
  ort::check(api, status);
}

}  // namespace haste::ort
