// A layer with made-up weights and activations, whose stages are run one by one, by the code that runs them in a layer.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "convolution.h"
#include "preparation.h"

namespace haste::bench {

struct Shape {
  int channels, filters, height, width, kernel_h, kernel_w;
};

struct AlignedDeleter {
  void operator()(void* memory) const;
};
template <typename T>
using Aligned = std::unique_ptr<T[], AlignedDeleter>;

// What the convolution of a chunk is counted with, per patch.
struct Work {
  double buckets, members;  // all buckets; members of those of two and more
  double flops;             // of the direct convolution of the buckets, and of the merge of their filters
  double weight_bytes;      // read
};

// Stages work on one chunk of patches, from the middle of the image on, as large as the library makes it.
class Layer {
 public:
  // patch: 0 for the one that 3x3 kernels are fastest at, 7, and 3 for others.
  Layer(const Shape& shape, int patch, int hyperplanes, double correlated, haste_weight_type weights);

  void gather();
  void gather_and_hash();
  // Gathers, hashes, groups and merges: what convolve() then meets.
  void prepare();
  // The same with channels taken at random into buckets of `members` each.
  void prepare_buckets_of(int members);
  // Every output channel of the chunk that was prepared last.
  void convolve();
  // The whole layer.
  void run();

  const Geometry& geometry() const { return conv_->geometry; }
  int patches() const { return chunk_.patches; }  // of the last chunk
  int64_t all_patches() const { return layer_->patches; }
  Work work() const;

 private:
  void fill(const HashPlan* plan, const uint32_t* labels, uint32_t* codes);

  Aligned<char> weights_, scratch_;
  Aligned<float> image_, output_;
  std::unique_ptr<haste_conv> conv_;
  haste_conv_run_args args_{};
  const HashPlan* plan_ = nullptr;
  std::vector<uint32_t> labels_, codes_;  // [patches, C]
  std::unique_ptr<LayerRun> layer_;
  ChunkLimits limits_{};
  Chunk chunk_;
  std::unique_ptr<Preparation> preparation_;
  std::unique_ptr<Convolution> convolution_;
};

}  // namespace haste::bench
