// HasteConv for ONNX Runtime's CUDA provider: haste_cuda.h on the provider's stream.

#include <memory>
#include <mutex>

#include "../../kernels/check.h"
#include "../../onnxruntime/conv_node.h"
#include "../failure.h"
#include "provider.h"
#include "workspaces.h"

namespace haste::ort {
namespace {

struct ConvDeleter {
  void operator()(haste_cuda_conv* conv) const { haste_cuda_conv_destroy(conv); }
};

class CudaHasteConv {
 public:
  // Weights, bias and hyperplanes are packed anew for the GPU, so the originals stay on the host; L and T steer a run
  // and are read there without waiting for the stream. A is read by the kernels, on the device.
  static Schema schema(ElementType weights) {
    Schema schema = conv_schema(weights);
    schema.provider = kProvider;
    for (const ConvInput index : {kW, kB, kV, kL, kT}) schema.inputs[index].memory = OrtMemTypeCPUInput;
    return schema;
  }

  CudaHasteConv(const Api& api, const OrtKernelInfo* info) : node_(api, info), workspaces_(cuda::Workspaces::shared()) {
    const std::optional<ConvConstants> constants = node_.constants(info);
    constant_ = constants.has_value();
    if (constants) {
      const haste_conv_params params = node_.params(*constants);
      node_.named([&] { check(check_conv(params)); });
    }
  }

  const Api& api() const { return node_.api(); }

  void compute(OrtKernelContext* context) {
    // Packed at the first run: only then is it certain that the session's device is the current one. Weights that are
    // computed or fed are packed again at every run: right, but slow.
    if (constant_) std::call_once(created_, [&] { fixed_ = create(node_.constants(context)); });
    Layer own;
    if (!constant_) own = create(node_.constants(context));
    const Layer& layer = constant_ ? fixed_ : own;
    const haste_cuda_conv* const conv = layer.conv.get();
    const ConvRun run =
        node_.read_run(context, layer.params, [&](int64_t height, int64_t width, int64_t* out_h, int64_t* out_w) {
          node_.named([&] { check_cuda(haste_cuda_conv_output_size(conv, height, width, out_h, out_w)); });
        });
    size_t outputs = 0;
    check(api(), api().KernelContext_GetOutputCount(context, &outputs));
    haste_cuda_run_args args{};
    args.x = run.x.data;
    args.batch = run.x.shape[0], args.height = run.x.shape[2], args.width = run.x.shape[3];
    args.hyperplanes = run.hyperplanes;
    args.tau = run.tau;
    args.correction = run.correction.values<float>();
    args.z = run.z.data;
    args.y = output(api(), context, 0, outputs, run.shape);
    args.stats = static_cast<float*>(output(api(), context, 1, outputs, {HASTE_STATS}));
    args.stream = stream_of(api(), context);
    node_.named([&] { enqueue(conv, args); });
  }

 private:
  struct Layer {
    haste_conv_params params{};
    std::unique_ptr<haste_cuda_conv, ConvDeleter> conv;
  };

  Layer create(const ConvConstants& constants) const {
    Layer layer{node_.params(constants), nullptr};
    haste_cuda_conv* conv = nullptr;
    node_.named([&] {
      check_cuda(haste_cuda_conv_create(&layer.params, HASTE_CUDA_FLOAT32, constants.weights.data,
                                        constants.bias.values<float>(), constants.hyperplanes.values<int8_t>(), &conv));
    });
    layer.conv.reset(conv);
    return layer;
  }

  void enqueue(const haste_cuda_conv* conv, haste_cuda_run_args& args) const {
    size_t bytes = 0;
    check_cuda(haste_cuda_conv_workspace(conv, args.batch, args.height, args.width, &bytes));
    try {
      const cuda::Workspaces::Lease lease = workspaces_->lease(args.stream, bytes);
      args.workspace = lease.memory();
      args.workspace_bytes = lease.bytes();
      check_cuda(haste_cuda_conv_run(conv, &args));
    } catch (const cuda::Failure& failure) {
      throw Error{ORT_FAIL, failure.sentence};
    }
  }

  ConvNode node_;
  std::shared_ptr<cuda::Workspaces> workspaces_;
  bool constant_ = false;  // W, B and V are
  std::once_flag created_;
  Layer fixed_;
};

}  // namespace

std::vector<const CustomOp*> cuda_operators() {
  static const Op<CudaHasteConv> of_floats(CudaHasteConv::schema(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT));
  static const Op<CudaHasteConv> of_halves(CudaHasteConv::schema(ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16));
  return {&of_floats, &of_halves, cuda_max_pool_op(), cuda_average_pool_op(), cuda_reorder_op()};
}

}  // namespace haste::ort
