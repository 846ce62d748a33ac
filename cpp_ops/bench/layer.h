// A layer with made-up weights and activations, opened up so that its stages can be timed one by one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "conv.h"
#include "kernels.h"

namespace haste::bench {

struct Shape {
  int channels, filters, height, width, kernel_h, kernel_w;
};

struct AlignedDeleter {
  void operator()(void* memory) const;
};
template <typename T>
using Aligned = std::unique_ptr<T[], AlignedDeleter>;
template <typename T>
Aligned<T> aligned(size_t count);  // zeroed

class Layer {
 public:
  // patch: 0 for the one that 3x3 kernels are fastest at, 7, and 3 for others.
  Layer(const Shape& shape, int patch, int hyperplanes, double correlated, haste_weight_type weights);

  // One group of patches in the middle of the image, gathered and, with hyperplanes, hashed.
  void hash(int hyperplanes);
  // Groups and merges the patches of the last hash.
  void merge(bool dense);
  // Gives every patch of the tile the same bucket sizes: all channels in buckets of `members`.
  void regular_buckets(int members);
  // Every output channel of `tile` patches.
  void convolve();

  const Geometry& geometry() const { return conv_->geometry; }
  ptrdiff_t block_bytes() const { return conv_->block_bytes; }
  int tile() const { return kTile; }
  double buckets() const;  // per patch of the tile
  double singles() const;
  int group() const;       // patches per hash
  double members() const;  // of merged buckets, per patch of the tile

  static constexpr int kTile = 12;

 private:
  Shape shape_;
  std::unique_ptr<haste_conv> conv_;
  Aligned<char> weights_;
  Aligned<float> image_, strip_, windows_, projections_, merged_, output_, taps_;
  Aligned<uint32_t> codes_;
  std::vector<uint16_t> nonzero_;
  uint32_t zero_code_[kGroup] = {};
  const HashPlan* plan_ = nullptr;
  std::vector<std::vector<int32_t>> lists_;
  std::vector<std::vector<float>> coefficients_;
  PatchWork work_[kTile] = {};
  std::vector<uint64_t> table_;
  std::vector<int32_t> group_[7];
  std::vector<uint32_t> kept_codes_;
  GroupScratch scratch_{};
};

}  // namespace haste::bench
