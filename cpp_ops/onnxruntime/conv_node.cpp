#include "conv_node.h"

#include <map>
#include <utility>

namespace haste::ort {
namespace {

// SAME_UPPER and SAME_LOWER at stride 1: k - 1 pixels, the odd one at the end or at the beginning.
std::vector<int64_t> same_pads(const std::vector<int64_t>& kernel, bool upper) {
  std::vector<int64_t> pads(4);
  for (size_t i = 0; i < 2; i++) {
    const int64_t total = kernel[i] - 1, small = total / 2, large = total - small;
    pads[i] = upper ? small : large;
    pads[i + 2] = upper ? large : small;
  }
  return pads;
}

template <typename T>
T scalar(const Node& node, const Tensor& tensor, const char* name) {
  if (!tensor.data || tensor.shape.elements() != 1)
    node.refuse(std::string(name) + " has shape " + tensor.shape.text() + ", must be one value");
  return *tensor.values<T>();
}

}  // namespace

Schema conv_schema(ElementType weights) {
  constexpr int kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  return {"HasteConv",
          {{kFloat},
           {weights},
           {kFloat},
           {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
           {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
           {kFloat, INPUT_OUTPUT_OPTIONAL},
           {kFloat, INPUT_OUTPUT_OPTIONAL},
           {kFloat, INPUT_OUTPUT_OPTIONAL}},
          {{kFloat}, {kFloat, INPUT_OUTPUT_OPTIONAL}}};
}

ConvNode::ConvNode(const Api& api, const OrtKernelInfo* info) : node_(api, info) {
  kernel_ = node_.integers("kernel_shape", {});
  if (!kernel_.empty() && kernel_.size() != 2)
    node_.refuse("kernel_shape must have two values: only 2-D convolutions are supported");
  pads_ = node_.integers("pads", {0, 0, 0, 0});
  auto_pad_ = node_.text("auto_pad", "NOTSET");
  if (auto_pad_ != "NOTSET" && auto_pad_ != "VALID" && auto_pad_ != "SAME_UPPER" && auto_pad_ != "SAME_LOWER")
    node_.refuse("unknown auto_pad '" + auto_pad_ + "'");
  if (auto_pad_ == "VALID") pads_ = {0, 0, 0, 0};
  const std::vector<int64_t> ones{1, 1};
  if (node_.integers("strides", ones) != ones)
    node_.refuse("strides other than 1 are not supported; leave such a Conv alone");
  if (node_.integers("dilations", ones) != ones)
    node_.refuse("dilations other than 1 are not supported; leave such a Conv alone");
  if (node_.integer("group", 1) != 1) node_.refuse("group other than 1 is not supported; leave such a Conv alone");
  params_.patch = node_.integer("patch", 3);
  params_.merge = read_merge();
  params_.weight_layout = read_weight_layout();
  params_.x_layout = node_.layout("x_layout");
  params_.z_layout = node_.layout("z_layout");
  params_.y_layout = node_.layout("y_layout");
  read_activation();
}

haste_merge ConvNode::read_merge() const {
  const std::string merge = node_.text("merge", "scaled");
  if (merge == "scaled") return HASTE_MERGE_SCALED;
  if (merge == "mean") return HASTE_MERGE_MEAN;
  if (merge == "norm") return HASTE_MERGE_NORM;
  node_.refuse("merge is '" + merge + "', must be 'scaled', 'mean' or 'norm'");
}

haste_weight_layout ConvNode::read_weight_layout() const {
  const std::string layout = node_.text("w_layout", "OIHW");
  if (layout == "OIHW") return HASTE_OIHW;
  if (layout == "packed") return HASTE_PACKED;
  node_.refuse("w_layout is '" + layout + "', must be 'OIHW' or 'packed'");
}

void ConvNode::read_activation() {
  static const std::map<std::string, std::pair<haste_activation, size_t>> known{{"", {HASTE_IDENTITY, 0}},
                                                                                {"Relu", {HASTE_RELU, 0}},
                                                                                {"LeakyRelu", {HASTE_LEAKY_RELU, 1}},
                                                                                {"Clip", {HASTE_CLIP, 2}},
                                                                                {"HardSwish", {HASTE_HARD_SWISH, 0}},
                                                                                {"Silu", {HASTE_SILU, 0}},
                                                                                {"Sigmoid", {HASTE_SIGMOID, 0}}};
  const std::string name = node_.text("activation", "");
  const auto found = known.find(name);
  if (found == known.end()) node_.refuse("unknown activation '" + name + "'");
  const std::vector<float> given = node_.floats("activation_params");
  const size_t wanted = found->second.second;
  if (given.size() < wanted)
    node_.refuse("activation " + name + " needs " + std::to_string(wanted) + " activation_params, not " +
                 std::to_string(given.size()));
  params_.activation = found->second.first;
  for (size_t i = 0; i < wanted; i++) params_.activation_params[i] = given[i];
}

std::optional<ConvConstants> ConvNode::constants(const OrtKernelInfo* info) const {
  ConvConstants constants;
  const std::pair<ConvInput, Tensor*> wanted[] = {
      {kW, &constants.weights}, {kB, &constants.bias}, {kV, &constants.hyperplanes}};
  for (const auto& [index, tensor] : wanted) {
    int is_constant = 0;
    const OrtValue* value = nullptr;
    check(api(), api().KernelInfoGetConstantInput_tensor(info, index, &is_constant, &value));
    if (!is_constant || !value) return std::nullopt;
    *tensor = tensor_of(api(), value);
  }
  return constants;
}

ConvConstants ConvNode::constants(const OrtKernelContext* context) const {
  size_t inputs = 0;
  check(api(), api().KernelContext_GetInputCount(context, &inputs));
  return {input(api(), context, kW, inputs), input(api(), context, kB, inputs), input(api(), context, kV, inputs)};
}

haste_conv_params ConvNode::params(const ConvConstants& constants) const {
  const Tensor &w = constants.weights, &b = constants.bias, &v = constants.hyperplanes;
  haste_conv_params params = params_;
  if (w.shape.size() != 4) node_.refuse("W has shape " + w.shape.text() + ", must have 4 dimensions");
  if (b.shape.size() != 1) node_.refuse("B has shape " + b.shape.text() + ", must have one dimension");
  std::vector<int64_t> kernel = kernel_;
  if (kernel.empty() && params.weight_layout == HASTE_PACKED)
    node_.refuse("packed weights need the attribute kernel_shape");
  if (kernel.empty()) kernel = {w.shape[2], w.shape[3]};
  constexpr int64_t kLargest = 1 << 16;  // far above what the kernels take; keeps products of sides from overflowing
  for (const int64_t side : {params.patch, kernel[0], kernel[1]})
    if (side < 1 || side > kLargest)
      node_.refuse("patch " + std::to_string(params.patch) + ", kernel " + std::to_string(kernel[0]) + "x" +
                   std::to_string(kernel[1]) + ": out of range");
  params.weight_type = w.type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 ? HASTE_WEIGHTS_FLOAT16 : HASTE_WEIGHTS_FLOAT32;
  params.in_channels = w.shape[1];
  params.out_channels = b.shape[0];
  if (params.weight_layout == HASTE_PACKED) {
    if (w.shape[0] != (params.out_channels + HASTE_BLOCK - 1) / HASTE_BLOCK || w.shape[2] != kernel[0] * kernel[1] ||
        w.shape[3] != HASTE_BLOCK)
      node_.refuse("packed W has shape " + w.shape.text() +
                   ", must be [ceil(M/16),C,kH*kW,16] with M = " + std::to_string(params.out_channels) + " as in B");
  } else {
    if (w.shape[2] != kernel[0] || w.shape[3] != kernel[1])
      node_.refuse("W has shape " + w.shape.text() + ", kernel_shape says otherwise");
    if (w.shape[0] != params.out_channels)
      node_.refuse("B has " + std::to_string(params.out_channels) + " elements, W has " + std::to_string(w.shape[0]) +
                   " filters");
  }
  params.kernel_h = kernel[0], params.kernel_w = kernel[1];
  const bool upper = auto_pad_ == "SAME_UPPER", same = upper || auto_pad_ == "SAME_LOWER";
  const std::vector<int64_t> pads = same ? same_pads(kernel, upper) : pads_;
  params.pad_top = pads[0], params.pad_left = pads[1], params.pad_bottom = pads[2], params.pad_right = pads[3];
  const int64_t window = (params.patch + kernel[0] - 1) * (params.patch + kernel[1] - 1);
  if (v.shape.size() != 2 || v.shape[1] != window)
    node_.refuse("V has shape " + v.shape.text() + ", must be [Lmax," + std::to_string(window) + "] for patch " +
                 std::to_string(params.patch) + " and kernel " + std::to_string(kernel[0]) + "x" +
                 std::to_string(kernel[1]));
  params.max_hyperplanes = v.shape[0];
  return params;
}

ConvRun ConvNode::read_inputs(const OrtKernelContext* context, const haste_conv_params& params) const {
  size_t inputs = 0;
  check(api(), api().KernelContext_GetInputCount(context, &inputs));
  const auto in = [&](ConvInput index) { return input(api(), context, index, inputs); };
  ConvRun run{};
  run.x = in(kX);
  if (run.x.shape.size() != 4) node_.refuse("X has shape " + run.x.shape.text() + ", must have 4 dimensions [N,C,H,W]");
  if (run.x.shape[1] != params.in_channels)
    node_.refuse("X has " + std::to_string(run.x.shape[1]) + " channels, the weights have " +
                 std::to_string(params.in_channels));
  run.hyperplanes = scalar<int64_t>(node_, in(kL), "L");
  const Tensor tau = in(kT);
  if (tau.data) run.tau = scalar<float>(node_, tau, "T");
  run.z = in(kZ);
  run.correction = in(kA);
  if (run.correction.data && run.correction.shape != Shape{2, params.out_channels})
    node_.refuse("the correction A has shape " + run.correction.shape.text() + ", must be [2," +
                 std::to_string(params.out_channels) + "]");
  run.shape = {run.x.shape[0], params.out_channels, 0, 0};
  return run;
}

// A residual of rank 0 means none.
void ConvNode::check_residual(ConvRun& run) const {
  if (!run.z.data) return;
  if (run.z.shape.empty()) {
    run.z.data = nullptr;
  } else if (run.z.shape != run.shape) {
    node_.refuse("the residual Z has shape " + run.z.shape.text() + ", the output " + run.shape.text());
  }
}

}  // namespace haste::ort
