#include "plan.h"

#include <algorithm>

#include "forms.h"

namespace haste::cuda {
namespace {

// Chunks are sized so that the merged windows stay in L2 between the two kernels, but never so small that the launches
// cost more than the work.
constexpr size_t kMinChunkBytes = size_t{8} << 20;
constexpr size_t kMaxChunkBytes = size_t{64} << 20;
constexpr size_t kTotalsBytes = 128;     // PatchTotals of front.h
constexpr size_t kSharedReserve = 1024;  // what the driver keeps per block
constexpr int kMaxHyperplaneGroup = 16;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
size_t align(size_t n, size_t to) {
  return (n + to - 1) / to * to;
}

int power_of_two_at_least(int64_t n) {
  int power = 1;
  while (power < n) power *= 2;
  return power;
}

// Staged windows and the warps' scratch (convolve_warps.h); then the sums of all warps take their place.
size_t grid_shared(const LayerPlan& layer, const WarpGrid& grid) {
  const auto warps = static_cast<size_t>(grid.warps());
  const size_t sums = warps * static_cast<size_t>(kWarpChannels * layer.outputs) * sizeof(float);
  return with_form(layer, [&](auto form) {
    using Form = decltype(form);
    const auto buffers = 2 * static_cast<size_t>(grid.bucket_warps) * static_cast<size_t>(grid.steps);
    const size_t pixels = size_t{Form::kSlots} * static_cast<size_t>(Form::pitch(layer));
    return std::max(buffers * pixels * sizeof(typename Form::Pixel) + warps * Form::kScratchBytes, sums);
  });
}

// Kernels of one tap have little to do in a step; a barrier then serves several.
int steps_of(const LayerPlan& layer) {
  return layer.taps() == 1 ? 4 : 1;
}

// Pixels of a pass on tensor cores: tiles of eight, in the numbers that a kernel exists for.
int matrix_outputs(int pixels) {
  for (const int tiles : {2, 5, 7}) {
    if (pixels <= 8 * tiles) return 8 * tiles;
  }
  return 64;
}

// Whether the layer has a form of convolve_warps.h on this GPU. Smaller patches would leave most columns of a matrix
// product empty, and reuse too little on multiply-add units; larger ones than 8 have too many rows for a warp.
bool plan_warps(LayerPlan& layer, const DeviceLimits& limits) {
  const int pixels = layer.patch * layer.patch;
  if (limits.matrix && layer.patch >= 3) {
    layer.shape = Shape::kMatrix;
    layer.outputs = matrix_outputs(pixels);
  } else if (layer.patch >= 4 && layer.patch <= 8) {
    layer.shape = Shape::kRows;
    layer.outputs = pixels;
  } else {
    return false;
  }
  layer.passes = static_cast<int>(ceil_div(pixels, layer.outputs));
  layer.tile = static_cast<int>(align(static_cast<size_t>(layer.filters), kWarpChannels));
  return grid_shared(layer, {1, 1, 1, steps_of(layer), 0}) <= limits.shared_per_block;
}

// Warps that share the staged windows, as long as there are blocks for two on every multiprocessor. Then so many
// warps that go through different buckets, as long as each has buckets and the GPU has room for warps.
WarpGrid choose_grid(const LayerPlan& layer, const DeviceLimits& limits, int64_t patches) {
  WarpGrid grid{4, 1, 0, steps_of(layer), 0};
  const int tiles = layer.tile / kWarpChannels;
  const int64_t units = patches * layer.passes * tiles;  // of one warp and all buckets
  while (grid.output_warps > 1 &&
         (tiles % grid.output_warps != 0 || units / grid.output_warps < int64_t{limits.multiprocessors} * 2)) {
    grid.output_warps /= 2;
  }
  const int64_t rounds = ceil_div(layer.channels, grid.steps * kBucketsPerStep);
  const int most = std::min(kMaxGridWarps, limits.registers / (256 * 32));  // of at most 255 registers a thread
  const auto useful = [&](int bucket_warps) {
    const bool few = grid.output_warps * bucket_warps <= 4;
    return bucket_warps <= rounds && grid.output_warps * bucket_warps <= most &&
           (few || units * bucket_warps <= int64_t{limits.multiprocessors} * 8);
  };
  while (useful(2 * grid.bucket_warps)) grid.bucket_warps *= 2;
  while (grid.warps() > 1 && grid_shared(layer, grid) > limits.shared_per_block) {
    (grid.bucket_warps > 1 ? grid.bucket_warps : grid.output_warps) /= 2;
  }
  grid.output_blocks = tiles / grid.output_warps;
  grid.shared = grid_shared(layer, grid);
  return grid;
}

size_t convolve_scratch(const LayerPlan& layer) {
  return size_t{kConvolveWarps} * 32 * static_cast<size_t>(layer.outputs) * sizeof(float);
}

size_t tile_weights(const LayerPlan& layer, int tile) {
  return align(static_cast<size_t>(layer.channels) * static_cast<size_t>(layer.taps() * tile) * layer.element, 16);
}

// Weights are read in an order that no cache foresees, once per patch: a tile that stays in shared memory is worth
// lane groups that split a patch's buckets between them.
void choose_tile(LayerPlan& layer, const DeviceLimits& limits) {
  const size_t scratch = convolve_scratch(layer);
  layer.tile = 32;
  layer.resident = false;
  layer.convolve_shared = scratch;
  // Two blocks per multiprocessor hide latency better than one with a wider tile, down to 16 output channels.
  const size_t half = limits.shared_per_multiprocessor / 2 - kSharedReserve;
  const size_t whole = limits.shared_per_block;
  const struct {
    int tile;
    size_t budget;
  } options[] = {{32, std::min(half, whole)}, {16, std::min(half, whole)}, {32, whole}, {16, whole}, {8, whole}};
  for (const auto& option : options) {
    if (layer.shape == Shape::kGeneric && option.tile != 32) continue;
    if (scratch + tile_weights(layer, option.tile) > option.budget) continue;
    layer.tile = option.tile;
    layer.resident = true;
    layer.convolve_shared = scratch + tile_weights(layer, option.tile);
    return;
  }
}

struct Arena {
  size_t shared_limit;
  size_t shared = 0, slot = 0;

  Region place(size_t bytes) {
    bytes = align(bytes, 16);
    if (shared + bytes <= shared_limit) {
      shared += bytes;
      return {true, shared - bytes};
    }
    slot += bytes;
    return {false, slot - bytes};
  }
};

size_t projection_bytes(const FrontPlan& front, int group) {
  return align(static_cast<size_t>(group) * (static_cast<size_t>(front.projection_pitch) + 17) * sizeof(float), 16);
}

// Bytes of one patch before its buckets' windows, which may take the projections' place.
size_t hash_bytes(const FrontPlan& front, int group) {
  return front.keys_pitch + front.lists_pitch + front.windows_pitch + projection_bytes(front, group);
}

size_t patch_bytes(const FrontPlan& front, int group) {
  return hash_bytes(front, group) - projection_bytes(front, group) +
         std::max(projection_bytes(front, group), front.buckets_pitch);
}

// All hyperplanes together if that fits, with the buckets' windows; else with those in the workspace; else in smaller
// groups; and if even one by one windows do not fit, those are in the workspace, and all that remains is for the rest.
void choose_group(FrontPlan& front, size_t limit, int max_hyperplanes) {
  const int most = std::min(max_hyperplanes, kMaxHyperplaneGroup);
  front.hyperplane_group = most;
  if (patch_bytes(front, most) <= limit) return;
  const bool windows_fit = hash_bytes(front, 1) <= limit;
  const size_t free = windows_fit ? limit : limit + front.windows_pitch;
  while (front.hyperplane_group > 1 && hash_bytes(front, front.hyperplane_group) > free) front.hyperplane_group /= 2;
}

FrontPlan plan_front(const LayerPlan& layer, const DeviceLimits& limits, int max_hyperplanes) {
  FrontPlan front{};
  const auto channels = static_cast<size_t>(layer.channels), window = static_cast<size_t>(layer.window);
  front.sort_size = power_of_two_at_least(layer.channels);
  // 16 floats beyond a multiple of 32: the two hyperplanes that a warp sums at once hit different banks.
  front.projection_pitch = static_cast<int>(align(channels, 32) + 16);
  front.channel_pitch = layer.channels | 1;
  front.bucket_pitch = (layer.channels / 2 + 1) | 1;
  front.windows_pitch = align(window * static_cast<size_t>(front.channel_pitch) * sizeof(float), 16);
  front.buckets_pitch = align(window * static_cast<size_t>(front.bucket_pitch) * sizeof(float), 16);
  front.keys_pitch = align(static_cast<size_t>(front.sort_size) * 8, 16);
  front.lists_pitch = align(channels * 20, 16) + 2 * align(channels * 8, 16) + kTotalsBytes;
  const size_t limit = limits.shared_per_block;
  choose_group(front, limit, max_hyperplanes);
  front.projections_pitch = projection_bytes(front, front.hyperplane_group);
  // As many patches as give every thread a channel, while two blocks fit a multiprocessor.
  const size_t roomy = std::min(limit, limits.shared_per_multiprocessor / 2 - kSharedReserve);
  const size_t each = patch_bytes(front, front.hyperplane_group);
  front.patches_per_block = 1;
  while (front.patches_per_block < kMaxFrontPatches && front.patches_per_block * 2 * layer.channels <= kFrontThreads &&
         each * static_cast<size_t>(front.patches_per_block) * 2 <= roomy) {
    front.patches_per_block *= 2;
  }
  const auto patches = static_cast<size_t>(front.patches_per_block);
  Arena arena{limit};
  front.keys = arena.place(front.keys_pitch * patches);
  const bool together = each * patches <= limit;
  if (together) front.projections_pitch = front.buckets_pitch = std::max(front.projections_pitch, front.buckets_pitch);
  front.projections = arena.place(front.projections_pitch * patches);
  front.lists = arena.place(front.lists_pitch * patches);
  front.windows = arena.place(front.windows_pitch * patches);
  front.buckets = together ? front.projections : arena.place(front.buckets_pitch * patches);
  front.shared = arena.shared;
  front.slot = align(arena.slot, 256);
  // Threads enough to hide latency: where a block leaves no room for others it needs more of its own.
  const size_t blocks = std::max<size_t>(limits.shared_per_multiprocessor / (front.shared + kSharedReserve), 1);
  int threads = kFrontThreads;
  const int most = std::min(kMaxFrontThreads, limits.registers / 64);
  while (2 * threads <= most && blocks * static_cast<size_t>(2 * threads) <= kMaxFrontThreads) {
    threads *= 2;
  }
  front.lanes = threads / front.patches_per_block;
  return front;
}

}  // namespace

LayerPlan plan_layer(const haste_conv_params& params, size_t element, const DeviceLimits& limits) {
  LayerPlan layer{};
  layer.channels = static_cast<int>(params.in_channels);
  layer.filters = static_cast<int>(params.out_channels);
  layer.kernel_h = static_cast<int>(params.kernel_h);
  layer.kernel_w = static_cast<int>(params.kernel_w);
  layer.patch = static_cast<int>(params.patch);
  layer.window_h = layer.patch + layer.kernel_h - 1;
  layer.window_w = layer.patch + layer.kernel_w - 1;
  layer.window = layer.window_h * layer.window_w;
  layer.merged_pitch = static_cast<int>(align(static_cast<size_t>(layer.window), 4));
  layer.element = element;
  if (plan_warps(layer, limits)) return layer;
  const bool square = layer.patch == 3 && layer.kernel_h == layer.kernel_w;
  layer.shape = square && layer.kernel_h == 3   ? Shape::kWinograd3x3
                : square && layer.kernel_h == 1 ? Shape::kDirect1x1
                                                : Shape::kGeneric;
  layer.outputs = layer.shape == Shape::kGeneric ? 16 : 9;
  layer.passes = static_cast<int>(ceil_div(int64_t{layer.patch} * layer.patch, layer.outputs));
  choose_tile(layer, limits);
  return layer;
}

RunPlan plan_run(const LayerPlan& layer, const haste_conv_params& params, const DeviceLimits& limits, int64_t batch,
                 int64_t height, int64_t width) {
  RunPlan run{};
  run.out_height = height + params.pad_top + params.pad_bottom - params.kernel_h + 1;
  run.out_width = width + params.pad_left + params.pad_right - params.kernel_w + 1;
  run.grid_h = ceil_div(run.out_height, params.patch);
  run.grid_w = ceil_div(run.out_width, params.patch);
  run.patches = batch * run.grid_h * run.grid_w;
  run.front = plan_front(layer, limits, static_cast<int>(params.max_hyperplanes));

  const auto channels = static_cast<size_t>(layer.channels);
  const size_t windows = channels * static_cast<size_t>(layer.merged_pitch) * sizeof(float);
  const size_t members = channels * 8;
  run.first_pitch = static_cast<int>(channels / 2 + 2);
  const size_t first = static_cast<size_t>(run.first_pitch) * 4;
  const size_t slot = run.front.slot / static_cast<size_t>(run.front.patches_per_block);
  const size_t per_patch = windows + members + first + 8 + slot;
  const size_t target = std::clamp(limits.l2 / 2, kMinChunkBytes, kMaxChunkBytes);
  // At least one warp per scheduler, so that layers of many channels do not starve a large GPU.
  const int64_t floor = int64_t{limits.multiprocessors} * 4;
  run.chunk = std::max(static_cast<int64_t>(target / per_patch), floor);
  run.chunk = std::min(run.chunk, std::max<int64_t>(run.patches, 1));
  run.front_blocks = static_cast<int>(ceil_div(run.chunk, run.front.patches_per_block));

  // Enough blocks for two waves, but no more than one patch per warp: each stages its weights anew.
  const int64_t wanted = ceil_div(int64_t{limits.multiprocessors} * 4, layer.tiles());
  run.convolve_blocks = std::clamp<int64_t>(wanted, 1, ceil_div(run.chunk, kConvolveWarps));
  if (has_grid(layer.shape)) run.grid = choose_grid(layer, limits, run.chunk);

  const auto chunk = static_cast<size_t>(run.chunk);
  run.counters_at = 0;
  run.windows_at = 256;
  run.members_at = align(run.windows_at + chunk * windows, 256);
  run.first_at = align(run.members_at + chunk * members, 256);
  run.headers_at = align(run.first_at + chunk * first, 256);
  run.slots_at = align(run.headers_at + chunk * 8, 256);
  run.workspace = run.slots_at + static_cast<size_t>(run.front_blocks) * run.front.slot;
  return run;
}

}  // namespace haste::cuda
