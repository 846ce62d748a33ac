// How a run uses the second-level cache. What the cache keeps decides how much crosses the memory bus; three ways:
// - All weights fit beside a few patches: they stay, and only activations pass by.
// - The windows of a chunk stay while the weights pass by, block by block of 16 output channels: all weights cross the
//   bus once per chunk. How much is left of a patch after its merge is known only then: a chunk ends when its windows
//   fill their share.
// - Many patches are prepared first; then the blocks of a slice of the weights stay while the patches pass by, each of
//   which meets all of them: windows cross the bus once per slice, the weights once. Best for few patches and many
//   weights.
// docs/membus.md has the formulas; haste_export/membus/analytic.py computes with the same, and is tested to.
#pragma once

#include "chunk.h"

namespace haste {

// The limits of a chunk when `sharers` tasks use one second-level cache.
ChunkLimits chunk_limits(const LayerRun& run, int sharers);

// Columns of patches that are gone through together, row by row, by chunks and by slices: as many as leave the pixels
// that two rows of windows have in common in the cache.
int64_t chunk_columns(const LayerRun& run);
int64_t slice_columns(const LayerRun& run);

struct Slices {
  int blocks;       // of output channels in a slice; 0: chunks move less
  int64_t patches;  // that are prepared before the slices pass: whole rows
};

Slices slices(const LayerRun& run, int threads);

// What a run of these args would choose now. x and y are not looked at.
haste_status schedule_of(const haste_conv& conv, const haste_conv_run_args& args, haste_schedule& schedule);

}  // namespace haste
