// The second half of a run: a chunk meets blocks of weights, and its output pixels are written.
#pragma once

#include "chunk.h"

namespace haste {

// Memory that is drawn into the second-level cache while a patch is convolved. Members of buckets are picked
// irregularly, which no hardware prefetcher follows.
struct Lines {
  const char* at = nullptr;
  int64_t count = 0;

  Lines part(int64_t index, int64_t parts) const {
    const int64_t from = count * index / parts;
    return {at + from * 64, count * (index + 1) / parts - from};
  }
};

// How a patch meets a slice.
struct Pass {
  int begin, end;  // blocks of output channels
  bool back;       // from the last to the first
  bool first;      // of the patches: the weights have not been drawn yet
  Lines next[2];   // drawn meanwhile: windows of the patch to come, weights of the next slice
};

class Convolution {
 public:
  // For chunks of up to `patches`; needs convolution_bytes() of the cutter's buffer.
  Convolution(const LayerRun& run, int patches, Cutter& cutter);

  // A chunk, all output channels, block by block; `draw` if its weights are not in the cache already. From one block to
  // the next the patches are gone through in turns forwards and backwards, so that of a chunk that is too large for the
  // cache only a part has to come again.
  void by_blocks(const Chunk& chunk, bool draw) const;

  // One patch of a chunk of one segment.
  void by_patch(const Chunk& chunk, int patch, const Pass& pass) const;

  Lines windows(const PatchWork& work) const;
  Lines weights(int block) const;  // of one call with these blocks

 private:
  // Where one call of a kernel finds its pixels: in the tensor if it is blocked, else in a staging strip.
  struct Plane {
    float* pixel;
    ptrdiff_t row, block;
  };

  Plane locate(float* tensor, float* staging, const Segment& segment, int patch, int block) const;
  void stage_residual(const Segment& segment, int block, int blocks) const;
  void flush(const Segment& segment, int block, int blocks) const;
  void convolve(const Chunk& chunk, const Segment& segment, int patch, int block, int blocks, bool cold,
                Lines next) const;
  template <typename Body>
  void for_each_row(const Segment& segment, int block, int blocks, const float* tensor, float* staging,
                    Body body) const;

  const LayerRun& run_;
  float *taps_, *y_, *z_;
};

// Blocks of output channels that one call of a kernel computes.
int blocks_per_call(const haste_conv& conv);

// One patch and `blocks` blocks of output channels, by the kernel that the layer's form names.
void convolve_patch(const haste_conv& conv, const ConvolveArgs& args, int blocks);

size_t convolution_bytes(const LayerRun& run, int patches);

}  // namespace haste
