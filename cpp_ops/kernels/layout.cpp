#include "layout.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "check.h"
#include "dispatch.h"
#include "error.h"
#include "kernels.h"
#include "parallel.h"
#include "scratch.h"

namespace haste {

haste_status run_pool(const haste_pool_params& p, const float* x, int64_t batch, int64_t channels, int64_t height,
                      int64_t width, float* y, haste_parallel_for parallel_for, void* pool) {
  int64_t out_height = 0, out_width = 0;
  if (const haste_status status = pool_output_size(p, height, width, &out_height, &out_width)) return status;
  if (const haste_status status = check_pool(p, batch, channels)) return status;
  if (batch > 0 && (!x || !y)) return fail(HASTE_INVALID_ARGUMENT, "x and y must not be null");
  const Kernels& kernels = *selected_kernels();
  const int64_t blocks = ceil_div(channels, kBlock), in_size = height * width, out_size = out_height * out_width;
  std::atomic<bool> out_of_memory{false};
  const bool ran = for_each(parallel_for, pool, batch * blocks, [&](int64_t index) {
    const int64_t first = index % blocks * kBlock;
    const int count = static_cast<int>(std::min<int64_t>(kBlock, channels - first));
    const float* in = x + (index / blocks * channels + first) * in_size;
    float* out = y + (index / blocks * channels + first) * out_size;
    const bool stage_in = p.x_layout == HASTE_NCHW, stage_out = p.y_layout == HASTE_NCHW;
    const Scratch scratch(
        static_cast<size_t>((stage_in ? in_size : 0) + (stage_out ? out_size : 0)) * kBlock * sizeof(float) + 64);
    if (!scratch.data()) {
      out_of_memory.store(true);
      return;
    }
    Cutter cutter(scratch.data());
    float* blocked_in = cutter.take<float>(stage_in ? static_cast<size_t>(in_size) * kBlock : 0);
    float* blocked_out = cutter.take<float>(stage_out ? static_cast<size_t>(out_size) * kBlock : 0);
    if (stage_in)
      for (int64_t r = 0; r < height; r++)
        kernels.to_blocked(in + r * width, in_size, count, static_cast<int>(width), blocked_in + r * width * kBlock);
    PoolArgs a{};
    a.is_max = p.is_max != 0;
    a.count_include_pad = p.count_include_pad != 0;
    a.kernel_h = static_cast<int>(p.kernel_h), a.kernel_w = static_cast<int>(p.kernel_w);
    a.stride_h = static_cast<int>(p.stride_h), a.stride_w = static_cast<int>(p.stride_w);
    a.pad_top = static_cast<int>(p.pad_top), a.pad_left = static_cast<int>(p.pad_left);
    a.pad_bottom = static_cast<int>(p.pad_bottom), a.pad_right = static_cast<int>(p.pad_right);
    a.height = static_cast<int>(height), a.width = static_cast<int>(width);
    a.out_height = static_cast<int>(out_height), a.out_width = static_cast<int>(out_width);
    a.x = stage_in ? blocked_in : in;
    a.y = stage_out ? blocked_out : out;
    kernels.pool(a);
    if (stage_out)
      for (int64_t r = 0; r < out_height; r++)
        kernels.from_blocked(blocked_out + r * out_width * kBlock, static_cast<int>(out_width), out + r * out_width,
                             out_size, count);
  });
  if (out_of_memory.load()) return fail(HASTE_OUT_OF_MEMORY, "no memory for the scratch of a pool");
  return ran ? HASTE_OK : fail_unfinished();
}

haste_status run_reorder(const float* x, const haste_layout& x_layout, float* y, const haste_layout& y_layout,
                         int64_t batch, int64_t channels, int64_t height, int64_t width,
                         haste_parallel_for parallel_for, void* pool) {
  if (const haste_status status = check_reorder(x_layout, y_layout, batch, channels, height, width)) return status;
  const int64_t pixels = height * width;
  if (batch * pixels > 0 && (!x || !y)) return fail(HASTE_INVALID_ARGUMENT, "x and y must not be null");
  const Kernels& kernels = *selected_kernels();
  const int64_t blocks = ceil_div(channels, kBlock);
  const bool ran = for_each(parallel_for, pool, batch * blocks, [&](int64_t index) {
    const int64_t first = index % blocks * kBlock, offset = (index / blocks * channels + first) * pixels;
    const int count = static_cast<int>(std::min<int64_t>(kBlock, channels - first));
    if (x_layout == y_layout)
      std::memcpy(y + offset, x + offset, static_cast<size_t>(count * pixels) * sizeof(float));
    else
      for (int64_t r = 0; r < height; r++) {
        const int64_t at = r * width;
        if (y_layout == HASTE_BLOCKED)
          kernels.to_blocked(x + offset + at, pixels, count, static_cast<int>(width), y + offset + at * kBlock);
        else
          kernels.from_blocked(x + offset + at * kBlock, static_cast<int>(width), y + offset + at, pixels, count);
      }
  });
  return ran ? HASTE_OK : fail_unfinished();
}

}  // namespace haste
