// Pools and copies between layouts: what keeps a chain of HasteConvs blocked.
#pragma once

#include "haste/haste.h"

namespace haste {

haste_status run_pool(const haste_pool_params& params, const float* x, int64_t batch, int64_t channels, int64_t height,
                      int64_t width, float* y, haste_parallel_for parallel_for, void* pool);
haste_status run_reorder(const float* x, const haste_layout& x_layout, float* y, const haste_layout& y_layout,
                         int64_t batch, int64_t channels, int64_t height, int64_t width,
                         haste_parallel_for parallel_for, void* pool);

}  // namespace haste
