#include "schedule.h"

#include <algorithm>

#include "cache_size.h"
#include "convolution.h"
#include "preparation.h"

namespace haste {
namespace {

constexpr int64_t kMaxTile = 256;
// Output pixels of a tile beside weights that stay. Larger tiles gain nothing; smaller ones are used while still in the
// cache.
constexpr int64_t kMinStay = 72, kMaxStay = 288;
// Patches whose windows pass by while a slice stays: the group that meets its blocks one after the other, and half a
// group for its pixels and for cache sets that are fuller than others.
constexpr int64_t kPassing = kGroup + 2;
// Windows that slices may keep in memory.
constexpr int64_t kMaxWindows = int64_t{8} << 20;

int64_t cache_bytes() {
  return static_cast<int64_t>(l2_cache_size());
}

int64_t weight_bytes(const LayerRun& run) {
  return run.conv.block_bytes * run.g.blocks_out;
}

// What a patch is expected to leave: its windows, half of them where channels are merged, and the lists of its buckets.
int64_t window_bytes(const LayerRun& run) {
  const int64_t all = static_cast<int64_t>(run.g.channels) * run.g.bucket_slot * 4;
  return run.grouped() ? all / 2 : all;
}
int64_t list_bytes(const LayerRun& run) {
  return static_cast<int64_t>(run.g.channels) * 4;
}

}  // namespace

TileLimits tile_limits(const LayerRun& run, int sharers) {
  const Geometry& g = run.g;
  const int64_t cache = cache_bytes() * 7 / 8 / sharers;  // code, stack and passing pixels take the rest
  const int64_t windows = window_bytes(run), lists = list_bytes(run);
  const int64_t area = static_cast<int64_t>(g.patch) * g.patch, pixels = area * 4 * (g.channels + g.filters);
  const int64_t least = ceil_div(kMinStay, area), most = std::max(kMaxStay / area, least);
  // Of large patches fewer are prepared at a time.
  const int64_t preparation = static_cast<int64_t>(preparation_bytes(run)) * std::min<int64_t>(kGroup, least) / kGroup;
  const int64_t stay = (cache - weight_bytes(run) - preparation) / (windows + lists + pixels);
  if (stay >= least) {
    const int64_t patches = std::min(stay, most);
    return {static_cast<int>(patches), static_cast<size_t>(patches * windows / 4), true};
  }
  // Between two uses of a window a patch meets the rest of the weights of one call and the beginning of the next.
  const int64_t weights = 2 * blocks_per_call(run.conv) * run.conv.block_bytes;
  const int64_t share = (cache - weights) * windows / (windows + lists);
  return {static_cast<int>(kMaxTile), static_cast<size_t>(std::max<int64_t>(share, kGroup * windows) / 4), false};
}

Slices slices(const LayerRun& run) {
  const int64_t all_windows = run.patches * window_bytes(run);
  const int64_t tile = static_cast<int64_t>(tile_limits(run, 1).floats) * 4;
  // One tile: the same bytes either way, but slices are work for many threads.
  if (all_windows <= tile) return {run.args.parallel_for ? blocks_per_call(run.conv) : 0, run.patches};
  const int64_t patch = window_bytes(run) + list_bytes(run);                   // bytes, as what follows
  const int64_t weights = weight_bytes(run), cache = cache_bytes() * 15 / 16;  // nothing but windows passes by
  const int64_t most = (cache - kPassing * patch) / run.conv.block_bytes, rows = kMaxWindows / (run.columns * patch);
  if (most < 1 || rows < 1 || weights <= cache) return {0, 0};
  const int64_t count = ceil_div(run.g.blocks_out, most), rounds = ceil_div(run.patches, rows * run.columns);
  const int64_t by_tiles = ceil_div(all_windows, tile) * weights;
  // Windows are written, which fetches them first, and read once per slice.
  const int64_t by_slices = rounds * weights + (count + 2) * run.patches * patch;
  if (by_slices >= by_tiles) return {0, 0};
  return {static_cast<int>(ceil_div(run.g.blocks_out, count)), rows * run.columns};
}

}  // namespace haste
