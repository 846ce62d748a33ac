#include "layer.h"

#include <cstring>
#include <random>
#include <stdexcept>

#include "convolution.h"
#include "error.h"
#include "scratch.h"

namespace haste::bench {

void AlignedDeleter::operator()(void* memory) const {
  aligned_free(memory);
}

template <typename T>
Aligned<T> aligned(size_t count) {
  T* memory = static_cast<T*>(aligned_allocate(count * sizeof(T)));
  if (!memory) throw std::bad_alloc();
  std::memset(memory, 0, count * sizeof(T));
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

Layer::Layer(const Shape& shape, int patch, int hyperplanes, double correlated, haste_weight_type weights)
    : shape_(shape) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
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
  const size_t pixels = static_cast<size_t>(shape.height) * static_cast<size_t>(shape.width);
  const size_t taps = static_cast<size_t>(shape.kernel_h * shape.kernel_w);
  weights_ = made_up_weights(
      static_cast<size_t>(round_up(shape.filters, 16)) * static_cast<size_t>(shape.channels) * taps, weights, random);
  const int64_t window = (params.patch + shape.kernel_h - 1) * (params.patch + shape.kernel_w - 1);
  std::vector<int8_t> rows(static_cast<size_t>(hyperplanes) * static_cast<size_t>(window));
  for (int8_t& v : rows) v = static_cast<int8_t>(random() % 2 ? 0 : random() % 2 ? 1 : -1);
  const std::vector<float> bias(static_cast<size_t>(shape.filters));
  if (create_conv(params, weights_.get(), bias.data(), rows.data(), conv_)) throw std::runtime_error(last_error());

  // Rectified noise; a share of the channels are scaled copies of a few, as in a trained network.
  image_ = aligned<float>(static_cast<size_t>(round_up(shape.channels, 16)) * pixels);
  std::vector<float> source(16 * pixels);
  for (float& v : source) v = normal(random);
  for (int c = 0; c < shape.channels; c++) {
    const bool copy = random() % 1000 < static_cast<unsigned>(correlated * 1000);
    const float* from = source.data() + (random() % 16) * pixels;
    for (size_t i = 0; i < pixels; i++) {
      const float v = copy ? from[i] : normal(random);
      image_[(static_cast<size_t>(c / 16) * pixels + i) * 16 + static_cast<size_t>(c % 16)] = v > 0 ? v : 0;
    }
  }

  const Geometry& g = conv_->geometry;
  const size_t channels = static_cast<size_t>(g.blocks_in) * kBlock;
  strip_ = aligned<float>(g.strip_size());
  windows_ = aligned<float>(g.window_pitch() * kGroup);
  projections_ = aligned<float>(channels * static_cast<size_t>(hyperplanes) * kGroup);
  codes_ = aligned<uint32_t>(channels * kGroup);
  merged_ = aligned<float>(channels * static_cast<size_t>(g.bucket_slot) * kTile + kBlock);
  output_ = aligned<float>(static_cast<size_t>(g.blocks_out) * kBlock * kTile * static_cast<size_t>(g.patch * g.patch));
  taps_ = aligned<float>(kMaxBlocks * taps * kBlock);
  nonzero_.resize(static_cast<size_t>(g.blocks_in) * kGroup);
  lists_.assign(kTile * 3, std::vector<int32_t>(channels + kBlock));
  coefficients_.assign(kTile, std::vector<float>(channels + kBlock, 0.7f));
  for (size_t i = 0; i < kTile; i++) {
    work_[i].slot = g.bucket_slot;
    work_[i].single_channel = lists_[3 * i].data();
    work_[i].member = lists_[3 * i + 1].data();
    work_[i].first = lists_[3 * i + 2].data();
    work_[i].coefficient = coefficients_[i].data();
  }
  size_t slots = 1024;
  while (slots < channels * 8) slots *= 2;
  table_.assign(slots, 0);
  for (auto& list : group_) list.resize(channels + kBlock);
  kept_codes_.resize(channels + kBlock);
  scratch_.table = table_.data();
  scratch_.table_mask = static_cast<uint32_t>(slots - 1);
  scratch_.code = kept_codes_.data();
  int32_t** const lists[] = {&scratch_.bucket, &scratch_.rank,  &scratch_.channel, &scratch_.count,
                             &scratch_.place,  &scratch_.order, &scratch_.member};
  for (size_t i = 0; i < 7; i++) *lists[i] = group_[i].data();
}

void Layer::hash(int hyperplanes) {
  HashArgs args{};
  args.geometry = &conv_->geometry;
  args.plan = plan_ = hyperplanes > 0 ? conv_->hyperplanes->plan(hyperplanes) : nullptr;
  args.window_offset = conv_->window_offset.data();
  args.image = {image_.get(), true, shape_.height, shape_.width};
  args.patches = group();
  args.top = shape_.height / 6 * 3 - shape_.kernel_h / 2;
  args.left = -(shape_.kernel_w / 2);
  args.strip = strip_.get();
  args.windows = windows_.get();
  args.projections = projections_.get();
  args.codes = codes_.get();
  args.nonzero = nonzero_.data();
  args.zero_code = zero_code_;
  conv_->kernels->hash(args);
}

void Layer::merge(bool dense) {
  const Geometry& g = conv_->geometry;
  const int patches = group();
  MergeStats stats;
  float* windows = merged_.get();
  for (int t = 0; t < kTile; t++) {
    const int from = t % patches;
    MergeArgs args{};
    args.geometry = &g;
    args.merge = Merge::kScaled;
    args.rows = args.cols = g.patch;
    args.transform = g.form != Form::kDirect;
    args.codes = dense ? nullptr : codes_.get() + static_cast<ptrdiff_t>(from) * g.blocks_in * kBlock;
    args.zero_code = zero_code_[from];
    args.nonzero = nonzero_.data() + static_cast<ptrdiff_t>(from) * g.blocks_in;
    args.windows = windows_.get() + static_cast<size_t>(from) * g.window_pitch();
    args.scratch = &scratch_;
    args.work = &work_[t];
    args.stats = &stats;
    work_[t].merged_window = windows;
    conv_->kernels->merge(args);
    windows += static_cast<ptrdiff_t>(work_[t].merged + work_[t].singles) * g.bucket_slot;
  }
}

void Layer::regular_buckets(int members) {
  const Geometry& g = conv_->geometry;
  std::mt19937 random(2);
  float* windows = merged_.get();
  for (PatchWork& w : work_) {
    std::vector<int32_t> order(static_cast<size_t>(g.channels));
    for (int c = 0; c < g.channels; c++) order[static_cast<size_t>(c)] = c;
    for (size_t i = order.size(); i > 1; i--) std::swap(order[i - 1], order[random() % i]);
    w.singles = members == 1 ? g.channels : 0;
    w.merged = members == 1 ? 0 : g.channels / members;
    for (int i = 0; i < g.channels; i++)
      (members == 1 ? w.single_channel : w.member)[i] = order[static_cast<size_t>(i)];
    for (int b = 0; b <= w.merged; b++) w.first[b] = b * members;
    w.merged_window = windows;
    w.single_window = windows + static_cast<ptrdiff_t>(w.merged) * g.bucket_slot;
    windows += static_cast<ptrdiff_t>(w.merged + w.singles) * g.bucket_slot;
  }
}

void Layer::convolve() {
  const Geometry& g = conv_->geometry;
  const int step = blocks_per_call(*conv_);
  int blocks = 0;
  for (int block = 0; block < g.blocks_out; block += blocks) {
    blocks = static_cast<int>(ceil_div(g.blocks_out - block, ceil_div(g.blocks_out - block, step)));
    const int next = block + blocks;
    const int64_t lines = next < g.blocks_out ? ceil_div(conv_->block_bytes, 64) : 0;
    for (int t = 0; t < kTile; t++) {
      ConvolveArgs a{};
      a.geometry = &g;
      a.merge = Merge::kScaled;
      a.epilogue = &conv_->epilogue;
      a.work = &work_[t];
      a.weights = conv_->weights + block * conv_->block_bytes;
      a.weight_type = static_cast<WeightType>(conv_->params.weight_type);
      a.gain = conv_->unit_gain.data() + static_cast<ptrdiff_t>(block) * kBlock;
      a.bias = conv_->bias.data() + static_cast<ptrdiff_t>(block) * kBlock;
      const ptrdiff_t patch = static_cast<ptrdiff_t>(g.patch) * g.patch * kBlock;
      a.y = output_.get() + (static_cast<ptrdiff_t>(block) * kTile + t) * patch;
      a.y_row = static_cast<ptrdiff_t>(g.patch) * kBlock;
      a.y_block = kTile * patch;
      a.rows = a.cols = g.patch;
      a.taps_scratch = taps_.get();
      const int64_t begin = lines * t / kTile, end = lines * (t + 1) / kTile;
      a.prefetch = conv_->weights + next * conv_->block_bytes + begin * 64;
      a.prefetch_lines = static_cast<int>(end - begin);
      convolve_patch(*conv_, a, blocks);
    }
  }
}

double Layer::buckets() const {
  double sum = 0;
  for (const PatchWork& w : work_) sum += w.singles + w.merged;
  return sum / kTile;
}

double Layer::singles() const {
  double sum = 0;
  for (const PatchWork& w : work_) sum += w.singles;
  return sum / kTile;
}

int Layer::group() const {
  return shape_.width >= 3 * kGroup ? kGroup : static_cast<int>(ceil_div(shape_.width, 3));
}

double Layer::members() const {
  double sum = 0;
  for (const PatchWork& w : work_) sum += w.first[w.merged];
  return sum / kTile;
}

}  // namespace haste::bench
