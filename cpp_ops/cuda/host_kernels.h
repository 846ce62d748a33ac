// The kernels as loops on the CPU, over host memory: blocks one after the other, threads of a phase in a loop.
#pragma once

#include "convolve_lanes.h"
#include "forms.h"
#include "front.h"
#include "haste/haste_cuda.h"
#include "pool.h"

namespace haste::cuda::host {

void front(const FrontArgs& args, haste_cuda_type type, int blocks);
void convolve(const ConvolveArgs& args, haste_cuda_type type);
void statistics(const unsigned long long* counters, float* stats);
void pool(const PoolArgs& args, haste_cuda_type type, int64_t elements);
void reorder(const ReorderArgs& args, haste_cuda_type type, int64_t elements);

}  // namespace haste::cuda::host
