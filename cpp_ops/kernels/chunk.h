// A chunk: patches that are gathered, hashed and merged, and then meet the weights together. (The word for it in cuda/
// too. A tile is a part of one patch: geometry.h.)
#pragma once

#include "layer_run.h"
#include "scratch.h"

namespace haste {

// Patches side by side in one row of one image.
struct Segment {
  int first, count;  // within the chunk
  int64_t image, row, column;
};

struct Chunk {
  int patches = 0;
  int segments = 0;
  Segment* segment = nullptr;
  PatchWork* work = nullptr;
  float* windows = nullptr;  // merged windows of all patches, close together
  size_t floats = 0;         // of them

  void clear() { patches = segments = 0, floats = 0; }
};

struct ChunkLimits {
  int patches;    // most in a chunk
  size_t floats;  // of windows: no strip begins beyond
  bool stay;      // the weights do, from the first chunk on
};

Chunk cut_chunk(const Geometry& g, const ChunkLimits& limits, Cutter& cutter);
size_t chunk_bytes(const Geometry& g, const ChunkLimits& limits);

}  // namespace haste
