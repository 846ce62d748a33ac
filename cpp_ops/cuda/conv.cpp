#include "conv.h"

#include <algorithm>
#include <climits>
#include <string>

#include "failure.h"
#include "pack.h"

namespace haste::cuda {
namespace {

constexpr int64_t kMaxCount = 1 << 20;   // channels
constexpr int64_t kMaxKernel = 1 << 10;  // sides of kernels and patches
constexpr int64_t kMaxSide = 1 << 24;    // of images, and pads

size_t element_size(haste_cuda_type type) {
  return type == HASTE_CUDA_FLOAT16 ? 2 : 4;
}

DeviceMemory upload_weights(const LayerPlan& layer, const haste_conv_params& params, const void* weights) {
  const std::vector<unsigned char> packed = pack_weights(layer, params.weight_layout, weights);
  return {packed.data(), packed.size()};
}

HyperplaneLists lists_of(const LayerPlan& layer, const haste_conv_params& params, const int8_t* hyperplanes) {
  return list_hyperplanes(hyperplanes, static_cast<int>(params.max_hyperplanes), layer.window);
}

DeviceMemory upload_entries(const HyperplaneLists& lists) {
  return {lists.entries.data(), lists.entries.size() * sizeof(uint32_t)};
}

DeviceMemory upload_begins(const HyperplaneLists& lists) {
  return {lists.begin.data(), lists.begin.size() * sizeof(int)};
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

void check_params(const haste_conv_params& p) {
  const auto channels_in = std::to_string(p.in_channels), channels_out = std::to_string(p.out_channels);
  if (p.in_channels < 1 || p.out_channels < 1 || p.in_channels > kMaxCount || p.out_channels > kMaxCount) {
    fail(HASTE_INVALID_ARGUMENT, "channels in " + channels_in + ", out " + channels_out + ": 1 to " +
                                     std::to_string(kMaxCount) + " are supported");
  }
  for (const int64_t side : {p.kernel_h, p.kernel_w, p.patch}) {
    if (side < 1 || side > kMaxKernel) {
      fail(HASTE_INVALID_ARGUMENT,
           "kernel and patch sides must be 1 to " + std::to_string(kMaxKernel) + ", not " + std::to_string(side));
    }
  }
  for (const int64_t pad : {p.pad_top, p.pad_left, p.pad_bottom, p.pad_right}) {
    if (pad < 0 || pad > kMaxSide) {
      fail(HASTE_INVALID_ARGUMENT, "pad " + std::to_string(pad) + ": must be 0 to " + std::to_string(kMaxSide));
    }
  }
  if (p.max_hyperplanes < 1 || p.max_hyperplanes > HASTE_MAX_HYPERPLANES) {
    fail(HASTE_INVALID_ARGUMENT, std::to_string(p.max_hyperplanes) + " hyperplanes: 1 to 32 are supported");
  }
  require(p.merge >= HASTE_MERGE_SCALED && p.merge <= HASTE_MERGE_NORM, "unknown merge");
  require(p.activation >= HASTE_IDENTITY && p.activation <= HASTE_SIGMOID, "unknown activation");
  require(p.weight_layout == HASTE_OIHW || p.weight_layout == HASTE_PACKED, "unknown weight layout");
  require(p.weight_type == HASTE_WEIGHTS_FLOAT32 || p.weight_type == HASTE_WEIGHTS_FLOAT16, "unknown weight type");
  for (const haste_layout layout : {p.x_layout, p.z_layout, p.y_layout}) {
    require(layout == HASTE_NCHW || layout == HASTE_BLOCKED, "unknown layout");
  }
  if (p.x_layout == HASTE_BLOCKED && p.in_channels % HASTE_BLOCK != 0) {
    fail(HASTE_INVALID_ARGUMENT, "blocked input needs a multiple of 16 channels, not " + channels_in);
  }
  if ((p.y_layout == HASTE_BLOCKED || p.z_layout == HASTE_BLOCKED) && p.out_channels % HASTE_BLOCK != 0) {
    fail(HASTE_INVALID_ARGUMENT, "blocked output or residual needs a multiple of 16 channels, not " + channels_out);
  }
  if ((p.patch + p.kernel_h - 1) * (p.patch + p.kernel_w - 1) * p.in_channels > INT_MAX) {
    fail(HASTE_UNSUPPORTED, "the windows of a patch hold more than 2^31 elements");
  }
}

Conv::Conv(const haste_conv_params& params, haste_cuda_type type, const void* weights, const float* bias,
           const int8_t* hyperplanes)
    : params_(params),
      type_(type),
      device_(backend::current_device()),
      limits_(backend::limits()),
      layer_(plan_layer(params, element_size(type), limits_)),
      weights_(upload_weights(layer_, params, weights)),
      bias_(bias, static_cast<size_t>(params.out_channels) * sizeof(float)),
      entries_(upload_entries(lists_of(layer_, params, hyperplanes))),
      entries_begin_(upload_begins(lists_of(layer_, params, hyperplanes))) {
  backend::prepare(layer_, type);
}

RunPlan Conv::plan(int64_t batch, int64_t height, int64_t width) const {
  if (batch < 0 || height < 0 || width < 0 || batch > kMaxSide || height > kMaxSide || width > kMaxSide) {
    fail(HASTE_INVALID_ARGUMENT, "batch " + std::to_string(batch) + ", input of " + std::to_string(height) + "x" +
                                     std::to_string(width) + " pixels: each must be 0 to " + std::to_string(kMaxSide));
  }
  const bool fits = height + params_.pad_top + params_.pad_bottom >= params_.kernel_h &&
                    width + params_.pad_left + params_.pad_right >= params_.kernel_w;
  if (!fits) {
    fail(HASTE_INVALID_ARGUMENT, "a " + std::to_string(params_.kernel_h) + "x" + std::to_string(params_.kernel_w) +
                                     " kernel does not fit the padded " + std::to_string(height) + "x" +
                                     std::to_string(width) + " input");
  }
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
  if (args.hyperplanes > params_.max_hyperplanes) {
    fail(HASTE_INVALID_ARGUMENT, "L = " + std::to_string(args.hyperplanes) +
                                     " hyperplanes asked for, but the model has " +
                                     std::to_string(params_.max_hyperplanes));
  }
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
