#include "layout_node.h"

namespace haste::ort {

haste_pool_params pool_params(const Node& node, bool is_max) {
  const std::vector<int64_t> kernel = node.integers("kernel_shape", {0, 0}), strides = node.integers("strides", {1, 1}),
                             pads = node.integers("pads", {0, 0, 0, 0});
  haste_pool_params params{};
  params.is_max = is_max;
  params.count_include_pad = static_cast<int>(node.integer("count_include_pad", 0));
  params.ceil_mode = static_cast<int>(node.integer("ceil_mode", 0));
  params.kernel_h = kernel[0], params.kernel_w = kernel[1];
  params.stride_h = strides[0], params.stride_w = strides[1];
  params.pad_top = pads[0], params.pad_left = pads[1], params.pad_bottom = pads[2], params.pad_right = pads[3];
  params.x_layout = node.layout("x_layout");
  params.y_layout = node.layout("y_layout");
  const std::vector<int64_t> ones{1, 1};
  if (node.integers("dilations", ones) != ones) node.refuse("dilations other than 1 are not supported");
  if (node.text("auto_pad", "NOTSET") != "NOTSET") node.refuse("auto_pad is not supported: write explicit pads");
  return params;
}

Tensor image_input(const Node& node, const OrtKernelContext* context) {
  const Tensor x = input(node.api(), context, 0, 1);
  if (x.shape.size() != 4) node.refuse("X has shape " + x.shape.text() + ", must have 4 dimensions [N,C,H,W]");
  return x;
}

}  // namespace haste::ort
