// A tile: patches that are gathered, hashed and merged, and then meet the weights together.
#pragma once

#include "layer_run.h"
#include "scratch.h"

namespace haste {

// Patches side by side in one row of one image.
struct Segment {
  int first, count;  // within the tile
  int64_t image, row, column;
};

struct Tile {
  int patches = 0;
  int segments = 0;
  Segment* segment = nullptr;
  PatchWork* work = nullptr;
  float* windows = nullptr;  // merged windows of all patches, close together
  size_t floats = 0;         // of them

  void clear() { patches = segments = 0, floats = 0; }
};

struct TileLimits {
  int patches;    // most in a tile
  size_t floats;  // of windows: no group of patches begins beyond
  bool stay;      // the weights do, from the first tile on
};

Tile cut_tile(const Geometry& g, const TileLimits& limits, Cutter& cutter);
size_t tile_bytes(const Geometry& g, const TileLimits& limits);

}  // namespace haste
