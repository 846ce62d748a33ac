// HasteMaxPool, HasteAveragePool and HasteReorder: one thread per output element, neighbouring threads at neighbouring
// addresses of the output.
#pragma once

#include "device.h"
#include "haste/haste.h"
#include "tensor.h"

namespace haste::cuda {

constexpr int kElementThreads = 256;

struct PoolArgs {
  haste_pool_params params;
  TensorView x_view, y_view;
  int64_t batch;
  const void* x;
  void* y;
};

struct ReorderArgs {
  TensorView x_view, y_view;
  int64_t batch;
  const void* x;
  void* y;
};

struct Element {
  int64_t image, channel, row, column;
};

// The element at `index` of a tensor's memory.
HASTE_DEVICE Element element_at(const TensorView& view, int64_t index) {
  const int64_t image = index / view.image(), rest = index % view.image();
  const int64_t inner = view.blocked ? 16 : 1;
  const int64_t pixel = rest / inner % (view.height * view.width);
  const int64_t channel = rest / (view.height * view.width * inner) * inner + rest % inner;
  return {image, channel, pixel / view.width, pixel % view.width};
}

template <class T>
HASTE_DEVICE void pool_element(const PoolArgs& args, int64_t index) {
  const haste_pool_params& p = args.params;
  const Element e = element_at(args.y_view, index);
  const T* const x = static_cast<const T*>(args.x) + e.image * args.x_view.image() + args.x_view.channel(e.channel);
  const int64_t top = e.row * p.stride_h - p.pad_top, left = e.column * p.stride_w - p.pad_left;
  float best = -INFINITY, sum = 0.0f;
  int64_t inside = 0;
  for (int64_t i = 0; i < p.kernel_h; i++) {
    for (int64_t j = 0; j < p.kernel_w; j++) {
      const int64_t row = top + i, column = left + j;
      if (row < 0 || row >= args.x_view.height || column < 0 || column >= args.x_view.width) continue;
      const float value = to_float(x[(row * args.x_view.width + column) * args.x_view.pixel_step()]);
      best = value > best || value != value ? value : best;  // a NaN stays one
      sum += value;
      inside++;
    }
  }
  float result = best;
  if (!p.is_max) {
    // With ceil_mode a window may reach beyond the padding; what lies there never counts.
    const int64_t bottom = args.x_view.height + p.pad_bottom, right = args.x_view.width + p.pad_right;
    const int64_t rows = (top + p.kernel_h < bottom ? top + p.kernel_h : bottom) - top;
    const int64_t columns = (left + p.kernel_w < right ? left + p.kernel_w : right) - left;
    result = sum / static_cast<float>(p.count_include_pad ? rows * columns : inside);
  }
  static_cast<T*>(args.y)[index] = from_float<T>(result);
}

template <class T>
HASTE_DEVICE void reorder_element(const ReorderArgs& args, int64_t index) {
  const Element e = element_at(args.y_view, index);
  const int64_t pixel = e.row * args.x_view.width + e.column;
  const int64_t from =
      e.image * args.x_view.image() + args.x_view.channel(e.channel) + pixel * args.x_view.pixel_step();
  static_cast<T*>(args.y)[index] = static_cast<const T*>(args.x)[from];
}

}  // namespace haste::cuda
