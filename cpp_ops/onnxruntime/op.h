// A custom operator made of a kernel class: what ONNX Runtime asks of an operator, answered once.
//
// A kernel class has a static `Schema schema()` (or Op is given one), a constructor (const Api&, const OrtKernelInfo*)
// and `void compute(OrtKernelContext*)`. Both may throw Error; no exception crosses the C boundary.
#pragma once

#include <cstdio>
#include <exception>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "haste/haste.h"
#include "ort_api.h"

namespace haste::ort {

struct Error {
  int code;
  std::string message;
};

// Turns a status of ONNX Runtime, or of the kernels, into an Error.
void check(const Api& api, OrtStatus* status);
void check(haste_status status);

struct Argument {
  int type;
  int characteristic = INPUT_OUTPUT_REQUIRED;
  int memory = OrtMemTypeDefault;
};

struct Schema {
  const char* name;
  std::vector<Argument> inputs, outputs;
  const char* provider = "CPUExecutionProvider";
};

template <typename Body>
OrtStatus* guarded(const Api& api, Body body) noexcept {
  try {
    body();
    return nullptr;
  } catch (const Error& error) {
    return api.CreateStatus(error.code, error.message.c_str());
  } catch (const std::bad_alloc&) {
    return api.CreateStatus(ORT_FAIL, "out of memory");
  } catch (const std::exception& error) {
    return api.CreateStatus(ORT_FAIL, error.what());
  } catch (...) {
    return api.CreateStatus(ORT_FAIL, "unexpected: an exception of an unknown type");
  }
}

template <typename Kernel>
class Op : public CustomOp {
 public:
  explicit Op(Schema schema = Kernel::schema()) : CustomOp{}, schema_(std::move(schema)) {
    version = kApiVersion;
    GetName = [](const CustomOp* op) { return self(op).schema_.name; };
    GetExecutionProviderType = [](const CustomOp* op) { return self(op).schema_.provider; };
    GetInputType = [](const CustomOp* op, size_t i) { return self(op).schema_.inputs[i].type; };
    GetInputTypeCount = [](const CustomOp* op) { return self(op).schema_.inputs.size(); };
    GetOutputType = [](const CustomOp* op, size_t i) { return self(op).schema_.outputs[i].type; };
    GetOutputTypeCount = [](const CustomOp* op) { return self(op).schema_.outputs.size(); };
    GetInputCharacteristic = [](const CustomOp* op, size_t i) { return self(op).schema_.inputs[i].characteristic; };
    GetOutputCharacteristic = [](const CustomOp* op, size_t i) { return self(op).schema_.outputs[i].characteristic; };
    GetInputMemoryType = [](const CustomOp* op, size_t i) { return self(op).schema_.inputs[i].memory; };
    GetVariadicInputMinArity = GetVariadicInputHomogeneity = [](const CustomOp*) { return 1; };
    GetVariadicOutputMinArity = GetVariadicOutputHomogeneity = [](const CustomOp*) { return 1; };
    GetStartVersion = GetEndVersion = [](const CustomOp*) { return 1; };
    CreateKernelV2 = [](const CustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
      const Api slots(api);
      return guarded(slots, [&] { *kernel = new Kernel(slots, info); });
    };
    KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
      Kernel& k = *static_cast<Kernel*>(kernel);
      return guarded(k.api(), [&] { k.compute(context); });
    };
    KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
    // Some runtimes look at these two to tell what an operator has; from 1.17 on the V2 functions are the ones called.
    CreateKernel = [](const CustomOp* op, const OrtApi* api, const OrtKernelInfo* info) -> void* {
      void* kernel = nullptr;
      report(Api(api), op->CreateKernelV2(op, api, info, &kernel));
      return kernel;
    };
    KernelCompute = [](void* kernel, OrtKernelContext* context) {
      if (!kernel) return;
      Kernel& k = *static_cast<Kernel*>(kernel);
      report(k.api(), guarded(k.api(), [&] { k.compute(context); }));
    };
  }

 private:
  static const Op& self(const CustomOp* op) { return *static_cast<const Op*>(op); }
  static void report(const Api& api, OrtStatus* status) {
    if (!status) return;
    std::fprintf(stderr, "haste: %s\n", api.GetErrorMessage(status));
    api.ReleaseStatus(status);
  }

  Schema schema_;
};

std::vector<const CustomOp*> conv_ops();
std::vector<const CustomOp*> level_ops();
const CustomOp* max_pool_op();
const CustomOp* average_pool_op();
const CustomOp* reorder_op();
std::vector<const CustomOp*> cuda_operators();  // for the CUDA provider, in a build that has them

}  // namespace haste::ort
