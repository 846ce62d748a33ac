// What the kernel sources of one instruction set share among themselves.
#pragma once

#include "kernels.h"
#include "simd.h"

namespace haste {
namespace HASTE_NS {

void hash(const HashArgs& args);
void merge(const MergeArgs& args);
void convolve_columns(const ConvolveArgs& args);
void convolve_nested(const ConvolveArgs& args);
void convolve_direct(const ConvolveArgs& args, int blocks);
void pool(const PoolArgs& args);
int64_t multiply_adds(int rounds);
void planes_to_blocked(const float* planes, ptrdiff_t plane, int channels, int width, float* blocked);
void blocked_to_planes(const float* blocked, int width, float* planes, ptrdiff_t plane, int channels);

}  // namespace HASTE_NS
}  // namespace haste
