#include "host_kernels.h"

#include <vector>

#include "front_group.h"

namespace haste::cuda {

thread_local uint32_t host_thread_order = 0;

namespace host {
namespace {

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
void convolve_as(const ConvolveArgs& args) {
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

void front(const FrontArgs& args, haste_cuda_type type, int blocks) {
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

void convolve(const ConvolveArgs& args, haste_cuda_type type) {
  if (type == HASTE_CUDA_FLOAT16) {
    convolve_as<Half>(args);
  } else {
    convolve_as<float>(args);
  }
}

void statistics(const unsigned long long* counters, float* stats) {
  for (int i = 0; i < HASTE_STATS; i++) stats[i] = static_cast<float>(counters[i]);
}

void pool(const PoolArgs& args, haste_cuda_type type, int64_t elements) {
  for (int64_t i = 0; i < elements; i++) {
    if (type == HASTE_CUDA_FLOAT16) {
      pool_element<Half>(args, i);
    } else {
      pool_element<float>(args, i);
    }
  }
}

void reorder(const ReorderArgs& args, haste_cuda_type type, int64_t elements) {
  for (int64_t i = 0; i < elements; i++) {
    if (type == HASTE_CUDA_FLOAT16) {
      reorder_element<Half>(args, i);
    } else {
      reorder_element<float>(args, i);
    }
  }
}

}  // namespace host
}  // namespace haste::cuda
