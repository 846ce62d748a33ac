// The backend of libhaste_ops_cuda.so: kernels and launches on a GPU. cudart is linked statically, so the
// library loads on a machine without a GPU or a driver.

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "backend.h"
#include "backend_runtime.h"
#include "front_group.h"

// Kernel arguments are read where they lie; before compute capability 7.0, and by compilers before 11.7, they are
// copied to the stack.
#if (defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 700) || __CUDACC_VER_MAJOR__ * 100 + __CUDACC_VER_MINOR__ < 1107
#define HASTE_ARGUMENT
#else
#define HASTE_ARGUMENT __grid_constant__
#endif

namespace haste::cuda {
namespace {

extern __shared__ __align__(16) unsigned char shared_memory[];

// Before compute capability 7.0 not every GPU has registers for more threads.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 700
constexpr int kFrontBound = 512;
#else
constexpr int kFrontBound = kMaxFrontThreads;
#endif

template <class T>
__global__ void __launch_bounds__(kFrontBound) haste_front(const HASTE_ARGUMENT FrontArgs args) {
  front_block<T>(args, {static_cast<int>(blockIdx.x), 0, static_cast<int>(blockDim.x)}, shared_memory);
}

template <template <int, class> class Method, int kTile, bool kResident, class T>
__global__ void __launch_bounds__(kConvolveWarps* kWarp) haste_convolve(const HASTE_ARGUMENT ConvolveArgs args) {
  const Block block{static_cast<int>(blockIdx.x), static_cast<int>(blockIdx.y), kConvolveWarps * kWarp};
  convolve_block<Method, kTile, kResident, T>(args, block, shared_memory);
}

// Two blocks of 128 threads to a multiprocessor, or one of 256: up to 255 registers a thread.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 700
constexpr int kGridBound = 128;
#else
constexpr int kGridBound = kMaxGridWarps * kWarp;
#endif

template <class Form, class T>
__global__ void __launch_bounds__(kGridBound) haste_convolve_grid(const HASTE_ARGUMENT ConvolveArgs args) {
  const Block block{static_cast<int>(blockIdx.x), 0, static_cast<int>(blockDim.x)};
  convolve_warps_block<Form, T>(args, block, shared_memory);
}

__global__ void haste_statistics(const unsigned long long* counters, float* stats) {
  if (threadIdx.x < HASTE_STATS) stats[threadIdx.x] = static_cast<float>(counters[threadIdx.x]);
}

template <class T>
__global__ void __launch_bounds__(kElementThreads) haste_pool(const HASTE_ARGUMENT PoolArgs args, int64_t elements) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kElementThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kElementThreads + threadIdx.x; i < elements; i += step) {
    pool_element<T>(args, i);
  }
}

template <class T>
__global__ void __launch_bounds__(kElementThreads)
    haste_reorder_kernel(const HASTE_ARGUMENT ReorderArgs args, int64_t elements) {
  const int64_t step = static_cast<int64_t>(gridDim.x) * kElementThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kElementThreads + threadIdx.x; i < elements; i += step) {
    reorder_element<T>(args, i);
  }
}

using FrontKernel = void (*)(FrontArgs);
using ConvolveKernel = void (*)(ConvolveArgs);

FrontKernel front_kernel(haste_cuda_type type) {
  return type == HASTE_CUDA_FLOAT16 ? haste_front<Half> : haste_front<float>;
}

// Tiles narrower than 32 exist only to make weights fit shared memory (plan.cpp, choose_tile).
template <template <int, class> class Method, class T>
ConvolveKernel tiled_kernel(const LayerPlan& layer) {
  if (!layer.resident) return haste_convolve<Method, 32, false, T>;
  switch (layer.tile) {
    case 32:
      return haste_convolve<Method, 32, true, T>;
    case 16:
      return haste_convolve<Method, 16, true, T>;
    default:
      return haste_convolve<Method, 8, true, T>;
  }
}

template <class T>
ConvolveKernel typed_kernel(const LayerPlan& layer) {
  switch (layer.shape) {
    case Shape::kMatrix:
    case Shape::kRows:
      return with_form(layer, [](auto form) -> ConvolveKernel { return haste_convolve_grid<decltype(form), T>; });
    case Shape::kWinograd3x3:
      return tiled_kernel<Winograd3x3, T>(layer);
    case Shape::kDirect1x1:
      return tiled_kernel<Direct1x1, T>(layer);
    default:
      return layer.resident ? haste_convolve<Generic, 32, true, T> : haste_convolve<Generic, 32, false, T>;
  }
}

ConvolveKernel convolve_kernel(const LayerPlan& layer, haste_cuda_type type) {
  return type == HASTE_CUDA_FLOAT16 ? typed_kernel<Half>(layer) : typed_kernel<float>(layer);
}

void allow_shared(const void* kernel) {
  int device = 0, bytes = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "cudaDeviceGetAttribute");
  cudaFuncAttributes attributes{};
  check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                             bytes - static_cast<int>(attributes.sharedSizeBytes)),
        "cudaFuncSetAttribute");
}

unsigned element_blocks(int64_t elements) {
  return static_cast<unsigned>(std::min<int64_t>((elements + kElementThreads - 1) / kElementThreads, 1 << 20));
}

}  // namespace

namespace backend {

// Three TF32 products in place of one float32 multiply-add pay where tensor cores do at least four times as many of
// them: data-centre GPUs and Jetson Orin and Thor, not consumer GPUs of the same generations. The code that was loaded
// must be for such a GPU too, and not PTX for an older one.
static bool has_fast_tf32(int major, int minor) {
  const char* const wish = std::getenv("HASTE_CUDA_TENSOR_CORES");
  if (wish && std::strcmp(wish, "0") == 0) return false;
  const bool fast = (major == 8 && (minor == 0 || minor == 7)) || (major >= 9 && major <= 11);
  if (!fast) return false;
  cudaFuncAttributes attributes{};
  const auto kernel = reinterpret_cast<const void*>(haste_convolve_grid<Matrix<7, 3>, float>);
  check(cudaFuncGetAttributes(&attributes, kernel), "cudaFuncGetAttributes");
  return attributes.ptxVersion >= 80;
}

DeviceLimits limits() {
  const int device = current_device();
  const auto attribute = [device](cudaDeviceAttr which) {
    int value = 0;
    check(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
    return value;
  };
  const int major = attribute(cudaDevAttrComputeCapabilityMajor);
  // As the launch bounds of the kernels have it.
  const int registers = major >= 7 ? attribute(cudaDevAttrMaxRegistersPerBlock) : 1 << 15;
  return {attribute(cudaDevAttrMultiProcessorCount),
          static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin)),
          static_cast<size_t>(attribute(cudaDevAttrMaxSharedMemoryPerMultiprocessor)),
          static_cast<size_t>(attribute(cudaDevAttrL2CacheSize)),
          registers,
          has_fast_tf32(major, attribute(cudaDevAttrComputeCapabilityMinor))};
}

void prepare(const LayerPlan& layer, haste_cuda_type type) {
  allow_shared(reinterpret_cast<const void*>(front_kernel(type)));
  allow_shared(reinterpret_cast<const void*>(convolve_kernel(layer, type)));
}

void launch_front(const FrontArgs& args, haste_cuda_type type, int blocks, void* stream) {
  front_kernel(type)<<<static_cast<unsigned>(blocks), args.plan.threads(), args.plan.shared, stream_of(stream)>>>(args);
  check(cudaGetLastError(), "launch of the front kernel");
}

void launch_convolve(const ConvolveArgs& args, haste_cuda_type type, void* stream) {
  const ConvolveKernel kernel = convolve_kernel(args.layer, type);
  if (has_grid(args.layer.shape)) {
    const auto blocks = static_cast<unsigned>(args.patches * args.layer.passes * args.grid.output_blocks);
    kernel<<<blocks, args.grid.warps() * kWarp, args.grid.shared, stream_of(stream)>>>(args);
  } else {
    const dim3 grid(static_cast<unsigned>(args.layer.tiles()), static_cast<unsigned>(args.blocks));
    kernel<<<grid, kConvolveWarps * kWarp, args.layer.convolve_shared, stream_of(stream)>>>(args);
  }
  check(cudaGetLastError(), "launch of the convolve kernel");
}

void launch_statistics(const unsigned long long* counters, float* stats, void* stream) {
  haste_statistics<<<1, HASTE_STATS, 0, stream_of(stream)>>>(counters, stats);
  check(cudaGetLastError(), "launch of the statistics kernel");
}

void launch_pool(const PoolArgs& args, haste_cuda_type type, int64_t elements, void* stream) {
  const auto kernel = type == HASTE_CUDA_FLOAT16 ? haste_pool<Half> : haste_pool<float>;
  kernel<<<element_blocks(elements), kElementThreads, 0, stream_of(stream)>>>(args, elements);
  check(cudaGetLastError(), "launch of the pool kernel");
}

void launch_reorder(const ReorderArgs& args, haste_cuda_type type, int64_t elements, void* stream) {
  const auto kernel = type == HASTE_CUDA_FLOAT16 ? haste_reorder_kernel<Half> : haste_reorder_kernel<float>;
  kernel<<<element_blocks(elements), kElementThreads, 0, stream_of(stream)>>>(args, elements);
  check(cudaGetLastError(), "launch of the reorder kernel");
}

}  // namespace backend
}  // namespace haste::cuda
