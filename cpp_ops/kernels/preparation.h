// The first half of a run: patches are gathered, hashed and merged into chunks.
#pragma once

#include <atomic>

#include "chunk.h"

namespace haste {

// The patches of some rows that nobody has taken yet. They are taken band by band of `width` columns, and row by row in
// a band, so that the pixels that the windows of two rows have in common are still in the cache.
class Queue {
 public:
  // Patches are taken in strips of up to `strip_patches`: kStripPatches at most.
  Queue(const LayerRun& run, int64_t width, int64_t strip_patches, int64_t begin, int64_t end)
      : columns_(run.columns),
        width_(ceil_div(columns_, ceil_div(columns_, width))),
        strip_patches_(strip_patches),
        begin_(begin),
        rows_((end - begin) / columns_),
        next_(0) {}

  int64_t left() const { return rows_ * columns_ - next_.load(std::memory_order_relaxed); }
  int64_t strips() const;  // that take() makes of all if nothing else limits them

  // Takes a strip of no more than `most` patches. Returns how many, 0 when none is left.
  int take(int64_t most, int64_t& first);

 private:
  const int64_t columns_, width_, strip_patches_, begin_, rows_;
  std::atomic<int64_t> next_;
};

class Preparation {
 public:
  // Needs preparation_bytes() of the cutter's buffer.
  Preparation(const LayerRun& run, Cutter& cutter);

  // Makes a new chunk of patches from the queue until it is full or none is left.
  void fill(Queue& queue, const ChunkLimits& limits, Chunk& chunk);

  // Makes a new chunk of one strip.
  void fill(Queue& queue, Chunk& chunk);

  const MergeStats& stats() const { return stats_; }

 private:
  bool add_strip(Queue& queue, int64_t most, Chunk& chunk);
  void prepare_strip(int64_t image, int64_t row, int64_t column, int64_t patch, int count, Chunk& chunk);

  const LayerRun& run_;
  float *strip_, *windows_, *projections_;
  uint32_t *codes_, *zero_code_;
  uint16_t* nonzero_;
  GroupScratch scratch_{};
  MergeStats stats_;
};

size_t preparation_bytes(const LayerRun& run);

}  // namespace haste
