// What the operators of this folder share: the provider that runs them, its stream, its errors.
#pragma once

#include "../../onnxruntime/node.h"
#include "haste/haste_cuda.h"

namespace haste::ort {

#if defined(HASTE_CUDA_HOST)
constexpr const char* kProvider = "CPUExecutionProvider";  // the kernels as loops, for tests (backend_host.cpp)
#else
constexpr const char* kProvider = "CUDAExecutionProvider";
#endif

// cudaStream_t of a run; null on the CPU provider.
inline void* stream_of(const Api& api, const OrtKernelContext* context) {
  void* stream = nullptr;
  check(api, api.KernelContext_GetGPUComputeStream(context, &stream));
  return stream;
}

inline void check_cuda(haste_status status) {
  if (status == HASTE_OK) return;
  const int code = status == HASTE_OUT_OF_MEMORY ? ORT_FAIL
                   : status == HASTE_UNSUPPORTED ? ORT_NOT_IMPLEMENTED
                                                 : ORT_INVALID_ARGUMENT;
  throw Error{code, haste_cuda_error_message()};
}

const CustomOp* cuda_max_pool_op();
const CustomOp* cuda_average_pool_op();
const CustomOp* cuda_reorder_op();

}  // namespace haste::ort
