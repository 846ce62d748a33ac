// Weights and hyperplanes in the form that the kernels read.
#pragma once

#include <cstdint>
#include <vector>

#include "plan.h"

namespace haste::cuda {

// weights: OIHW [M][C][taps] or packed [ceil(M/16)][C][taps][16], elements of 4 or 2 bytes.
// Returns [tiles][C][taps][tile] of the same elements, zero where a tile reaches beyond M.
// Float16 values as float32.
std::vector<unsigned char> widen(const std::vector<unsigned char>& halves);

std::vector<unsigned char> pack_weights(const LayerPlan& layer, haste_weight_layout layout, const void* weights);

// Floats that `weights` holds in that layout.
int64_t weight_count(const LayerPlan& layer, haste_weight_layout layout);

struct HyperplaneLists {
  std::vector<uint32_t> entries;  // ascending index into the window, top bit set for -1
  std::vector<int> begin;         // [rows + 1]
};

// hyperplanes [rows][window] in {-1, 0, 1}; throws Failure for another value.
HyperplaneLists list_hyperplanes(const int8_t* hyperplanes, int rows, int window);

}  // namespace haste::cuda
