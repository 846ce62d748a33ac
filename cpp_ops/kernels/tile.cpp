#include "tile.h"

#include <algorithm>

namespace haste {

Tile cut_tile(const Geometry& g, const TileLimits& limits, Cutter& cutter) {
  const size_t patches = static_cast<size_t>(limits.patches), channels = static_cast<size_t>(g.channels) + kBlock;
  const size_t patch = static_cast<size_t>(g.channels) * static_cast<size_t>(g.bucket_slot);
  Tile t;
  t.segment = cutter.take<Segment>(patches);
  t.work = cutter.take<PatchWork>(patches);
  // Patches are prepared in groups, and nothing may be merged; a transform's last store reaches behind its bucket.
  t.windows = cutter.take<float>(std::min(limits.floats + kGroup * patch, patches * patch) + kBlock);
  int32_t* lists = cutter.take<int32_t>(patches * channels * 3);
  float* coefficients = cutter.take<float>(patches * channels);
  if (!t.work) return t;
  for (size_t i = 0; i < patches; i++) {
    PatchWork& w = t.work[i];
    w.single_channel = lists + (i * 3) * channels;
    w.member = lists + (i * 3 + 1) * channels;
    w.first = lists + (i * 3 + 2) * channels;
    w.coefficient = coefficients + i * channels;
  }
  return t;
}

size_t tile_bytes(const Geometry& g, const TileLimits& limits) {
  Cutter counter(nullptr);
  cut_tile(g, limits, counter);
  return counter.used();
}

}  // namespace haste
