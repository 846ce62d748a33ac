// The backend of the test library: blocks one after the other, threads of a phase in a loop, memory of the host. It
// verifies codes, values and the phase structure of the kernels where there is no GPU; it says nothing of speed.

#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "backend.h"
#include "failure.h"
#include "front_group.h"

namespace haste::cuda {

thread_local uint32_t host_thread_order = 0;

namespace {

thread_local DeviceLimits host_limits{4, 99 << 10, 100 << 10, size_t{4} << 20, 1 << 16, false};

// Filled with a NaN pattern before each block, so that reading what nobody wrote shows.
std::vector<uint64_t> poisoned(size_t bytes) {
  return std::vector<uint64_t>((bytes + 7) / 8, 0x7fc00bad7fc00badull);
}

template <template <int, class> class Method, int kTile, class T>
void convolve_blocks(const ConvolveArgs& args) {
  for (int tile = 0; tile < args.layer.tiles(); tile++) {
    for (int64_t y = 0; y < args.blocks; y++) {
      std::vector<uint64_t> shared = poisoned(args.layer.convolve_shared);
      auto* const memory = reinterpret_cast<unsigned char*>(shared.data());
      const Block block{tile, static_cast<int>(y), kConvolveWarps * kWarp};
      if (args.layer.resident) {
        convolve_block<Method, kTile, true, T>(args, block, memory);
      } else {
        convolve_block<Method, kTile, false, T>(args, block, memory);
      }
    }
  }
}

template <template <int, class> class Method, class T>
void convolve_tiles(const ConvolveArgs& args) {
  switch (args.layer.tile) {
    case 32:
      return convolve_blocks<Method, 32, T>(args);
    case 16:
      return convolve_blocks<Method, 16, T>(args);
    default:
      return convolve_blocks<Method, 8, T>(args);
  }
}

template <class Form, class T>
void convolve_grid(const ConvolveArgs& args) {
  const int64_t blocks = args.patches * args.layer.passes * args.grid.output_blocks;
  for (int64_t i = 0; i < blocks; i++) {
    std::vector<uint64_t> shared = poisoned(args.grid.shared + 8);
    auto* memory = reinterpret_cast<unsigned char*>(shared.data());
    memory += reinterpret_cast<uintptr_t>(memory) % 16;
    convolve_warps_block<Form, T>(args, {static_cast<int>(i), 0, args.grid.warps() * kWarp}, memory);
  }
}

template <class T>
void convolve(const ConvolveArgs& args) {
  switch (args.layer.shape) {
    case Shape::kMatrix:
    case Shape::kRows:
      return with_form(args.layer, [&](auto form) { convolve_grid<decltype(form), T>(args); });
    case Shape::kWinograd3x3:
      return convolve_tiles<Winograd3x3, T>(args);
    case Shape::kDirect1x1:
      return convolve_tiles<Direct1x1, T>(args);
    default:
      return convolve_tiles<Generic, T>(args);
  }
}

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
  for (int i = 0; i < blocks; i++) {
    std::vector<uint64_t> shared = poisoned(args.plan.shared);
    auto* const memory = reinterpret_cast<unsigned char*>(shared.data());
    const Block block{i, 0, args.plan.threads()};
    if (type == HASTE_CUDA_FLOAT16) {
      front_block<Half>(args, block, memory);
    } else {
      front_block<float>(args, block, memory);
    }
  }
}

void launch_convolve(const ConvolveArgs& args, haste_cuda_type type, void*) {
  if (type == HASTE_CUDA_FLOAT16) {
    convolve<Half>(args);
  } else {
    convolve<float>(args);
  }
}

void launch_statistics(const unsigned long long* counters, float* stats, void*) {
  for (int i = 0; i < HASTE_STATS; i++) stats[i] = static_cast<float>(counters[i]);
}

void launch_pool(const PoolArgs& args, haste_cuda_type type, int64_t elements, void*) {
  for (int64_t i = 0; i < elements; i++) {
    if (type == HASTE_CUDA_FLOAT16) {
      pool_element<Half>(args, i);
    } else {
      pool_element<float>(args, i);
    }
  }
}

void launch_reorder(const ReorderArgs& args, haste_cuda_type type, int64_t elements, void*) {
  for (int64_t i = 0; i < elements; i++) {
    if (type == HASTE_CUDA_FLOAT16) {
      reorder_element<Half>(args, i);
    } else {
      reorder_element<float>(args, i);
    }
  }
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
