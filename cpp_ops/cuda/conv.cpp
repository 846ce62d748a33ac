#include "conv.h"

#include <algorithm>
#include <string>

#include "../kernels/check.h"
#include "failure.h"
#include "pack.h"

namespace haste::cuda {
namespace {

size_t element_size(haste_cuda_type type) {
  return type == HASTE_CUDA_FLOAT16 ? 2 : 4;
}

template <class T>
DeviceMemory upload(const std::vector<T>& values) {
  return {values.data(), values.size() * sizeof(T)};
}

template <class T>
T* at(void* workspace, size_t offset) {
  return reinterpret_cast<T*>(static_cast<unsigned char*>(workspace) + offset);
}

}  // namespace

DeviceMemory::DeviceMemory(const void* contents, size_t bytes)
    : memory_(backend::allocate(std::max<size_t>(bytes, 16))) {
  if (bytes > 0) backend::copy(memory_, contents, bytes);
}

Conv::Conv(const haste_conv_params& params, haste_cuda_type type, const void* weights, const float* bias,
           const HyperplaneLists& hyperplanes)
    : params_(params),
      type_(type),
      device_(backend::current_device()),
      limits_(backend::limits()),
      layer_(plan_layer(params, element_size(type), limits_)),
      weights_(upload(pack_weights(layer_, params.weight_layout, weights))),
      bias_(bias, static_cast<size_t>(params.out_channels) * sizeof(float)),
      entries_(upload(hyperplanes.entries)),
      entries_begin_(upload(hyperplanes.begin)) {
  backend::prepare(layer_, type);
}

RunPlan Conv::plan(int64_t batch, int64_t height, int64_t width) const {
  int64_t out_height = 0, out_width = 0;
  check(check_run(params_, batch, 0));
  check(conv_output_size(params_, height, width, &out_height, &out_width));
  return plan_run(layer_, params_, limits_, batch, height, width);
}

FrontArgs Conv::front_args(const haste_cuda_run_args& args, const RunPlan& plan) const {
  FrontArgs front{};
  front.layer = layer_;
  front.plan = plan.front;
  front.x_view = {params_.in_channels, args.height, args.width, params_.x_layout == HASTE_BLOCKED};
  front.x = args.x;
  front.pad_top = static_cast<int>(params_.pad_top);
  front.pad_left = static_cast<int>(params_.pad_left);
  front.grid_h = plan.grid_h;
  front.grid_w = plan.grid_w;
  front.hyperplanes = static_cast<int>(args.hyperplanes);
  front.entries = entries_.as<uint32_t>();
  front.entries_begin = entries_begin_.as<int>();
  front.merge = params_.merge;
  front.tau = args.tau;
  front.counters = args.stats ? at<unsigned long long>(args.workspace, plan.counters_at) : nullptr;
  front.headers = at<PatchHeader>(args.workspace, plan.headers_at);
  front.members = at<Member>(args.workspace, plan.members_at);
  front.first = at<int>(args.workspace, plan.first_at);
  front.first_pitch = plan.first_pitch;
  front.windows = at<float>(args.workspace, plan.windows_at);
  front.slots = at<unsigned char>(args.workspace, plan.slots_at);
  return front;
}

ConvolveArgs Conv::convolve_args(const haste_cuda_run_args& args, const RunPlan& plan) const {
  ConvolveArgs convolve{};
  convolve.layer = layer_;
  convolve.epilogue = {params_.activation, {params_.activation_params[0], params_.activation_params[1]}};
  convolve.weights = weights_.as<void>();
  convolve.bias = bias_.as<float>();
  convolve.y_view = {params_.out_channels, plan.out_height, plan.out_width, params_.y_layout == HASTE_BLOCKED};
  convolve.z_view = {params_.out_channels, plan.out_height, plan.out_width, params_.z_layout == HASTE_BLOCKED};
  convolve.y = args.y;
  convolve.z = args.z;
  convolve.grid_h = plan.grid_h;
  convolve.grid_w = plan.grid_w;
  convolve.blocks = plan.convolve_blocks;
  convolve.grid = plan.grid;
  convolve.headers = at<PatchHeader>(args.workspace, plan.headers_at);
  convolve.members = at<Member>(args.workspace, plan.members_at);
  convolve.first = at<int>(args.workspace, plan.first_at);
  convolve.first_pitch = plan.first_pitch;
  convolve.windows = at<float>(args.workspace, plan.windows_at);
  return convolve;
}

void Conv::run(const haste_cuda_run_args& args, Grouping grouping, const uint32_t* labels, uint32_t* codes) const {
  const RunPlan plan = this->plan(args.batch, args.height, args.width);
  check(check_run(params_, args.batch, args.hyperplanes));
  if (args.workspace_bytes < plan.workspace) {
    fail(HASTE_INVALID_ARGUMENT, "the workspace has " + std::to_string(args.workspace_bytes) +
                                     " bytes, the run needs " + std::to_string(plan.workspace));
  }
  const backend::DeviceScope scope(device_);
  FrontArgs front = front_args(args, plan);
  ConvolveArgs convolve = convolve_args(args, plan);
  front.grouping = grouping;
  front.labels = labels;
  front.codes = codes;
  if (args.correction && grouping != Grouping::kDense) {
    convolve.gain = args.correction;
    convolve.bias = args.correction + params_.out_channels;
  }
  if (args.stats) backend::clear(front.counters, HASTE_STATS * sizeof(*front.counters), args.stream);
  for (int64_t first = 0; first < plan.patches; first += plan.chunk) {
    const int64_t patches = std::min(plan.chunk, plan.patches - first);
    const int64_t per_block = plan.front.patches_per_block;
    front.first_patch = first;
    front.end_patch = first + patches;
    backend::launch_front(front, type_, static_cast<int>((patches + per_block - 1) / per_block), args.stream);
    if (codes) continue;
    convolve.first_patch = first;
    convolve.patches = patches;
    backend::launch_convolve(convolve, type_, args.stream);
  }
  if (args.stats && !codes) backend::launch_statistics(front.counters, args.stats, args.stream);
}

}  // namespace haste::cuda
