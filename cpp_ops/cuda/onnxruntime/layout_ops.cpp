// HasteMaxPool, HasteAveragePool and HasteReorder for ONNX Runtime's CUDA provider.

#include "../../onnxruntime/layout_node.h"
#include "provider.h"

namespace haste::ort {
namespace {

constexpr int kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;

template <bool kMax>
class CudaHastePool {
 public:
  static Schema schema() { return {kMax ? "HasteMaxPool" : "HasteAveragePool", {{kFloat}}, {{kFloat}}, kProvider}; }

  CudaHastePool(const Api& api, const OrtKernelInfo* info) : node_(api, info), params_(pool_params(node_, kMax)) {}

  const Api& api() const { return node_.api(); }

  void compute(OrtKernelContext* context) const {
    const Tensor x = image_input(node_, context);
    Shape shape{x.shape[0], x.shape[1], 0, 0};
    if (haste_pool_output_size(&params_, x.shape[2], x.shape[3], &shape[2], &shape[3]) != HASTE_OK)
      node_.refuse(haste_error_message());
    void* const y = output(api(), context, 0, 1, shape);
    void* const stream = stream_of(api(), context);
    node_.named([&] {
      check_cuda(haste_cuda_pool_run(&params_, HASTE_CUDA_FLOAT32, x.data, x.shape[0], x.shape[1], x.shape[2],
                                     x.shape[3], y, stream));
    });
  }

 private:
  Node node_;
  haste_pool_params params_;
};

class CudaHasteReorder {
 public:
  static Schema schema() { return {"HasteReorder", {{kFloat}}, {{kFloat}}, kProvider}; }

  CudaHasteReorder(const Api& api, const OrtKernelInfo* info)
      : node_(api, info), x_layout_(node_.layout("x_layout")), y_layout_(node_.layout("y_layout")) {}

  const Api& api() const { return node_.api(); }

  void compute(OrtKernelContext* context) const {
    const Tensor x = image_input(node_, context);
    void* const y = output(api(), context, 0, 1, x.shape);
    void* const stream = stream_of(api(), context);
    node_.named([&] {
      check_cuda(haste_cuda_reorder(HASTE_CUDA_FLOAT32, x.data, x_layout_, y, y_layout_, x.shape[0], x.shape[1],
                                    x.shape[2], x.shape[3], stream));
    });
  }

 private:
  Node node_;
  haste_layout x_layout_, y_layout_;
};

}  // namespace

const CustomOp* cuda_max_pool_op() {
  static const Op<CudaHastePool<true>> op;
  return &op;
}

const CustomOp* cuda_average_pool_op() {
  static const Op<CudaHastePool<false>> op;
  return &op;
}

const CustomOp* cuda_reorder_op() {
  static const Op<CudaHasteReorder> op;
  return &op;
}

}  // namespace haste::ort
