// HasteMaxPool, HasteAveragePool and HasteReorder: what keeps a chain of HasteConvs in the blocked layout.

#include "node.h"

namespace haste::ort {
namespace {

constexpr int kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;

Tensor image(const Node& node, const OrtKernelContext* context) {
  const Tensor x = input(node.api(), context, 0, 1);
  if (x.shape.size() != 4) node.refuse("X has shape " + x.shape_text() + ", must have 4 dimensions [N,C,H,W]");
  return x;
}

template <bool kMax>
class HastePool {
 public:
  static Schema schema() { return {kMax ? "HasteMaxPool" : "HasteAveragePool", {{kFloat}}, {{kFloat}}}; }

  HastePool(const Api& api, const OrtKernelInfo* info) : node_(api, info) {
    const std::vector<int64_t> kernel = node_.integers("kernel_shape", {0, 0}), strides = node_.integers("strides", {1, 1}),
                               pads = node_.integers("pads", {0, 0, 0, 0});
    params_.is_max = kMax;
    params_.count_include_pad = static_cast<int>(node_.integer("count_include_pad", 0));
    params_.ceil_mode = static_cast<int>(node_.integer("ceil_mode", 0));
    params_.kernel_h = kernel[0], params_.kernel_w = kernel[1];
    params_.stride_h = strides[0], params_.stride_w = strides[1];
    params_.pad_top = pads[0], params_.pad_left = pads[1], params_.pad_bottom = pads[2], params_.pad_right = pads[3];
    params_.x_layout = node_.layout("x_layout");
    params_.y_layout = node_.layout("y_layout");
    const std::vector<int64_t> ones{1, 1};
    if (node_.integers("dilations", ones) != ones) node_.refuse("dilations other than 1 are not supported");
    if (node_.text("auto_pad", "NOTSET") != "NOTSET") node_.refuse("auto_pad is not supported: write explicit pads");
  }

  const Api& api() const { return node_.api(); }

  void compute(OrtKernelContext* context) const {
    const Tensor x = image(node_, context);
    std::vector<int64_t> shape{x.shape[0], x.shape[1], 0, 0};
    if (const haste_status status = haste_pool_output_size(&params_, x.shape[2], x.shape[3], &shape[2], &shape[3]))
      node_.refuse(haste_error_message(), status == HASTE_OUT_OF_MEMORY ? ORT_FAIL : ORT_INVALID_ARGUMENT);
    float* y = static_cast<float*>(output(api(), context, 0, 1, shape));
    SessionPool pool{api(), context};
    if (const haste_status status = haste_pool_run(&params_, x.values<float>(), x.shape[0], x.shape[1], x.shape[2], x.shape[3], y,
                                                   SessionPool::run, &pool))
      node_.refuse(haste_error_message(), status == HASTE_OUT_OF_MEMORY ? ORT_FAIL : ORT_INVALID_ARGUMENT);
  }

 private:
  Node node_;
  haste_pool_params params_{};
};

class HasteReorder {
 public:
  static Schema schema() { return {"HasteReorder", {{kFloat}}, {{kFloat}}}; }

  HasteReorder(const Api& api, const OrtKernelInfo* info)
      : node_(api, info), x_layout_(node_.layout("x_layout")), y_layout_(node_.layout("y_layout")) {}

  const Api& api() const { return node_.api(); }

  void compute(OrtKernelContext* context) const {
    const Tensor x = image(node_, context);
    float* y = static_cast<float*>(output(api(), context, 0, 1, x.shape));
    SessionPool pool{api(), context};
    if (const haste_status status = haste_reorder(x.values<float>(), x_layout_, y, y_layout_, x.shape[0], x.shape[1], x.shape[2],
                                                  x.shape[3], SessionPool::run, &pool))
      node_.refuse(haste_error_message(), status == HASTE_OUT_OF_MEMORY ? ORT_FAIL : ORT_INVALID_ARGUMENT);
  }

 private:
  Node node_;
  haste_layout x_layout_, y_layout_;
};

}  // namespace

const CustomOp* max_pool_op() {
  static const Op<HastePool<true>> op;
  return &op;
}

const CustomOp* average_pool_op() {
  static const Op<HastePool<false>> op;
  return &op;
}

const CustomOp* reorder_op() {
  static const Op<HasteReorder> op;
  return &op;
}

}  // namespace haste::ort
