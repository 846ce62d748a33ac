#include "schedule.h"

#include <algorithm>

#include "cache_size.h"
#include "check.h"
#include "convolution.h"
#include "preparation.h"

namespace haste {
namespace {

constexpr int64_t kMaxChunk = 256;
// Output pixels of a chunk beside weights that stay. Larger chunks gain nothing; smaller ones are used while still in
// the cache.
constexpr int64_t kMinStay = 72, kMaxStay = 288;
// Windows that slices may keep in memory.
constexpr int64_t kMaxWindows = int64_t{8} << 20;

int64_t cache_bytes() {
  return static_cast<int64_t>(l2_cache_size());
}

int64_t weight_bytes(const LayerRun& run) {
  return run.conv.block_bytes * run.g.blocks_out;
}

// Floats that a bucket has on average: fewer where patches hang over the edge of the image.
int64_t bucket_slot(const LayerRun& run) {
  const Geometry& g = run.g;
  if (g.form != Form::kNested) return g.bucket_slot;
  const int64_t rows = run.rows - 1, columns = run.columns - 1;
  const int64_t bottom = run.out_height - rows * g.patch, right = run.out_width - columns * g.patch;
  const int64_t all = rows * columns * g.bucket_slot + columns * g.bucket_slot_of(bottom, g.patch) +
                      rows * g.bucket_slot_of(g.patch, right) + g.bucket_slot_of(bottom, right);
  return ceil_div(all, run.rows * run.columns);
}

// What a patch is expected to leave: its windows, half of them where channels are merged, and the lists of its buckets.
int64_t window_bytes(const LayerRun& run) {
  const int64_t all = run.g.channels * bucket_slot(run) * 4;
  return run.grouped() ? all / 2 : all;
}
int64_t list_bytes(const LayerRun& run) {
  return static_cast<int64_t>(run.g.channels) * 4;
}

int64_t pixel_bytes(const LayerRun& run, int channels) {
  return static_cast<int64_t>(run.g.patch) * run.g.patch * channels * 4;
}

// The width of bands of which a row leaves the pixels that it shares with the next in a cache with room for so many
// columns; all columns where bands would lose more than half as much at their sides.
int64_t band(const LayerRun& run, int64_t columns) {
  const Geometry& g = run.g;
  if (columns < 1) return run.columns;
  const int64_t width = std::min(std::max<int64_t>(columns, kStripPatches), run.columns);
  // Pixels that two bands read; of planes, in whole lines.
  const int64_t side = g.window_w - g.patch + (run.conv.params.x_layout == HASTE_BLOCKED ? 0 : kBlock - 1);
  return 2 * side < width * (g.window_h - g.patch) ? width : run.columns;
}

}  // namespace

ChunkLimits chunk_limits(const LayerRun& run, int sharers) {
  const Geometry& g = run.g;
  const int64_t cache = cache_bytes() * 7 / 8 / sharers;  // code, stack and passing pixels take the rest
  const int64_t windows = window_bytes(run), lists = list_bytes(run);
  const int64_t area = static_cast<int64_t>(g.patch) * g.patch, pixels = pixel_bytes(run, g.channels + g.filters);
  const int64_t least = ceil_div(kMinStay, area), most = std::max(kMaxStay / area, least);
  // Of large patches fewer are prepared at a time.
  const int64_t preparation =
      static_cast<int64_t>(preparation_bytes(run)) * std::min<int64_t>(kStripPatches, least) / kStripPatches;
  const int64_t stay = (cache - weight_bytes(run) - preparation) / (windows + lists + pixels);
  if (stay >= least) {
    const int64_t patches = std::min(stay, most);
    return {static_cast<int>(patches), static_cast<size_t>(patches * windows / 4), true};
  }
  // Between two uses of a window a patch meets the rest of the weights of one call and the beginning of the next.
  const int64_t weights = 2 * blocks_per_call(run.conv) * run.conv.block_bytes;
  const int64_t share = (cache - weights) * windows / (windows + lists);
  return {static_cast<int>(kMaxChunk), static_cast<size_t>(std::max<int64_t>(share, kStripPatches * windows) / 4),
          false};
}

int64_t chunk_columns(const LayerRun& run) {
  const ChunkLimits chunk = chunk_limits(run, 1);
  if (!chunk.stay) return run.columns;  // all weights pass by between two rows
  const int64_t room = cache_bytes() - weight_bytes(run) - static_cast<int64_t>(preparation_bytes(run)) -
                       static_cast<int64_t>(chunk.floats) * 4;
  return band(run, room / pixel_bytes(run, run.g.channels + run.g.filters));
}

int64_t slice_columns(const LayerRun& run) {
  const int64_t room = cache_bytes() * 15 / 16 - static_cast<int64_t>(preparation_bytes(run));
  return band(run, room / (pixel_bytes(run, run.g.channels) + window_bytes(run) + list_bytes(run)));
}

Slices slices(const LayerRun& run, int threads) {
  const int64_t all_windows = run.patches * window_bytes(run);
  const int64_t chunk = static_cast<int64_t>(chunk_limits(run, 1).floats) * 4;
  const int step = blocks_per_call(run.conv);
  // One chunk: the same bytes either way, but slices are work for many threads.
  const Slices shared{run.args.parallel_for ? step : 0, run.patches};
  if (all_windows <= chunk) return shared;
  const int64_t patch = window_bytes(run) + list_bytes(run);                   // bytes, as what follows
  const int64_t weights = weight_bytes(run), cache = cache_bytes() * 15 / 16;  // nothing but windows passes by
  const int64_t rows = std::min(kMaxWindows / (run.columns * patch), run.patches / run.columns);
  // By chunks each of several threads would read all weights, by slices all windows.
  if (weights <= cache && threads > 1 && all_windows <= std::min(weights, kMaxWindows)) return shared;
  if (rows < 1 || weights <= cache) return {0, 0};
  const int64_t prepared = rows * run.columns, rounds = ceil_div(run.patches, prepared), all = run.patches * patch;
  // Windows and blocks that are used in turns, each time in the other order: what the cache has no room for comes
  // again.
  const auto again = [&](int64_t windows, int64_t blocks) {
    return std::min(std::max<int64_t>(windows + 2 * blocks * run.conv.block_bytes - cache, 0), windows);
  };
  // Windows are written, which fetches them first. Of a chunk most have left the cache again when the last are
  // prepared, and the buffers for that, which are dirty, leave it while the weights pass by.
  const int64_t once = weights + 2 * static_cast<int64_t>(preparation_bytes(run)) +
                       ceil_div(run.g.blocks_out, step) * again(chunk, step);
  const double chunks = static_cast<double>(all_windows) / static_cast<double>(chunk);
  double least = chunks * static_cast<double>(once) + 3.0 * static_cast<double>(all);
  Slices best{0, 0};
  for (int blocks = step; blocks < run.g.blocks_out; blocks += step) {
    // While a patch meets the slice, its windows pass by, and those before are still in the cache.
    if (blocks > step && blocks * run.conv.block_bytes + 2 * patch > cache) break;
    const int64_t count = ceil_div(run.g.blocks_out, blocks);
    const int64_t moved = rounds * (weights + count * again(prepared * patch, blocks)) + 2 * all;
    if (static_cast<double>(moved) >= least) continue;
    least = static_cast<double>(moved);
    best = {static_cast<int>(ceil_div(run.g.blocks_out, count)), prepared};
  }
  return best;
}

haste_status schedule_of(const haste_conv& conv, const haste_conv_run_args& args, haste_schedule& schedule) {
  if (const haste_status status = check_run(conv.params, args.batch, args.hyperplanes)) return status;
  int64_t out_height = 0, out_width = 0;
  if (const haste_status status = output_size(conv, args.height, args.width, &out_height, &out_width)) return status;
  const LayerRun run = layer_run(conv, args, out_height, out_width, nullptr);
  const int threads = conv.threads.load(std::memory_order_relaxed);
  const ChunkLimits chunk = chunk_limits(run, std::min(threads, l2_cache_cores()));
  const Slices slice = slices(run, threads);
  schedule = {chunk.stay, chunk.patches, static_cast<int64_t>(chunk.floats), slice.blocks,
              slice.blocks ? slice.patches : 0};
  return HASTE_OK;
}

}  // namespace haste
