// The run of a layer: patches are cut into tiles, tiles are prepared (gathered, hashed, merged) and convolved.
//
// A tile is as many patches as share the weights of one block of output channels while these lie in the second-level
// cache. With many tiles each is one task. With few (small maps) preparing and convolving are two rounds of tasks, and
// the second is cut along the output channels too, so that all threads find work.

#include <algorithm>
#include <atomic>
#include <cinttypes>
#include <cstring>
#include <optional>

#include "cache_size.h"
#include "conv.h"
#include "error.h"
#include "parallel.h"
#include "scratch.h"

namespace haste {
namespace {

constexpr int64_t kMaxTile = 32, kMinTile = 4;
constexpr int64_t kFewTiles = 8;

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
};

class Run {
 public:
  Run(const haste_conv& conv, const haste_conv_run_args& args, int64_t out_height, int64_t out_width)
      : conv_(conv),
        g_(conv.geometry),
        args_(args),
        out_height_(out_height),
        out_width_(out_width),
        rows_(ceil_div(out_height, g_.patch)),
        columns_(ceil_div(out_width, g_.patch)),
        patches_(args.batch * rows_ * columns_) {
    plan_ = args.hyperplanes > 0 ? conv.hyperplanes->plan(static_cast<int>(args.hyperplanes)) : nullptr;
    choose_tiles();
    if (plan_) use_correction();
  }

  void use_labels(const uint32_t* labels) {
    labels_ = labels, plan_ = nullptr;
    use_correction();
  }

  haste_status codes(uint32_t* out) {
    codes_out_ = out;
    for_each(tiles_, [this](size_t tile) {
      const Scratch scratch(prepare_bytes() + tile_bytes());
      if (!alive(scratch)) return;
      Cutter cutter(scratch.data());
      Tile t = cut_tile(cutter);
      prepare(static_cast<int64_t>(tile), cutter, t);
    });
    return result();
  }

  haste_status convolve() {
    if (tiles_ >= kFewTiles || !args_.parallel_for)
      one_round();
    else if (tiles_ > 0)
      two_rounds();
    if (args_.stats) write_stats();
    return result();
  }

 private:
  void use_correction() {
    if (!args_.correction) return;
    const size_t filters = static_cast<size_t>(g_.filters), padded = static_cast<size_t>(g_.blocks_out) * kBlock;
    const Scratch& scratch = correction_.emplace(2 * padded * sizeof(float));
    if (!alive(scratch)) return;
    float *gain = reinterpret_cast<float*>(scratch.data()), *bias = gain + padded;
    std::memset(gain, 0, 2 * padded * sizeof(float));
    std::memcpy(gain, args_.correction, filters * sizeof(float));
    std::memcpy(bias, args_.correction + filters, filters * sizeof(float));
    gain_ = gain, bias_ = bias;
  }

  void choose_tiles() {
    const int64_t cache = static_cast<int64_t>(l2_cache_size()) * 7 / 8;
    const int64_t block = conv_.block_bytes;
    const int64_t windows = static_cast<int64_t>(g_.channels) * g_.slot * 4 * 5 / 8;  // of a patch, after a usual merge
    // This block of weights, the next one on its way, and the windows.
    tile_ = std::min(std::max((cache - 2 * block) / std::max<int64_t>(windows, 1), kMinTile), kMaxTile);
    tiles_ = ceil_div(patches_, tile_);
    tile_ = tiles_ ? ceil_div(patches_, tiles_) : 0;
    tiles_ = tile_ ? ceil_div(patches_, tile_) : 0;
  }

  template <typename Body>
  void for_each(int64_t count, Body body) {
    haste::for_each(args_.parallel_for, args_.pool, count, [&](int64_t index) { body(static_cast<size_t>(index)); });
  }

  bool alive(const Scratch& scratch) {
    if (!scratch.data()) out_of_memory_.store(true, std::memory_order_relaxed);
    return scratch.data() != nullptr;
  }

  haste_status result() const {
    return out_of_memory_.load() ? fail(HASTE_OUT_OF_MEMORY, "no memory for the scratch of a run") : HASTE_OK;
  }

  void one_round() {
    const size_t bytes = prepare_bytes() + tile_bytes() + convolve_bytes();
    for_each(tiles_, [this, bytes](size_t tile) {
      const Scratch scratch(bytes);
      if (!alive(scratch)) return;
      Cutter cutter(scratch.data());
      Tile t = cut_tile(cutter);
      prepare(static_cast<int64_t>(tile), cutter, t);
      convolve_tile(t, 0, g_.blocks_out, cutter);
    });
  }

  void two_rounds() {
    const Scratch shared(tile_bytes() * static_cast<size_t>(tiles_));
    if (!alive(shared)) return;
    Tile tiles[kFewTiles];
    Cutter shared_cutter(shared.data());
    for (int64_t i = 0; i < tiles_; i++) tiles[i] = cut_tile(shared_cutter);
    for_each(tiles_, [&](size_t tile) {
      const Scratch scratch(prepare_bytes());
      if (!alive(scratch)) return;
      Cutter cutter(scratch.data());
      prepare(static_cast<int64_t>(tile), cutter, tiles[tile]);
    });
    if (out_of_memory_.load()) return;
    const int step = conv_.kernels->blocks_at_once;
    const int64_t slices = ceil_div(g_.blocks_out, step);
    for_each(slices * tiles_, [&](size_t task) {
      // All tiles of a slice one after the other: its weights are then still in cache.
      const int begin = static_cast<int>(static_cast<int64_t>(task) / tiles_) * step;
      const Scratch scratch(convolve_bytes());
      if (!alive(scratch)) return;
      Cutter cutter(scratch.data());
      convolve_tile(tiles[static_cast<int64_t>(task) % tiles_], begin, std::min(begin + step, g_.blocks_out), cutter);
    });
  }

  // -- preparing
  // -------------------------------------------------------------------------------------------------------

  struct Buffers {
    float *strip, *windows, *projections;
    uint32_t *codes, *zero_code;
    uint16_t* nonzero;
    GroupScratch group;
  };

  Buffers cut_buffers(Cutter& cutter) const {
    const size_t channels = static_cast<size_t>(g_.blocks_in) * kBlock;
    Buffers b{};
    b.strip = cutter.take<float>(g_.strip_size());
    b.windows = cutter.take<float>(g_.window_pitch() * kGroup);
    b.projections = cutter.take<float>(plan_ ? channels * static_cast<size_t>(plan_->hyperplanes) * kGroup : 0);
    b.codes = cutter.take<uint32_t>(channels * kGroup);
    b.zero_code = cutter.take<uint32_t>(kGroup);
    b.nonzero = cutter.take<uint16_t>(static_cast<size_t>(g_.blocks_in) * kGroup);
    size_t slots = 1024;
    while (slots < channels * 8 && slots < 4096) slots *= 2;
    while (slots < channels * 2) slots *= 2;
    b.group.table = cutter.take<uint64_t>(slots);
    b.group.code = cutter.take<uint32_t>(channels + kBlock);
    b.group.table_mask = static_cast<uint32_t>(slots - 1);
    for (int32_t** list : {&b.group.bucket, &b.group.rank, &b.group.channel, &b.group.count, &b.group.place,
                           &b.group.order, &b.group.member})
      *list = cutter.take<int32_t>(channels + kBlock);
    return b;
  }

  size_t prepare_bytes() const {
    Cutter counter(nullptr);
    cut_buffers(counter);
    return counter.used();
  }

  Tile cut_tile(Cutter& cutter) const {
    const size_t patches = static_cast<size_t>(tile_), channels = static_cast<size_t>(g_.channels) + kBlock;
    Tile t;
    t.segment = cutter.take<Segment>(patches);
    t.work = cutter.take<PatchWork>(patches);
    t.windows = cutter.take<float>(patches * static_cast<size_t>(g_.channels) * static_cast<size_t>(g_.slot));
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

  size_t tile_bytes() const {
    Cutter counter(nullptr);
    cut_tile(counter);
    return counter.used();
  }

  void prepare(int64_t tile, Cutter& cutter, Tile& t) {
    Buffers b = cut_buffers(cutter);
    // The pool's memory held other things before: the table must not mistake them for entries, and what lies behind the
    // strip must be zero.
    std::memset(b.group.table, 0, (static_cast<size_t>(b.group.table_mask) + 1) * sizeof(uint64_t));
    const size_t pixels = static_cast<size_t>(g_.window_h) * static_cast<size_t>(g_.strip_w) * kBlock;
    std::memset(b.strip + pixels, 0, (g_.strip_size() - pixels) * sizeof(float));
    MergeStats stats;
    float* windows = t.windows;
    const int64_t begin = tile * tile_, end = std::min(begin + tile_, patches_);
    for (int64_t p = begin; p < end;) {
      const int64_t column = p % columns_, row = p / columns_ % rows_, image = p / columns_ / rows_;
      const int count = static_cast<int>(std::min(columns_ - column, end - p));
      t.segment[t.segments++] = {t.patches, count, image, row, column};
      for (int done = 0; done < count;) {
        const int left = count - done, groups = static_cast<int>(ceil_div(left, kGroup));
        const int n = static_cast<int>(ceil_div(left, groups));
        prepare_group(b, image, row, column + done, p + done, n, t, windows, stats);
        done += n;
      }
      p += count;
    }
    add_stats(stats);
  }

  void prepare_group(Buffers& b, int64_t image, int64_t row, int64_t column, int64_t patch, int n, Tile& t,
                     float*& windows, MergeStats& stats) {
    const size_t channels = static_cast<size_t>(g_.blocks_in) * kBlock;
    const int64_t pixels = args_.height * args_.width;
    HashArgs hash{};
    hash.geometry = &g_;
    hash.plan = plan_;
    hash.window_offset = conv_.window_offset.data();
    hash.image = {args_.x + image * g_.channels * pixels, conv_.params.x_layout == HASTE_BLOCKED,
                  static_cast<int>(args_.height), static_cast<int>(args_.width)};
    hash.top = static_cast<int>(row * g_.patch - conv_.params.pad_top);
    hash.left = static_cast<int>(column * g_.patch - conv_.params.pad_left);
    hash.patches = n;
    hash.strip = b.strip;
    hash.windows = b.windows;
    hash.projections = b.projections;
    hash.codes = b.codes;
    hash.nonzero = b.nonzero;
    hash.zero_code = b.zero_code;
    conv_.kernels->hash(hash);
    for (int i = 0; i < n; i++) {
      const uint32_t* codes = plan_ ? b.codes + static_cast<size_t>(i) * channels : nullptr;
      if (labels_) codes = labels_ + (patch + i) * g_.channels;
      if (codes_out_) {
        std::memcpy(codes_out_ + (patch + i) * g_.channels, b.codes + static_cast<size_t>(i) * channels,
                    static_cast<size_t>(g_.channels) * sizeof(uint32_t));
        continue;
      }
      PatchWork& work = t.work[t.patches++];
      work.merged_window = windows;
      MergeArgs merge{};
      merge.geometry = &g_;
      merge.merge = static_cast<Merge>(conv_.params.merge);
      merge.transform = g_.winograd && out_height_ - row * g_.patch > 1;
      merge.tau = args_.tau;
      merge.codes = codes;
      merge.zero_code = plan_ ? b.zero_code[i] : 0;
      merge.nonzero = b.nonzero + static_cast<ptrdiff_t>(i) * g_.blocks_in;
      merge.windows = b.windows + static_cast<size_t>(i) * g_.window_pitch();
      merge.scratch = &b.group;
      merge.work = &work;
      merge.stats = &stats;
      conv_.kernels->merge(merge);
      windows += static_cast<ptrdiff_t>(work.merged + work.singles) * g_.slot;
    }
  }

  // -- convolving
  // ------------------------------------------------------------------------------------------------------

  // Where one call of a convolve kernel finds its pixels: in the tensor if it is blocked, else in a staging strip.
  struct Plane {
    float* pixel;
    ptrdiff_t row, block;
  };

  size_t staging_size() const {
    return static_cast<size_t>(conv_.kernels->blocks_at_once) * static_cast<size_t>(g_.patch) *
           static_cast<size_t>(g_.patch) * static_cast<size_t>(tile_) * kBlock;
  }

  struct ConvolveBuffers {
    float *taps, *y, *z;
  };

  ConvolveBuffers cut_convolve(Cutter& cutter) const {
    ConvolveBuffers b{};
    b.taps = cutter.take<float>(static_cast<size_t>(kMaxBlocks * kBlock) * static_cast<size_t>(g_.taps()));
    b.y = cutter.take<float>(conv_.params.y_layout == HASTE_NCHW ? staging_size() : 0);
    b.z = cutter.take<float>(args_.z && conv_.params.z_layout == HASTE_NCHW ? staging_size() : 0);
    return b;
  }

  size_t convolve_bytes() const {
    Cutter counter(nullptr);
    cut_convolve(counter);
    return counter.used();
  }

  void convolve_tile(const Tile& t, int begin, int end, Cutter& cutter) {
    const ConvolveBuffers b = cut_convolve(cutter);
    const int step = g_.winograd ? 1 : conv_.kernels->blocks_at_once;
    int blocks = 0;
    for (int block = begin; block < end; block += blocks) {
      blocks = static_cast<int>(
          ceil_div(end - block, ceil_div(end - block, step)));  // four are two and two, not three and one
      const int next = block + blocks;
      // Beyond the end of this task too: whoever takes the next slice finds it in cache if it is on the same core.
      const int64_t lines =
          next < g_.blocks_out ? ceil_div(std::min(step, g_.blocks_out - next) * conv_.block_bytes, 64) : 0;
      for (int s = 0; s < t.segments; s++) {
        const Segment& segment = t.segment[s];
        if (b.z) stage_residual(segment, block, blocks, b.z);
        for (int i = 0; i < segment.count; i++) {
          const int patch = segment.first + i;
          ConvolveArgs a{};
          a.geometry = &g_;
          a.merge = static_cast<Merge>(conv_.params.merge);
          if (!plan_ && !labels_) a.merge = Merge::kMean;  // no bucket has two members: nothing to scale
          a.epilogue = &conv_.epilogue;
          a.work = &t.work[patch];
          a.weights = conv_.weights + block * conv_.block_bytes;
          a.weight_type = static_cast<WeightType>(conv_.params.weight_type);
          a.gain = gain_ + static_cast<ptrdiff_t>(block) * kBlock;
          a.bias = bias_ + static_cast<ptrdiff_t>(block) * kBlock;
          const Plane y = locate(args_.y, b.y, segment, i, block),
                      z = locate(const_cast<float*>(args_.z), b.z, segment, i, block);
          a.y = y.pixel, a.y_row = y.row, a.y_block = y.block;
          a.z = z.pixel, a.z_row = z.row, a.z_block = z.block;
          a.rows = static_cast<int>(std::min<int64_t>(g_.patch, out_height_ - segment.row * g_.patch));
          a.cols = static_cast<int>(std::min<int64_t>(g_.patch, out_width_ - (segment.column + i) * g_.patch));
          a.taps_scratch = b.taps;
          // Members are picked irregularly, which no hardware prefetcher follows: each patch draws its share of the
          // next block of weights into the second-level cache.
          const int64_t from = lines * patch / t.patches, to = lines * (patch + 1) / t.patches;
          a.prefetch = conv_.weights + next * conv_.block_bytes + from * 64;
          a.prefetch_lines = static_cast<int>(to - from);
          if (g_.winograd)
            conv_.kernels->convolve_winograd(a);
          else
            conv_.kernels->convolve_direct(a, blocks);
        }
        if (b.y) flush(segment, block, blocks, b.y);
      }
    }
  }

  Plane locate(float* tensor, float* staging, const Segment& s, int patch, int block) const {
    if (!tensor) return {nullptr, 0, 0};
    if (staging) {
      const ptrdiff_t row = static_cast<ptrdiff_t>(s.count) * g_.patch * kBlock;
      return {staging + static_cast<ptrdiff_t>(patch) * g_.patch * kBlock, row, row * g_.patch};
    }
    const ptrdiff_t row = out_width_ * kBlock, plane = out_height_ * row;
    float* image = tensor + (s.image * g_.blocks_out + block) * plane;
    return {image + s.row * g_.patch * row + (s.column + patch) * g_.patch * kBlock, row, plane};
  }

  // Calls body(staging row, planes, channels, pixels) for every row of pixels of a segment and every block.
  template <typename Body>
  void for_each_row(const Segment& s, int block, int blocks, const float* tensor, float* staging, Body body) const {
    const int64_t rows = std::min<int64_t>(g_.patch, out_height_ - s.row * g_.patch);
    const int64_t left = s.column * g_.patch,
                  width = std::min<int64_t>(static_cast<int64_t>(s.count) * g_.patch, out_width_ - left);
    const ptrdiff_t pixels = out_height_ * out_width_, row_size = static_cast<ptrdiff_t>(s.count) * g_.patch * kBlock;
    for (int o = 0; o < blocks; o++) {
      const int first = (block + o) * kBlock, channels = std::min(kBlock, g_.filters - first);
      for (int64_t r = 0; r < rows; r++) {
        const float* planes =
            tensor + (s.image * g_.filters + first) * pixels + (s.row * g_.patch + r) * out_width_ + left;
        body(staging + (o * g_.patch + r) * row_size, planes, channels, static_cast<int>(width), pixels);
      }
    }
  }

  void stage_residual(const Segment& s, int block, int blocks, float* staging) const {
    for_each_row(s, block, blocks, args_.z, staging,
                 [&](float* row, const float* planes, int channels, int width, ptrdiff_t plane) {
                   conv_.kernels->to_blocked(planes, plane, channels, width, row);
                 });
  }

  void flush(const Segment& s, int block, int blocks, float* staging) const {
    for_each_row(s, block, blocks, args_.y, staging,
                 [&](float* row, const float* planes, int channels, int width, ptrdiff_t plane) {
                   conv_.kernels->from_blocked(row, width, const_cast<float*>(planes), plane, channels);
                 });
  }

  // -- statistics
  // ------------------------------------------------------------------------------------------------------

  void add_stats(const MergeStats& s) {
    const int64_t values[] = {s.buckets,       s.merged_buckets, s.skipped_buckets,
                              s.zero_channels, s.members_read,   s.members_left};
    for (int i = 0; i < 6; i++) counters_[i].fetch_add(values[i], std::memory_order_relaxed);
  }

  void write_stats() const {
    args_.stats[0] = static_cast<float>(patches_);
    args_.stats[1] = static_cast<float>(patches_ * g_.channels);
    for (int i = 0; i < 6; i++) args_.stats[2 + i] = static_cast<float>(counters_[i].load());
  }

  const haste_conv& conv_;
  const Geometry& g_;
  const haste_conv_run_args& args_;
  const int64_t out_height_, out_width_, rows_, columns_, patches_;
  const HashPlan* plan_ = nullptr;
  const float* gain_ = conv_.unit_gain.data();
  const float* bias_ = conv_.bias.data();
  std::optional<Scratch> correction_;  // gain and bias of a corrected run, padded to whole blocks
  const uint32_t* labels_ = nullptr;
  uint32_t* codes_out_ = nullptr;
  int64_t tile_ = 0, tiles_ = 0;
  std::atomic<bool> out_of_memory_{false};
  std::atomic<int64_t> counters_[6] = {};
};

}  // namespace

haste_status run_conv(const haste_conv& conv, const haste_conv_run_args& args, const uint32_t* labels,
                      uint32_t* codes) {
  if (args.batch < 0) return fail(HASTE_INVALID_ARGUMENT, "batch %" PRId64 ": must not be negative", args.batch);
  if (args.hyperplanes > conv.params.max_hyperplanes)
    return fail(HASTE_INVALID_ARGUMENT, "L = %" PRId64 " hyperplanes asked for, but the model has %" PRId64,
                args.hyperplanes, conv.params.max_hyperplanes);
  int64_t out_height = 0, out_width = 0;
  if (const haste_status status = output_size(conv, args.height, args.width, &out_height, &out_width)) return status;
  if (args.batch > 0 && (!args.x || (!args.y && !codes))) return fail(HASTE_INVALID_ARGUMENT, "x and y must be given");
  if (codes && args.hyperplanes < 1) return fail(HASTE_INVALID_ARGUMENT, "dense mode has no codes");
  Run run(conv, args, out_height, out_width);
  if (labels) run.use_labels(labels);
  return codes ? run.codes(codes) : run.convolve();
}

}  // namespace haste
