#include "check.h"

#include <cinttypes>
#include <initializer_list>

#include "enums.h"
#include "error.h"

namespace haste {
namespace {

constexpr int64_t kMaxChannels = 65535;  // a bucket number fits 16 bits of the grouping table
constexpr int64_t kMaxFilters = 1 << 24;
constexpr int64_t kMaxPatch = 64, kMaxKernel = 64;
constexpr int64_t kMaxPad = 1 << 20, kMaxSide = 1 << 24;

bool in_range(int64_t value, int64_t low, int64_t high) {
  return value >= low && value <= high;
}

haste_status check_layouts(const haste_layout& x, const haste_layout& y, int64_t batch, int64_t channels) {
  if (!known(x, HASTE_BLOCKED) || !known(y, HASTE_BLOCKED)) return fail(HASTE_INVALID_ARGUMENT, "unknown layout");
  if (batch < 0 || channels < 1)
    return fail(HASTE_INVALID_ARGUMENT, "batch %" PRId64 ", channels %" PRId64, batch, channels);
  if ((x != HASTE_NCHW || y != HASTE_NCHW) && channels % HASTE_BLOCK)
    return fail(HASTE_INVALID_ARGUMENT, "the blocked layout needs a multiple of 16 channels, not %" PRId64, channels);
  return HASTE_OK;
}

int64_t pooled(int64_t size, int64_t kernel, int64_t stride, int64_t before, int64_t after, bool ceil_mode) {
  const int64_t room = size + before + after - kernel;
  if (room < 0) return 0;
  int64_t out = (ceil_mode ? (room + stride - 1) / stride : room / stride) + 1;
  // A last window that would begin past the image and its leading pad does not exist.
  if (ceil_mode && (out - 1) * stride >= size + before) out--;
  return out;
}

}  // namespace

haste_status check_conv(const haste_conv_params& p) {
  if (!in_range(p.in_channels, 1, kMaxChannels) || !in_range(p.out_channels, 1, kMaxFilters))
    return fail(HASTE_INVALID_ARGUMENT,
                "channels in %" PRId64 ", out %" PRId64 ": 1 to %" PRId64 " in and 1 to %" PRId64 " out are supported",
                p.in_channels, p.out_channels, kMaxChannels, kMaxFilters);
  if (!in_range(p.kernel_h, 1, kMaxKernel) || !in_range(p.kernel_w, 1, kMaxKernel))
    return fail(HASTE_INVALID_ARGUMENT, "kernel %" PRId64 "x%" PRId64 ": each side must be 1 to %" PRId64, p.kernel_h,
                p.kernel_w, kMaxKernel);
  if (!in_range(p.patch, 1, kMaxPatch))
    return fail(HASTE_INVALID_ARGUMENT, "patch %" PRId64 ": must be 1 to %" PRId64, p.patch, kMaxPatch);
  for (const int64_t pad : {p.pad_top, p.pad_left, p.pad_bottom, p.pad_right})
    if (!in_range(pad, 0, kMaxPad))
      return fail(HASTE_INVALID_ARGUMENT, "pad %" PRId64 ": must be 0 to %" PRId64, pad, kMaxPad);
  if (!in_range(p.max_hyperplanes, 1, HASTE_MAX_HYPERPLANES))
    return fail(HASTE_INVALID_ARGUMENT, "%" PRId64 " hyperplanes: 1 to %d are supported", p.max_hyperplanes,
                HASTE_MAX_HYPERPLANES);
  if (!known(p.merge, HASTE_MERGE_NORM)) return fail(HASTE_INVALID_ARGUMENT, "unknown merge");
  if (!known(p.activation, HASTE_SIGMOID)) return fail(HASTE_INVALID_ARGUMENT, "unknown activation");
  if (!known(p.weight_layout, HASTE_PACKED)) return fail(HASTE_INVALID_ARGUMENT, "unknown weight layout");
  if (!known(p.weight_type, HASTE_WEIGHTS_FLOAT16)) return fail(HASTE_INVALID_ARGUMENT, "unknown weight type");
  if (!known(p.x_layout, HASTE_BLOCKED) || !known(p.z_layout, HASTE_BLOCKED) || !known(p.y_layout, HASTE_BLOCKED))
    return fail(HASTE_INVALID_ARGUMENT, "unknown layout");
  if (p.x_layout == HASTE_BLOCKED && p.in_channels % HASTE_BLOCK)
    return fail(HASTE_INVALID_ARGUMENT, "blocked input needs a multiple of 16 channels, not %" PRId64, p.in_channels);
  if ((p.y_layout == HASTE_BLOCKED || p.z_layout == HASTE_BLOCKED) && p.out_channels % HASTE_BLOCK)
    return fail(HASTE_INVALID_ARGUMENT, "blocked output or residual needs a multiple of 16 channels, not %" PRId64,
                p.out_channels);
  return HASTE_OK;
}

haste_status check_hyperplanes(const int8_t* hyperplanes, int64_t rows, int64_t window) {
  for (int64_t i = 0; i < rows * window; i++)
    if (hyperplanes[i] < -1 || hyperplanes[i] > 1)
      return fail(HASTE_INVALID_ARGUMENT,
                  "hyperplane %" PRId64 " has the value %d at %" PRId64 ": only -1, 0 and 1 are allowed", i / window,
                  hyperplanes[i], i % window);
  return HASTE_OK;
}

haste_status conv_output_size(const haste_conv_params& p, int64_t height, int64_t width, int64_t* out_height,
                              int64_t* out_width) {
  if (!in_range(height, 1, kMaxSide) || !in_range(width, 1, kMaxSide))
    return fail(HASTE_INVALID_ARGUMENT, "input of %" PRId64 "x%" PRId64 " pixels: each side must be 1 to %" PRId64,
                height, width, kMaxSide);
  *out_height = height + p.pad_top + p.pad_bottom - p.kernel_h + 1;
  *out_width = width + p.pad_left + p.pad_right - p.kernel_w + 1;
  if (*out_height < 1 || *out_width < 1)
    return fail(HASTE_INVALID_ARGUMENT,
                "kernel %" PRId64 "x%" PRId64 " does not fit the padded input of %" PRId64 "x%" PRId64 " pixels",
                p.kernel_h, p.kernel_w, height + p.pad_top + p.pad_bottom, width + p.pad_left + p.pad_right);
  return HASTE_OK;
}

haste_status check_run(const haste_conv_params& p, int64_t batch, int64_t hyperplanes) {
  if (batch < 0) return fail(HASTE_INVALID_ARGUMENT, "batch %" PRId64 ": must not be negative", batch);
  if (hyperplanes > p.max_hyperplanes)
    return fail(HASTE_INVALID_ARGUMENT, "L = %" PRId64 " hyperplanes asked for, but the model has %" PRId64,
                hyperplanes, p.max_hyperplanes);
  return HASTE_OK;
}

haste_status pool_output_size(const haste_pool_params& p, int64_t height, int64_t width, int64_t* out_height,
                              int64_t* out_width) {
  for (const int64_t size : {height, width, p.kernel_h, p.kernel_w, p.stride_h, p.stride_w})
    if (!in_range(size, 1, kMaxSide))
      return fail(HASTE_INVALID_ARGUMENT, "a pool's image, kernel and strides must be 1 to %" PRId64 ", not %" PRId64,
                  kMaxSide, size);
  if (p.pad_top < 0 || p.pad_left < 0 || p.pad_bottom < 0 || p.pad_right < 0 || p.pad_top >= p.kernel_h ||
      p.pad_bottom >= p.kernel_h || p.pad_left >= p.kernel_w || p.pad_right >= p.kernel_w)
    return fail(HASTE_INVALID_ARGUMENT, "a pool's pads must be smaller than its kernel and not negative");
  *out_height = pooled(height, p.kernel_h, p.stride_h, p.pad_top, p.pad_bottom, p.ceil_mode != 0);
  *out_width = pooled(width, p.kernel_w, p.stride_w, p.pad_left, p.pad_right, p.ceil_mode != 0);
  if (*out_height < 1 || *out_width < 1)
    return fail(HASTE_INVALID_ARGUMENT, "the pool's kernel does not fit the padded image of %" PRId64 "x%" PRId64,
                height, width);
  return HASTE_OK;
}

haste_status check_pool(const haste_pool_params& p, int64_t batch, int64_t channels) {
  return check_layouts(p.x_layout, p.y_layout, batch, channels);
}

haste_status check_reorder(const haste_layout& x_layout, const haste_layout& y_layout, int64_t batch, int64_t channels,
                           int64_t height, int64_t width) {
  if (const haste_status status = check_layouts(x_layout, y_layout, batch, channels)) return status;
  if (!in_range(height, 0, kMaxSide) || !in_range(width, 0, kMaxSide))
    return fail(HASTE_INVALID_ARGUMENT, "image of %" PRId64 "x%" PRId64 " pixels", height, width);
  return HASTE_OK;
}

}  // namespace haste
