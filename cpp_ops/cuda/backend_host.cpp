// The backend of the test library: loops over memory of the host, done when a launch returns. It verifies codes, values
// and the phase structure of the kernels where there is no GPU; it says nothing of speed.

#include <cstdlib>
#include <cstring>
#include <new>

#include "backend.h"
#include "failure.h"
#include "host_kernels.h"

namespace haste::cuda {
namespace {

thread_local DeviceLimits host_limits{4, 99 << 10, 100 << 10, size_t{4} << 20, 1 << 16, false};

}  // namespace

namespace backend {

int device_count() {
  fail(HASTE_UNSUPPORTED, "this library runs the kernels for CUDA on the CPU");
}
int current_device() {
  return 0;
}
DeviceLimits limits() {
  return host_limits;
}
DeviceScope::DeviceScope(int device) : previous_(device) {}
DeviceScope::~DeviceScope() = default;

void* allocate(size_t bytes) {
  void* const memory = std::malloc(bytes);
  if (!memory) throw std::bad_alloc();
  return memory;
}
void release(void* memory) {
  std::free(memory);
}
void* allocate_on(void*, size_t bytes) {
  return allocate(bytes);
}
void release_on(void*, void* memory) {
  release(memory);
}
void copy(void* to, const void* from, size_t bytes) {
  std::memcpy(to, from, bytes);
}
void clear(void* memory, size_t bytes, void*) {
  std::memset(memory, 0, bytes);
}
void prepare(const LayerPlan&, haste_cuda_type) {}

void launch_front(const FrontArgs& args, haste_cuda_type type, int blocks, void*) {
  host::front(args, type, blocks);
}
void launch_convolve(const ConvolveArgs& args, haste_cuda_type type, void*) {
  host::convolve(args, type);
}
void launch_statistics(const unsigned long long* counters, float* stats, void*) {
  host::statistics(counters, stats);
}
void launch_pool(const PoolArgs& args, haste_cuda_type type, int64_t elements, void*) {
  host::pool(args, type, elements);
}
void launch_reorder(const ReorderArgs& args, haste_cuda_type type, int64_t elements, void*) {
  host::reorder(args, type, elements);
}

}  // namespace backend
}  // namespace haste::cuda

// Of the calling thread, for tests: the order of threads in a phase (see device.h), and the GPU to plan for.
extern "C" HASTE_API void haste_cuda_host_thread_order(uint32_t order) {
  haste::cuda::host_thread_order = order;
}

extern "C" HASTE_API void haste_cuda_host_limits(int multiprocessors, size_t shared_per_block,
                                                 size_t shared_per_multiprocessor, size_t l2, int registers,
                                                 int matrix) {
  haste::cuda::host_limits = {multiprocessors, shared_per_block, shared_per_multiprocessor, l2, registers, matrix != 0};
}

// What is planned for a layer and a run on the GPU of haste_cuda_host_limits, in the order of tests/cuda/test_plan.py.
extern "C" HASTE_API void haste_cuda_host_plan(const haste_conv_params* params, int type, int64_t batch, int64_t height,
                                               int64_t width, int64_t* out) {
  using namespace haste::cuda;
  const LayerPlan layer = plan_layer(*params, type == HASTE_CUDA_FLOAT16 ? 2 : 4, host_limits);
  const RunPlan run = plan_run(layer, *params, host_limits, batch, height, width);
  const FrontPlan& front = run.front;
  const size_t values[] = {static_cast<size_t>(layer.tile),
                           layer.resident,
                           layer.convolve_shared,
                           static_cast<size_t>(front.patches_per_block),
                           static_cast<size_t>(front.lanes),
                           static_cast<size_t>(front.hyperplane_group),
                           front.shared,
                           front.slot,
                           front.windows.shared,
                           static_cast<size_t>(run.patches),
                           static_cast<size_t>(run.chunk),
                           static_cast<size_t>(run.front_blocks),
                           static_cast<size_t>(run.convolve_blocks),
                           static_cast<size_t>(layer.shape),
                           static_cast<size_t>(run.grid.output_warps),
                           static_cast<size_t>(run.grid.bucket_warps),
                           static_cast<size_t>(run.grid.output_blocks),
                           run.grid.shared,
                           run.workspace};
  for (const size_t value : values) *out++ = static_cast<int64_t>(value);
}
