#include "layer.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <random>
#include <stdexcept>

#include "dispatch.h"
#include "error.h"
#include "schedule.h"

namespace haste::bench {
namespace {

// All runs measure the same layers.
std::mt19937 repeatable() {
  return std::mt19937(1);  // NOLINT(bugprone-random-generator-seed)
}

template <typename T>
Aligned<T> aligned(size_t count) {  // zeroed
  T* memory = static_cast<T*>(aligned_allocate(count * sizeof(T)));
  if (!memory) throw std::bad_alloc();
  std::memset(static_cast<void*>(memory), 0, count * sizeof(T));
  return Aligned<T>(memory);
}

Aligned<char> made_up_weights(size_t count, haste_weight_type type, std::mt19937& random) {
  Aligned<char> memory = aligned<char>(count * sizeof(float));
  if (type == HASTE_WEIGHTS_FLOAT32) {
    std::normal_distribution<float> normal;
    float* weights = reinterpret_cast<float*>(memory.get());
    for (size_t i = 0; i < count; i++) weights[i] = normal(random);
  } else {
    uint16_t* weights = reinterpret_cast<uint16_t*>(memory.get());
    constexpr unsigned kSign = 0x8000, kEighth = 0x3000, kFourfold = 0x07ff;  // +-2^-3 to 2^-1
    for (size_t i = 0; i < count; i++)
      weights[i] = static_cast<uint16_t>((random() & kSign) | (kEighth + (random() & kFourfold)));
  }
  return memory;
}

// Rectified noise [C/16, H, W, 16]; a share of the channels are copies of a few, as in a trained network.
Aligned<float> made_up_image(const Shape& shape, double correlated, std::mt19937& random) {
  const size_t pixels = static_cast<size_t>(shape.height) * static_cast<size_t>(shape.width);
  Aligned<float> image = aligned<float>(static_cast<size_t>(round_up(shape.channels, kBlock)) * pixels);
  std::normal_distribution<float> normal;
  std::vector<float> source(16 * pixels);
  for (float& v : source) v = normal(random);
  for (int c = 0; c < shape.channels; c++) {
    const bool copy = random() % 1000 < static_cast<unsigned>(correlated * 1000);
    const float* from = source.data() + (random() % 16) * pixels;
    for (size_t i = 0; i < pixels; i++) {
      const float v = copy ? from[i] : normal(random);
      image[(static_cast<size_t>(c / kBlock) * pixels + i) * kBlock + static_cast<size_t>(c % kBlock)] = v > 0 ? v : 0;
    }
  }
  return image;
}

haste_conv_params params_of(const Shape& shape, int patch, int hyperplanes, haste_weight_type weights) {
  haste_conv_params params{};
  params.in_channels = shape.channels, params.out_channels = shape.filters;
  params.kernel_h = shape.kernel_h, params.kernel_w = shape.kernel_w;
  params.pad_top = params.pad_bottom = shape.kernel_h / 2;
  params.pad_left = params.pad_right = shape.kernel_w / 2;
  params.patch = patch ? patch : shape.kernel_h == 3 && shape.kernel_w == 3 ? 7 : 3;
  params.max_hyperplanes = hyperplanes;
  params.activation = HASTE_RELU;
  params.weight_layout = HASTE_PACKED;
  params.weight_type = weights;
  params.x_layout = params.y_layout = params.z_layout = HASTE_BLOCKED;
  return params;
}

}  // namespace

void AlignedDeleter::operator()(void* memory) const {
  aligned_free(memory);
}

Layer::Layer(const Shape& shape, int patch, int hyperplanes, double correlated, haste_weight_type weights) {
  std::mt19937 random = repeatable();
  const haste_conv_params params = params_of(shape, patch, hyperplanes, weights);
  const auto filters = static_cast<size_t>(round_up(shape.filters, kBlock));
  weights_ =
      made_up_weights(filters * static_cast<size_t>(shape.channels * shape.kernel_h * shape.kernel_w), weights, random);
  const int64_t window = (params.patch + shape.kernel_h - 1) * (params.patch + shape.kernel_w - 1);
  std::vector<int8_t> rows(static_cast<size_t>(hyperplanes) * static_cast<size_t>(window));
  for (int8_t& v : rows) v = static_cast<int8_t>(random() % 2 ? 0 : random() % 2 ? 1 : -1);
  const std::vector<float> bias(static_cast<size_t>(shape.filters));
  if (create_conv(params, weights_.get(), bias.data(), rows.data(), conv_)) throw std::runtime_error(last_error());

  int64_t out_height = 0, out_width = 0;
  if (output_size(*conv_, shape.height, shape.width, &out_height, &out_width)) throw std::runtime_error(last_error());
  image_ = made_up_image(shape, correlated, random);
  output_ = aligned<float>(filters * static_cast<size_t>(out_height * out_width));
  args_.x = image_.get(), args_.y = output_.get();
  args_.batch = 1, args_.height = shape.height, args_.width = shape.width;
  args_.hyperplanes = hyperplanes;

  const Geometry& g = conv_->geometry;
  layer_ = std::make_unique<LayerRun>(layer_run(*conv_, args_, out_height, out_width, nullptr));
  plan_ = layer_->plan;
  labels_.resize(static_cast<size_t>(layer_->patches * g.channels));
  codes_.resize(labels_.size());

  limits_ = chunk_limits(*layer_, 1);
  limits_.patches = static_cast<int>(std::min<int64_t>(limits_.patches, layer_->patches));
  scratch_ =
      aligned<char>(chunk_bytes(g, limits_) + preparation_bytes(*layer_) + convolution_bytes(*layer_, limits_.patches));
  Cutter cutter(scratch_.get());
  chunk_ = cut_chunk(g, limits_, cutter);
  preparation_ = std::make_unique<Preparation>(*layer_, cutter);
  convolution_ = std::make_unique<Convolution>(*layer_, limits_.patches, cutter);
}

void Layer::fill(const HashPlan* plan, const uint32_t* labels, uint32_t* codes) {
  layer_->plan = plan, layer_->labels = labels, layer_->codes_out = codes;
  Queue queue(*layer_, chunk_columns(*layer_), kStripPatches, layer_->rows / 2 * layer_->columns, layer_->patches);
  preparation_->fill(queue, limits_, chunk_);
}

void Layer::gather() {
  fill(nullptr, labels_.data(), codes_.data());
}

void Layer::gather_and_hash() {
  fill(plan_, nullptr, codes_.data());
}

void Layer::prepare() {
  fill(plan_, nullptr, nullptr);
}

void Layer::prepare_buckets_of(int members) {
  std::mt19937 random = repeatable();
  const int channels = conv_->geometry.channels;
  std::vector<uint32_t> label(static_cast<size_t>(channels));
  for (int64_t patch = 0; patch < layer_->patches; patch++) {
    std::iota(label.begin(), label.end(), 0u);
    std::shuffle(label.begin(), label.end(), random);
    for (int c = 0; c < channels; c++)
      labels_[static_cast<size_t>(patch * channels + c)] =
          label[static_cast<size_t>(c)] / static_cast<unsigned>(members);
  }
  fill(nullptr, labels_.data(), nullptr);
}

void Layer::convolve() {
  convolution_->by_blocks(chunk_, !limits_.stay);
}

void Layer::run() {
  if (run_conv(*conv_, args_, nullptr, nullptr)) throw std::runtime_error(last_error());
}

Work Layer::work() const {
  const Geometry& g = conv_->geometry;
  const double filters = static_cast<double>(g.blocks_out) * kBlock;
  const double filter_bytes = static_cast<double>(conv_->block_bytes) * g.blocks_out / g.channels;
  Work sum{};
  for (int s = 0; s < chunk_.segments; s++) {
    const Segment& segment = chunk_.segment[s];
    const int64_t height = std::min<int64_t>(g.patch, layer_->out_height - segment.row * g.patch);
    for (int i = 0; i < segment.count; i++) {
      const int64_t width = std::min<int64_t>(g.patch, layer_->out_width - (segment.column + i) * g.patch);
      const PatchWork& w = chunk_.work[segment.first + i];
      const double buckets = w.singles + w.merged, members = w.first[w.merged];
      sum.buckets += buckets;
      sum.members += members;
      sum.flops += 2 * filters * g.taps() * (static_cast<double>(height * width) * buckets + members);
      sum.weight_bytes += filter_bytes * (w.singles + members);
    }
  }
  const double patches = chunk_.patches;
  return {sum.buckets / patches, sum.members / patches, sum.flops / patches, sum.weight_bytes / patches};
}

}  // namespace haste::bench
