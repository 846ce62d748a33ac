// HasteConv for ONNX Runtime's CPU provider: attributes and tensors in, haste.h underneath.

#include <memory>

#include "conv_node.h"

namespace haste::ort {
namespace {

struct ConvDeleter {
  void operator()(haste_conv* conv) const { haste_conv_destroy(conv); }
};

class HasteConv {
 public:
  HasteConv(const Api& api, const OrtKernelInfo* info) : node_(api, info) {
    if (const std::optional<ConvConstants> constants = node_.constants(info)) fixed_ = create(*constants);
  }

  const Api& api() const { return node_.api(); }

  void compute(OrtKernelContext* context) const {
    Layer own;
    // Weights that are computed or fed are packed again at every run: right, but slow.
    if (!fixed_.conv) own = create(node_.constants(context));
    const Layer& layer = fixed_.conv ? fixed_ : own;
    const haste_conv* const conv = layer.conv.get();
    const ConvRun run =
        node_.read_run(context, layer.params, [&](int64_t height, int64_t width, int64_t* out_h, int64_t* out_w) {
          node_.named([&] { check(haste_conv_output_size(conv, height, width, out_h, out_w)); });
        });
    size_t outputs = 0;
    check(api(), api().KernelContext_GetOutputCount(context, &outputs));
    haste_conv_run_args args{};
    args.x = run.x.values<float>();
    args.batch = run.x.shape[0], args.height = run.x.shape[2], args.width = run.x.shape[3];
    args.hyperplanes = run.hyperplanes;
    args.tau = run.tau;
    args.z = run.z.values<float>();
    args.correction = run.correction.values<float>();
    args.y = static_cast<float*>(output(api(), context, 0, outputs, run.shape));
    args.stats = static_cast<float*>(output(api(), context, 1, outputs, {HASTE_STATS}));
    SessionPool pool{api(), context};
    args.parallel_for = SessionPool::run;
    args.pool = &pool;
    node_.named([&] {
      const haste_status status = haste_conv_run(conv, &args);
      pool.check();  // first: it has the runtime's own reason
      check(status);
    });
  }

 private:
  struct Layer {
    haste_conv_params params{};
    std::unique_ptr<haste_conv, ConvDeleter> conv;
  };

  Layer create(const ConvConstants& constants) const {
    Layer layer{node_.params(constants), nullptr};
    haste_conv* conv = nullptr;
    node_.named([&] {
      check(haste_conv_create(&layer.params, constants.weights.data, constants.bias.values<float>(),
                              constants.hyperplanes.values<int8_t>(), &conv));
    });
    layer.conv.reset(conv);
    return layer;
  }

  ConvNode node_;
  Layer fixed_;  // conv is null when W, B or V are not constant
};

}  // namespace

std::vector<const CustomOp*> conv_ops() {
  static const Op<HasteConv> of_floats(conv_schema(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT));
  static const Op<HasteConv> of_halves(conv_schema(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16));
  return {&of_floats, &of_halves};
}

}  // namespace haste::ort
