// HasteConv for ONNX Runtime's CPU provider: attributes and tensors in, haste.h underneath.

#include <map>
#include <memory>

#include "node.h"

namespace haste::ort {
namespace {

enum Input : size_t { kX, kW, kB, kV, kL, kZ, kT };

struct ConvDeleter {
  void operator()(haste_conv* conv) const { haste_conv_destroy(conv); }
};
using Conv = std::unique_ptr<haste_conv, ConvDeleter>;

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

class HasteConv {
 public:
  static Schema schema() {
    constexpr int kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    return {"HasteConv",
            {{kFloat},
             {kFloat},
             {kFloat},
             {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
             {ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
             {kFloat, INPUT_OUTPUT_OPTIONAL},
             {kFloat, INPUT_OUTPUT_OPTIONAL}},
            {{kFloat}, {kFloat, INPUT_OUTPUT_OPTIONAL}}};
  }

  HasteConv(const Api& api, const OrtKernelInfo* info) : node_(api, info) {
    kernel_ = node_.integers("kernel_shape", {});
    if (!kernel_.empty() && kernel_.size() != 2) node_.refuse("kernel_shape must have two values: only 2-D convolutions are supported");
    pads_ = node_.integers("pads", {0, 0, 0, 0});
    auto_pad_ = node_.text("auto_pad", "NOTSET");
    if (auto_pad_ != "NOTSET" && auto_pad_ != "VALID" && auto_pad_ != "SAME_UPPER" && auto_pad_ != "SAME_LOWER")
      node_.refuse("unknown auto_pad '" + auto_pad_ + "'");
    if (auto_pad_ == "VALID") pads_ = {0, 0, 0, 0};
    const std::vector<int64_t> ones{1, 1};
    if (node_.integers("strides", ones) != ones) node_.refuse("strides other than 1 are not supported; leave such a Conv alone");
    if (node_.integers("dilations", ones) != ones) node_.refuse("dilations other than 1 are not supported; leave such a Conv alone");
    if (node_.integer("group", 1) != 1) node_.refuse("group other than 1 is not supported; leave such a Conv alone");
    params_.patch = node_.integer("patch", 3);
    params_.merge = read_merge();
    params_.weight_layout = read_weight_layout();
    params_.x_layout = node_.layout("x_layout");
    params_.z_layout = node_.layout("z_layout");
    params_.y_layout = node_.layout("y_layout");
    read_activation();

    Tensor constants[4];
    bool all = true;
    for (const size_t index : {kW, kB, kV}) {
      int is_constant = 0;
      const OrtValue* value = nullptr;
      check(api, api.KernelInfoGetConstantInput_tensor(info, index, &is_constant, &value));
      if (is_constant && value)
        constants[index] = tensor_of(api, value);
      else
        all = false;
    }
    if (all) conv_ = create(constants[kW], constants[kB], constants[kV], fixed_);
  }

  const Api& api() const { return node_.api(); }

  void compute(OrtKernelContext* context) const {
    size_t inputs = 0, outputs = 0;
    check(api(), api().KernelContext_GetInputCount(context, &inputs));
    check(api(), api().KernelContext_GetOutputCount(context, &outputs));
    const auto in = [&](Input index) { return input(api(), context, index, inputs); };
    const Tensor x = in(kX);
    Conv own;
    Sizes sizes = fixed_;
    // Weights that are computed or fed are packed again at every run: right, but slow.
    if (!conv_) own = create(in(kW), in(kB), in(kV), sizes);
    const haste_conv* conv = conv_ ? conv_.get() : own.get();

    if (x.shape.size() != 4) node_.refuse("X has shape " + x.shape_text() + ", must have 4 dimensions [N,C,H,W]");
    if (x.shape[1] != sizes.in_channels)
      node_.refuse("X has " + std::to_string(x.shape[1]) + " channels, the weights have " + std::to_string(sizes.in_channels));
    haste_conv_run_args args{};
    args.x = x.values<float>();
    args.batch = x.shape[0], args.height = x.shape[2], args.width = x.shape[3];
    args.hyperplanes = scalar<int64_t>(in(kL), "L");
    const Tensor tau = in(kT);
    if (tau.data) args.tau = scalar<float>(tau, "T");

    std::vector<int64_t> shape{args.batch, sizes.out_channels, 0, 0};
    named([&] { check(haste_conv_output_size(conv, args.height, args.width, &shape[2], &shape[3])); });
    const Tensor z = in(kZ);
    if (z.data && !z.shape.empty()) {
      if (z.shape != shape) {
        Tensor wanted;
        wanted.shape = shape;
        node_.refuse("the residual Z has shape " + z.shape_text() + ", the output " + wanted.shape_text());
      }
      args.z = z.values<float>();
    }
    args.y = static_cast<float*>(output(api(), context, 0, outputs, shape));
    args.stats = static_cast<float*>(output(api(), context, 1, outputs, {HASTE_STATS}));
    SessionPool pool{api(), context};
    args.parallel_for = SessionPool::run;
    args.pool = &pool;
    named([&] { check(haste_conv_run(conv, &args)); });
  }

 private:
  struct Sizes {
    int64_t in_channels = 0, out_channels = 0;
  };

  haste_merge read_merge() const {
    const std::string merge = node_.text("merge", "scaled");
    if (merge == "scaled") return HASTE_MERGE_SCALED;
    if (merge == "mean") return HASTE_MERGE_MEAN;
    node_.refuse("merge is '" + merge + "', must be 'scaled' or 'mean'");
  }

  haste_weight_layout read_weight_layout() const {
    const std::string layout = node_.text("w_layout", "OIHW");
    if (layout == "OIHW") return HASTE_OIHW;
    if (layout == "packed") return HASTE_PACKED;
    node_.refuse("w_layout is '" + layout + "', must be 'OIHW' or 'packed'");
  }

  void read_activation() {
    static const std::map<std::string, std::pair<haste_activation, size_t>> known{
        {"", {HASTE_IDENTITY, 0}},       {"Relu", {HASTE_RELU, 0}}, {"LeakyRelu", {HASTE_LEAKY_RELU, 1}}, {"Clip", {HASTE_CLIP, 2}},
        {"HardSwish", {HASTE_HARD_SWISH, 0}}, {"Silu", {HASTE_SILU, 0}}, {"Sigmoid", {HASTE_SIGMOID, 0}}};
    const std::string name = node_.text("activation", "");
    const auto found = known.find(name);
    if (found == known.end()) node_.refuse("unknown activation '" + name + "'");
    const std::vector<float> given = node_.floats("activation_params");
    const size_t wanted = found->second.second;
    if (given.size() < wanted)
      node_.refuse("activation " + name + " needs " + std::to_string(wanted) + " activation_params, not " + std::to_string(given.size()));
    params_.activation = found->second.first;
    for (size_t i = 0; i < wanted; i++) params_.activation_params[i] = given[i];
  }

  Conv create(const Tensor& w, const Tensor& b, const Tensor& v, Sizes& sizes) const {
    haste_conv_params params = params_;
    if (w.shape.size() != 4) node_.refuse("W has shape " + w.shape_text() + ", must have 4 dimensions");
    if (b.shape.size() != 1) node_.refuse("B has shape " + b.shape_text() + ", must have one dimension");
    std::vector<int64_t> kernel = kernel_;
    params.in_channels = w.shape[1];
    params.out_channels = b.shape[0];
    if (params.weight_layout == HASTE_PACKED) {
      if (kernel.empty()) node_.refuse("packed weights need the attribute kernel_shape");
      if (w.shape[0] != (params.out_channels + HASTE_BLOCK - 1) / HASTE_BLOCK || w.shape[2] != kernel[0] * kernel[1] ||
          w.shape[3] != HASTE_BLOCK)
        node_.refuse("packed W has shape " + w.shape_text() + ", must be [ceil(M/16),C,kH*kW,16] with M = " +
                     std::to_string(params.out_channels) + " as in B");
    } else {
      if (kernel.empty()) kernel = {w.shape[2], w.shape[3]};
      if (w.shape[2] != kernel[0] || w.shape[3] != kernel[1]) node_.refuse("W has shape " + w.shape_text() + ", kernel_shape says otherwise");
      if (w.shape[0] != params.out_channels)
        node_.refuse("B has " + std::to_string(params.out_channels) + " elements, W has " + std::to_string(w.shape[0]) + " filters");
    }
    params.kernel_h = kernel[0], params.kernel_w = kernel[1];
    const std::vector<int64_t> pads = auto_pad_ == "SAME_UPPER" || auto_pad_ == "SAME_LOWER" ? same_pads(kernel, auto_pad_ == "SAME_UPPER") : pads_;
    params.pad_top = pads[0], params.pad_left = pads[1], params.pad_bottom = pads[2], params.pad_right = pads[3];
    const int64_t window = (params.patch + kernel[0] - 1) * (params.patch + kernel[1] - 1);
    if (v.shape.size() != 2 || v.shape[1] != window)
      node_.refuse("V has shape " + v.shape_text() + ", must be [Lmax," + std::to_string(window) + "] for patch " +
                   std::to_string(params.patch) + " and kernel " + std::to_string(kernel[0]) + "x" + std::to_string(kernel[1]));
    params.max_hyperplanes = v.shape[0];
    sizes = {params.in_channels, params.out_channels};
    haste_conv* conv = nullptr;
    named([&] { check(haste_conv_create(&params, w.values<float>(), b.values<float>(), v.values<int8_t>(), &conv)); });
    return Conv(conv);
  }

  template <typename T>
  T scalar(const Tensor& tensor, const char* name) const {
    if (!tensor.data || tensor.elements() != 1) node_.refuse(std::string(name) + " has shape " + tensor.shape_text() + ", must be one value");
    return *tensor.values<T>();
  }

  // Adds the node's name to an error of the kernels.
  template <typename Body>
  void named(Body body) const {
    try {
      body();
    } catch (const Error& error) {
      node_.refuse(error.message, error.code);
    }
  }

  Node node_;
  std::vector<int64_t> kernel_, pads_;
  std::string auto_pad_;
  haste_conv_params params_{};
  Conv conv_;  // null when W, B or V are not constant
  Sizes fixed_;
};

}  // namespace

const CustomOp* conv_op() {
  static const Op<HasteConv> op;
  return &op;
}

}  // namespace haste::ort
