// The backend on the stand-in for CUDA's runtime: memory and streams by that runtime's functions, kernels as loops that
// a stream comes to in its turn. It verifies what happens between ONNX Runtime's CUDA provider and the kernels: whose
// memory is read by whom, and when.

#include "../backend.h"

#include <deque>
#include <functional>
#include <mutex>
#include <utility>

#include "../backend_runtime.h"
#include "../host_kernels.h"

namespace haste::cuda {
namespace {

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

DeviceLimits limits() {
  return {4, 99 << 10, 100 << 10, size_t{4} << 20, 1 << 16, false};
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
