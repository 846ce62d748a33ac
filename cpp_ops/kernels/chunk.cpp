#include "chunk.h"

#include <algorithm>

namespace haste {

Chunk cut_chunk(const Geometry& g, const ChunkLimits& limits, Cutter& cutter) {
  const size_t patches = static_cast<size_t>(limits.patches), channels = static_cast<size_t>(g.channels) + kBlock;
  const size_t patch = static_cast<size_t>(g.channels) * static_cast<size_t>(g.bucket_slot);
  Chunk chunk;
  chunk.segment = cutter.take<Segment>(patches);
  chunk.work = cutter.take<PatchWork>(patches);
  // Patches are prepared in strips, and nothing may be merged; a transform's last store reaches behind its bucket.
  chunk.windows = cutter.take<float>(std::min(limits.floats + kStripPatches * patch, patches * patch) + kBlock);
  int32_t* lists = cutter.take<int32_t>(patches * channels * 3);
  float* coefficients = cutter.take<float>(patches * channels);
  if (!chunk.work) return chunk;
  for (size_t i = 0; i < patches; i++) {
    PatchWork& w = chunk.work[i];
    w.single_channel = lists + (i * 3) * channels;
    w.member = lists + (i * 3 + 1) * channels;
    w.first = lists + (i * 3 + 2) * channels;
    w.coefficient = coefficients + i * channels;
  }
  return chunk;
}

size_t chunk_bytes(const Geometry& g, const ChunkLimits& limits) {
  Cutter counter(nullptr);
  cut_chunk(g, limits, counter);
  return counter.used();
}

}  // namespace haste
