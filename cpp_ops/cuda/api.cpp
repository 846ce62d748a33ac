// The C API over Conv and the backend: checks, and exceptions turned into statuses.

#include <vector>

#include "../kernels/check.h"
#include "../kernels/enums.h"
#include "../kernels/run_count.h"
#include "backend.h"
#include "conv.h"
#include "failure.h"
#include "haste/haste_cuda.h"
#include "pack.h"

struct haste_cuda_conv {
  haste::cuda::Conv conv;
};

namespace haste::cuda {
namespace {

template <class Body>
haste_status guarded(const Body& body) noexcept {
  return haste::guarded([&] {
    try {
      body();
      return HASTE_OK;
    } catch (const Failure& failure) {
      return haste::fail(failure.status, "%s", failure.sentence.c_str());
    }
  });
}

void require_run(const haste_cuda_conv* conv, const haste_cuda_run_args* args) {
  require(conv && args, "conv and args may not be NULL");
}

void require_tensors(const void* x, const void* y) {
  require(x && y, "x and y may not be NULL");
}

void check_type(const haste_cuda_type& type) {
  require(known(type, HASTE_CUDA_FLOAT16), "the type is float32 or float16");
}

void run(const haste_cuda_conv* conv, const haste_cuda_run_args& args, const uint32_t* labels) {
  const RunPlan plan = conv->conv.plan(args.batch, args.height, args.width);
  require(plan.patches == 0 || (args.x && args.y && args.workspace), "x, y and workspace may not be NULL");
  haste_cuda_run_args checked = args;
  if (labels) checked.hyperplanes = 0;
  conv->conv.run(checked,
                 labels                 ? Grouping::kLabels
                 : args.hyperplanes > 0 ? Grouping::kHash
                                        : Grouping::kDense,
                 labels, nullptr);
  if (!labels) run_count.fetch_add(1, std::memory_order_relaxed);
}

std::vector<unsigned char> on_host(const void* from, size_t bytes) {
  std::vector<unsigned char> host(bytes);
  if (bytes > 0) backend::copy(host.data(), from, bytes);
  return host;
}

TensorView view_of(int64_t channels, int64_t height, int64_t width, haste_layout layout) {
  return {channels, height, width, layout == HASTE_BLOCKED};
}

}  // namespace
}  // namespace haste::cuda

using namespace haste::cuda;

haste_status haste_cuda_conv_create(const haste_conv_params* params, haste_cuda_type type, const void* weights,
                                    const float* bias, const int8_t* hyperplanes, haste_cuda_conv** conv) {
  if (conv) *conv = nullptr;
  return guarded([&] {
    require(params && conv, "params and conv may not be NULL");
    check(haste::check_conv(*params));  // before the pointers: an empty tensor has no data, and its shape says more
    require(weights && bias && hyperplanes, "weights, bias and hyperplanes must be given");
    check_type(type);
    const size_t element = type == HASTE_CUDA_FLOAT16 ? 2 : 4;
    const bool widened = type == HASTE_CUDA_FLOAT32 && params->weight_type == HASTE_WEIGHTS_FLOAT16;
    const LayerPlan layer = plan_layer(*params, element, backend::limits());
    const auto count = static_cast<size_t>(weight_count(layer, params->weight_layout));
    std::vector<unsigned char> host_weights = on_host(weights, count * (widened ? 2 : element));
    if (widened) host_weights = widen(host_weights);
    const std::vector<unsigned char> host_bias =
        on_host(bias, static_cast<size_t>(params->out_channels) * sizeof(float));
    const std::vector<unsigned char> host_hyperplanes =
        on_host(hyperplanes, static_cast<size_t>(params->max_hyperplanes * layer.window));
    const HyperplaneLists lists = list_hyperplanes(reinterpret_cast<const int8_t*>(host_hyperplanes.data()),
                                                   static_cast<int>(params->max_hyperplanes), layer.window);
    *conv = new haste_cuda_conv{
        {*params, type, host_weights.data(), reinterpret_cast<const float*>(host_bias.data()), lists}};
  });
}

void haste_cuda_conv_destroy(haste_cuda_conv* conv) {
  delete conv;
}

haste_status haste_cuda_conv_output_size(const haste_cuda_conv* conv, int64_t height, int64_t width,
                                         int64_t* out_height, int64_t* out_width) {
  return guarded([&] {
    require(conv && out_height && out_width, "no argument of haste_cuda_conv_output_size may be NULL");
    const RunPlan plan = conv->conv.plan(1, height, width);
    *out_height = plan.out_height;
    *out_width = plan.out_width;
  });
}

haste_status haste_cuda_conv_workspace(const haste_cuda_conv* conv, int64_t batch, int64_t height, int64_t width,
                                       size_t* bytes) {
  return guarded([&] {
    require(conv && bytes, "no argument of haste_cuda_conv_workspace may be NULL");
    *bytes = conv->conv.plan(batch, height, width).workspace;
  });
}

haste_status haste_cuda_conv_run(const haste_cuda_conv* conv, const haste_cuda_run_args* args) {
  return guarded([&] {
    require_run(conv, args);
    run(conv, *args, nullptr);
  });
}

haste_status haste_cuda_conv_codes(const haste_cuda_conv* conv, const haste_cuda_run_args* args, uint32_t* codes) {
  return guarded([&] {
    require_run(conv, args);
    require(codes && args->x && args->workspace, "x, workspace and codes may not be NULL");
    require(args->hyperplanes > 0, "dense mode has no codes");
    haste_cuda_run_args checked = *args;
    checked.stats = nullptr;
    conv->conv.run(checked, Grouping::kHash, nullptr, codes);
  });
}

haste_status haste_cuda_conv_run_grouped(const haste_cuda_conv* conv, const haste_cuda_run_args* args,
                                         const uint32_t* labels) {
  return guarded([&] {
    require_run(conv, args);
    require(labels, "labels may not be NULL");
    run(conv, *args, labels);
  });
}

haste_status haste_cuda_pool_run(const haste_pool_params* params, haste_cuda_type type, const void* x, int64_t batch,
                                 int64_t channels, int64_t height, int64_t width, void* y, void* stream) {
  return guarded([&] {
    require(params, "params may not be NULL");
    check_type(type);
    int64_t out_height = 0, out_width = 0;
    check(haste::pool_output_size(*params, height, width, &out_height, &out_width));
    check(haste::check_pool(*params, batch, channels));
    const PoolArgs args{*params,
                        view_of(channels, height, width, params->x_layout),
                        view_of(channels, out_height, out_width, params->y_layout),
                        batch,
                        x,
                        y};
    const int64_t elements = batch * args.y_view.image();
    if (elements == 0) return;
    require_tensors(x, y);
    backend::launch_pool(args, type, elements, stream);
  });
}

haste_status haste_cuda_reorder(haste_cuda_type type, const void* x, haste_layout x_layout, void* y,
                                haste_layout y_layout, int64_t batch, int64_t channels, int64_t height, int64_t width,
                                void* stream) {
  return guarded([&] {
    check_type(type);
    check(haste::check_reorder(x_layout, y_layout, batch, channels, height, width));
    const ReorderArgs args{view_of(channels, height, width, x_layout), view_of(channels, height, width, y_layout),
                           batch, x, y};
    const int64_t elements = batch * args.y_view.image();
    if (elements == 0) return;
    require_tensors(x, y);
    backend::launch_reorder(args, type, elements, stream);
  });
}

int haste_cuda_device_count(void) {
  int count = 0;
  guarded([&] { count = backend::device_count(); });
  return count;
}

const char* haste_cuda_error_message(void) {
  return haste::last_error();
}
