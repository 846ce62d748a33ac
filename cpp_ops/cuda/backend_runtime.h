// What backends on CUDA's runtime share, on a GPU (backend_cuda.cu) and on the stand-in for it (stand_in/backend.cpp):
// errors and streams here, devices and memory in backend_runtime.cpp.
#pragma once

#include <cuda_runtime_api.h>

namespace haste::cuda {

void check(cudaError_t error, const char* what);  // throws Failure

inline cudaStream_t stream_of(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

}  // namespace haste::cuda
