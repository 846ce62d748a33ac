// The backend on the stand-in for CUDA's runtime: memory and streams by that runtime's functions, kernels as loops that
// a stream comes to in its turn. It verifies what happens between ONNX Runtime's CUDA provider and the kernels: whose
// memory is read by whom, and when.

#include "../backend.h"

#include <cuda_runtime_api.h>

#include <deque>
#include <functional>
#include <mutex>
#include <string>

#include "../failure.h"
#include "../host_kernels.h"

namespace haste::cuda {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  fail(error == cudaErrorMemoryAllocation ? HASTE_OUT_OF_MEMORY : HASTE_UNSUPPORTED, what);
}

cudaStream_t stream_of(void* stream) {
  return static_cast<cudaStream_t>(stream);
}

// Launches are kept for good: a captured graph repeats them.
void launch(void* stream, std::function<void()> kernel) {
  static std::mutex mutex;
  static auto* const launches = new std::deque<std::function<void()>>;
  const std::lock_guard<std::mutex> lock(mutex);
  launches->push_back(std::move(kernel));
  const auto run = [](void* launched) { (*static_cast<std::function<void()>*>(launched))(); };
  check(cudaLaunchHostFunc(stream_of(stream), run, &launches->back()), "cudaLaunchHostFunc");
}

}  // namespace

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
DeviceLimits limits() {
  return {4, 99 << 10, 100 << 10, size_t{4} << 20, 1 << 16, false};
}
DeviceScope::DeviceScope(int device) : previous_(device) {}
DeviceScope::~DeviceScope() = default;

void* allocate(size_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, bytes), "cudaMalloc");
  return memory;
}
void release(void* memory) {
  cudaFree(memory);
}
void* allocate_on(void* stream, size_t bytes) {
  void* memory = nullptr;
  check(cudaMallocAsync(&memory, bytes, stream_of(stream)), "cudaMallocAsync");
  return memory;
}
void release_on(void* stream, void* memory) {
  if (memory) check(cudaFreeAsync(memory, stream_of(stream)), "cudaFreeAsync");
}
void copy(void* to, const void* from, size_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDefault), "cudaMemcpy");
}
void clear(void* memory, size_t bytes, void* stream) {
  check(cudaMemsetAsync(memory, 0, bytes, stream_of(stream)), "cudaMemsetAsync");
}
void prepare(const LayerPlan&, haste_cuda_type) {}

void launch_front(const FrontArgs& args, haste_cuda_type type, int blocks, void* stream) {
  launch(stream, [=] { host::front(args, type, blocks); });
}
void launch_convolve(const ConvolveArgs& args, haste_cuda_type type, void* stream) {
  launch(stream, [=] { host::convolve(args, type); });
}
void launch_statistics(const unsigned long long* counters, float* stats, void* stream) {
  launch(stream, [=] { host::statistics(counters, stats); });
}
void launch_pool(const PoolArgs& args, haste_cuda_type type, int64_t elements, void* stream) {
  launch(stream, [=] { host::pool(args, type, elements); });
}
void launch_reorder(const ReorderArgs& args, haste_cuda_type type, int64_t elements, void* stream) {
  launch(stream, [=] { host::reorder(args, type, elements); });
}

}  // namespace backend
}  // namespace haste::cuda
