#include "backend_runtime.h"

#include <string>

#include "backend.h"
#include "failure.h"

namespace haste::cuda {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky must not show up in the caller's next call
  const haste_status status = error == cudaErrorMemoryAllocation ? HASTE_OUT_OF_MEMORY : HASTE_UNSUPPORTED;
  fail(status, std::string(what) + ": " + cudaGetErrorString(error));
}

namespace backend {

int device_count() {
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  return count;
}

int current_device() {
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  return device;
}

DeviceScope::DeviceScope(int device) : previous_(current_device()) {
  if (device != previous_) check(cudaSetDevice(device), "cudaSetDevice");
}

DeviceScope::~DeviceScope() {
  int device = previous_;
  if (cudaGetDevice(&device) == cudaSuccess && device != previous_) cudaSetDevice(previous_);
}

void* allocate(size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), "cudaMalloc");
  return memory;
}

void release(void* memory) {
  cudaFree(memory);
}

// Without memory pools (some Jetson drivers) growing waits for the device; a warmed-up stream never grows.
static bool has_memory_pools() {
  int supported = 0;
  check(cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, current_device()),
        "cudaDeviceGetAttribute");
  return supported != 0;
}

void* allocate_on(void* stream, size_t bytes) {
  if (!has_memory_pools()) return allocate(bytes);
  void* memory = nullptr;
  check(cudaMallocAsync(&memory, bytes, stream_of(stream)), "cudaMallocAsync");
  return memory;
}

void release_on(void* stream, void* memory) {
  if (!memory) return;
  if (has_memory_pools()) {
    check(cudaFreeAsync(memory, stream_of(stream)), "cudaFreeAsync");
  } else {
    release(memory);
  }
}

void copy(void* to, const void* from, size_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDefault), "cudaMemcpy");
  // From pageable memory it returns when the bytes are staged, and other streams do not wait for what follows.
  check(cudaStreamSynchronize(cudaStreamLegacy), "cudaStreamSynchronize");
}

void clear(void* memory, size_t bytes, void* stream) {
  check(cudaMemsetAsync(memory, 0, bytes, stream_of(stream)), "cudaMemsetAsync");
}

}  // namespace backend
}  // namespace haste::cuda
