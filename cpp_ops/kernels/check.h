// What a caller may hand over (docs/operator.md, Limits): one set of checks for the C API of the CPU kernels and that
// of the CUDA kernels, so that a layer is accepted by both or by neither.
#pragma once

#include "haste/haste.h"

namespace haste {

haste_status check_conv(const haste_conv_params& params);
// hyperplanes [rows][window]
haste_status check_hyperplanes(const int8_t* hyperplanes, int64_t rows, int64_t window);
haste_status conv_output_size(const haste_conv_params& params, int64_t height, int64_t width, int64_t* out_height,
                              int64_t* out_width);
// hyperplanes: those asked for.
haste_status check_run(const haste_conv_params& params, int64_t batch, int64_t hyperplanes);

haste_status pool_output_size(const haste_pool_params& params, int64_t height, int64_t width, int64_t* out_height,
                              int64_t* out_width);
// What else a pool is told.
haste_status check_pool(const haste_pool_params& params, int64_t batch, int64_t channels);
haste_status check_reorder(const haste_layout& x_layout, const haste_layout& y_layout, int64_t batch, int64_t channels,
                           int64_t height, int64_t width);

}  // namespace haste
