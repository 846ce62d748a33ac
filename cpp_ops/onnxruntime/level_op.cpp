// HasteLevel: one layer's own value at the level that steers the whole model.
//
// It runs on the CPU, also in a session on the CUDA provider, where HasteConv reads L and T on the host: a row looked
// up on the GPU would have to be waited for, layer by layer.

#include <algorithm>
#include <string>
#include <type_traits>

#include "node.h"

namespace haste::ort {
namespace {

constexpr int kInt64 = ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;

template <typename T>
class HasteLevel {
 public:
  static Schema schema() {
    constexpr int kValue = std::is_same_v<T, float> ? kFloat : kInt64;
    return {"HasteLevel", {{kInt64}, {kValue}}, {{kValue}}};
  }

  HasteLevel(const Api& api, const OrtKernelInfo* info) : node_(api, info) {}

  const Api& api() const { return node_.api(); }

  void compute(OrtKernelContext* context) const {
    const Tensor level = input(api(), context, 0, 2), table = input(api(), context, 1, 2);
    if (level.shape.elements() != 1) node_.refuse("the level has shape " + level.shape.text() + ", must be one value");
    if (table.shape.size() != 1 || table.shape[0] == 0)
      node_.refuse("the table has shape " + table.shape.text() + ", must be [levels]");
    const int64_t row = std::max<int64_t>(*level.values<int64_t>(), 0), last = table.shape[0] - 1;
    if (row > last)
      node_.refuse("there is no level " + std::to_string(row) + "; this model's go from 0, dense, to " +
                   std::to_string(last));
    *static_cast<T*>(output(api(), context, 0, 1, {})) = table.values<T>()[row];
  }

 private:
  Node node_;
};

}  // namespace

std::vector<const CustomOp*> level_ops() {
  static const Op<HasteLevel<int64_t>> of_integers;
  static const Op<HasteLevel<float>> of_floats;
  return {&of_integers, &of_floats};
}

}  // namespace haste::ort
