// The second half of a run: a tile meets blocks of weights, and its output pixels are written.
#pragma once

#include "tile.h"

namespace haste {

// Which weights are drawn into the second-level cache meanwhile: those of the next call, within the blocks asked for,
// and `part` of `parts` of those beyond their end; none if parts is 0. Members are picked irregularly, which no
// hardware prefetcher follows.
struct Prefetch {
  bool within;
  int64_t part, parts;
};

class Convolution {
 public:
  // For tiles of up to `patches`; needs convolution_bytes() of the cutter's buffer.
  Convolution(const LayerRun& run, int patches, Cutter& cutter);

  // Output channels of blocks `begin` to `end` - 1. From one block to the next the patches are gone through in turns
  // forwards and backwards, so that of a tile that is too large for the cache only a part has to come again.
  void convolve(const Tile& tile, int begin, int end, Prefetch prefetch) const;

 private:
  // Where one call of a kernel finds its pixels: in the tensor if it is blocked, else in a staging strip.
  struct Plane {
    float* pixel;
    ptrdiff_t row, block;
  };

  Plane locate(float* tensor, float* staging, const Segment& segment, int patch, int block) const;
  void stage_residual(const Segment& segment, int block, int blocks) const;
  void flush(const Segment& segment, int block, int blocks) const;
  void convolve(const Tile& tile, const Segment& segment, int patch, int block, int blocks, bool cold, int64_t from,
                int64_t to) const;
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
