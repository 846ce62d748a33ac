// HasteMaxPool, HasteAveragePool and HasteReorder: what keeps a chain of HasteConvs in the blocked layout.

#include "layout_node.h"

namespace haste::ort {
namespace {

constexpr int kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;

template <bool kMax>
class HastePool {
 public:
  static Schema schema() { return {kMax ? "HasteMaxPool" : "HasteAveragePool", {{kFloat}}, {{kFloat}}}; }

  HastePool(const Api& api, const OrtKernelInfo* info) : node_(api, info), params_(pool_params(node_, kMax)) {}

  const Api& api() const { return node_.api(); }

  void compute(OrtKernelContext* context) const {
    const Tensor x = image_input(node_, context);
    Shape shape{x.shape[0], x.shape[1], 0, 0};
    node_.named([&] { check(haste_pool_output_size(&params_, x.shape[2], x.shape[3], &shape[2], &shape[3])); });
    float* y = static_cast<float*>(output(api(), context, 0, 1, shape));
    SessionPool pool{api(), context};
    node_.named([&] {
      const haste_status status = haste_pool_run(&params_, x.values<float>(), x.shape[0], x.shape[1], x.shape[2],
                                                 x.shape[3], y, SessionPool::run, &pool);
      pool.check();
      check(status);
    });
  }

 private:
  Node node_;
  haste_pool_params params_;
};

class HasteReorder {
 public:
  static Schema schema() { return {"HasteReorder", {{kFloat}}, {{kFloat}}}; }

  HasteReorder(const Api& api, const OrtKernelInfo* info)
      : node_(api, info), x_layout_(node_.layout("x_layout")), y_layout_(node_.layout("y_layout")) {}

  const Api& api() const { return node_.api(); }

  void compute(OrtKernelContext* context) const {
    const Tensor x = image_input(node_, context);
    float* y = static_cast<float*>(output(api(), context, 0, 1, x.shape));
    SessionPool pool{api(), context};
    node_.named([&] {
      const haste_status status = haste_reorder(x.values<float>(), x_layout_, y, y_layout_, x.shape[0], x.shape[1],
                                                x.shape[2], x.shape[3], SessionPool::run, &pool);
      pool.check();
      check(status);
    });
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
