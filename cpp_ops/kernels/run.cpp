// The run of a layer: patches are prepared in chunks, and chunks convolved.
//
// By chunks: threads take patches from a queue until their chunk is full, and convolve it with all weights. By slices:
// preparing and convolving are two rounds of tasks, and the second is cut along the output channels. schedule.h says
// which moves less; small maps go by slices too, so that all threads find work.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <optional>

#include "cache_size.h"
#include "check.h"
#include "convolution.h"
#include "error.h"
#include "parallel.h"
#include "preparation.h"
#include "schedule.h"

namespace haste {
namespace {

constexpr int64_t kMaxTasks = 64;  // tasks that take work from a queue: threads beyond these find none

class Run {
 public:
  Run(const haste_conv& conv, const haste_conv_run_args& args, int64_t out_height, int64_t out_width,
      const uint32_t* labels, uint32_t* codes)
      : run_(layer_run(conv, args, out_height, out_width, labels)) {
    run_.codes_out = codes;
    if (run_.grouped() && args.correction) use_correction();
  }

  haste_status codes() {
    by_chunks([](const Chunk&, const Convolution&, bool) {});
    return result();
  }

  haste_status convolve() {
    if (out_of_memory_.load()) return result();  // for the correction
    const Slices plan = slices(run_, threads());
    for (int64_t begin = 0; plan.blocks && begin < run_.patches && !unfinished_.load(); begin += plan.patches)
      by_slices(begin, std::min(begin + plan.patches, run_.patches), plan.blocks);
    if (!plan.blocks)
      by_chunks([this](const Chunk& chunk, const Convolution& convolution, bool drawn) {
        convolution.by_blocks(chunk, !drawn);
      });
    if (run_.args.stats) write_stats();
    return result();
  }

 private:
  void use_correction() {
    const size_t filters = static_cast<size_t>(run_.g.filters),
                 padded = static_cast<size_t>(run_.g.blocks_out) * kBlock;
    const Scratch& scratch = correction_.emplace(2 * padded * sizeof(float));
    if (!alive(scratch)) return;
    float *gain = reinterpret_cast<float*>(scratch.data()), *bias = gain + padded;
    std::memset(gain, 0, 2 * padded * sizeof(float));
    std::memcpy(gain, run_.args.correction, filters * sizeof(float));
    std::memcpy(bias, run_.args.correction + filters, filters * sizeof(float));
    run_.gain = gain, run_.bias = bias;
  }

  bool alive(const Scratch& scratch) {
    if (!scratch.data()) out_of_memory_.store(true, std::memory_order_relaxed);
    return scratch.data() != nullptr;
  }

  haste_status result() const {
    if (out_of_memory_.load()) return fail(HASTE_OUT_OF_MEMORY, "no memory for the scratch of a run");
    return unfinished_ ? fail_unfinished() : HASTE_OK;
  }

  template <typename Body>
  bool for_each(int64_t count, Body body) {
    return haste::for_each(run_.args.parallel_for, run_.args.pool, count, body);
  }

  // How many threads a pool has shows only while they work: counted is how many were seen, in this run and before.
  class Working {
   public:
    explicit Working(Run& owner) : owner_(owner) {
      const int now = owner_.working_.fetch_add(1, std::memory_order_relaxed) + 1;
      std::atomic<int>& most = owner_.run_.conv.threads;
      if (now > most.load(std::memory_order_relaxed)) most.store(now, std::memory_order_relaxed);
    }
    ~Working() { owner_.working_.fetch_sub(1, std::memory_order_relaxed); }
    Working(const Working&) = delete;
    Working& operator=(const Working&) = delete;

   private:
    Run& owner_;
  };

  int threads() const { return run_.conv.threads.load(std::memory_order_relaxed); }

  // Patches that are prepared together: neighbours share pixels, but no thread should be left without any.
  int64_t strip_patches() const { return std::min<int64_t>(kStripPatches, ceil_div(run_.patches, threads())); }

  // -- by chunks -------------------------------------------------------------------------------------------------

  // What the next chunk of a task may hold: what the cache allows, but no more than a fair share of what is left.
  // `room` is what there is memory for.
  ChunkLimits next_limits(const ChunkLimits& room, const Queue& queue, int64_t prepared, size_t floats) const {
    const int64_t working = working_.load(std::memory_order_relaxed);
    const int seen = threads();
    ChunkLimits limits = chunk_limits(run_, std::min(seen, l2_cache_cores()));
    const int64_t left = queue.left();
    const int64_t fair = std::min(ceil_div(run_.patches, seen), ceil_div(left, working));
    limits.patches = static_cast<int>(
        std::max<int64_t>(std::min<int64_t>(fair, limits.patches), std::min<int64_t>(strip_patches(), limits.patches)));
    limits.patches = std::min(limits.patches, room.patches);
    limits.floats = std::min(limits.floats, room.floats);
    if (prepared) {  // then it is known how much a patch leaves: equal chunks rather than a small last one
      const double each = static_cast<double>(floats) / static_cast<double>(prepared);
      const double all = each * static_cast<double>(std::max<int64_t>(left / working, 1));
      const double chunks = std::ceil(all / static_cast<double>(limits.floats));
      if (chunks > 1) limits.floats = static_cast<size_t>(all / chunks) + 1;
    }
    return limits;
  }

  template <typename Body>
  void by_chunks(Body body) {
    const int64_t tasks = run_.args.parallel_for ? std::min(run_.patches, kMaxTasks) : 1;
    // Room for the largest chunk that any number of threads may lead to: runs then need the same memory every time.
    ChunkLimits room = chunk_limits(run_, 1);
    const ChunkLimits shared = chunk_limits(run_, l2_cache_cores());
    room.patches = static_cast<int>(std::min<int64_t>(std::max(room.patches, shared.patches), run_.patches));
    room.floats = std::max(room.floats, shared.floats);
    const size_t bytes = chunk_bytes(run_.g, room) + preparation_bytes(run_) + convolution_bytes(run_, room.patches);
    Queue queue(run_, chunk_columns(run_), kStripPatches, 0, run_.patches);
    std::atomic<bool> short_of_memory{false};
    for_each(tasks, [&](int64_t) {
      // Before the queue is looked at: a thread that comes too late shows for the next run.
      const Working working(*this);
      if (queue.left() <= 0) return;
      const Scratch scratch(bytes);
      if (!scratch.data()) {
        short_of_memory.store(true, std::memory_order_relaxed);  // others may do it
        return;
      }
      Cutter cutter(scratch.data());
      Chunk chunk = cut_chunk(run_.g, room, cutter);
      Preparation preparation(run_, cutter);
      const Convolution convolution(run_, room.patches, cutter);
      int64_t prepared = 0;
      size_t floats = 0;
      while (queue.left() > 0) {
        const ChunkLimits limits = next_limits(room, queue, prepared, floats);
        const bool drawn = limits.stay && prepared > 0;  // all weights are in the cache already
        preparation.fill(queue, limits, chunk);
        prepared += chunk.patches, floats += chunk.floats;
        body(chunk, convolution, drawn);
      }
      add_stats(preparation.stats());
    });
    if (queue.left() > 0) (short_of_memory.load() ? out_of_memory_ : unfinished_).store(true);
  }

  // -- by slices -------------------------------------------------------------------------------------------------

  // A patch of a chunk.
  struct Place {
    const Chunk* chunk;
    int patch;
  };

  // What the two rounds hand over: one chunk for each strip, and the patches in their order.
  struct Prepared {
    Chunk* chunk;
    int64_t chunks;
    Place* place;
    int64_t patches;
  };

  void by_slices(int64_t begin, int64_t end, int blocks) {
    Queue queue(run_, slice_columns(run_), strip_patches(), begin, end);
    const ChunkLimits limits{static_cast<int>(std::min<int64_t>(strip_patches(), run_.columns)), SIZE_MAX / 8, false};
    const auto chunks = static_cast<size_t>(queue.strips()), patches = static_cast<size_t>(end - begin);
    const Scratch shared(chunks * (chunk_bytes(run_.g, limits) + sizeof(Chunk)) + patches * sizeof(Place) + 128);
    if (!alive(shared)) return;
    Cutter cutter(shared.data());
    const Prepared all{cutter.take<Chunk>(chunks), queue.strips(), cutter.take<Place>(patches), end - begin};
    for (int64_t i = 0; i < all.chunks; i++) all.chunk[i] = cut_chunk(run_.g, limits, cutter);
    prepare_chunks(queue, all);
    if (out_of_memory_.load() || unfinished_.load()) return;
    for (int64_t i = 0, at = 0; i < all.chunks; i++)
      for (int p = 0; p < all.chunk[i].patches; p++) all.place[at++] = {&all.chunk[i], p};
    convolve_slices(all, limits.patches, blocks);
  }

  void prepare_chunks(Queue& queue, const Prepared& all) {
    std::atomic<int64_t> next{0};
    const bool ran = for_each(std::min(all.chunks, kMaxTasks), [&](int64_t) {
      if (next.load(std::memory_order_relaxed) >= all.chunks) return;
      const Scratch scratch(preparation_bytes(run_));
      if (!alive(scratch)) return;
      const Working working(*this);
      Cutter own(scratch.data());
      Preparation preparation(run_, own);
      for (int64_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < all.chunks;)
        preparation.fill(queue, all.chunk[i]);
      add_stats(preparation.stats());
    });
    if (!ran) unfinished_.store(true);
  }

  // Into how many parts the patches are cut for each slice. Threads that share a cache share the slice in it: they come
  // to it together, each with a part of the patches. Others do so if slices alone would not give each a few things to
  // do, and all about the same.
  int64_t parts_of(int64_t slices, int64_t patches) const {
    const int64_t workers = threads();
    const auto uneven = [&](int64_t tasks) {
      // Fewer than four each, or the last round leaves more than an eighth of the time unused.
      return workers > 1 && (tasks < 4 * workers || ceil_div(tasks, workers) * workers * 7 > tasks * 8);
    };
    int64_t parts = std::min<int64_t>(std::min<int64_t>(workers, l2_cache_cores()), patches);
    while (parts < patches && uneven(slices * parts)) parts++;
    return parts;
  }

  void convolve_slices(const Prepared& all, int chunk_patches, int blocks) {
    const int64_t slices = ceil_div(run_.g.blocks_out, blocks), parts = parts_of(slices, all.patches);
    const bool ran = for_each(slices * parts, [&](int64_t task) {
      const Scratch scratch(convolution_bytes(run_, chunk_patches));
      if (!alive(scratch)) return;
      Cutter own(scratch.data());
      const Convolution convolution(run_, chunk_patches, own);
      const int64_t slice = task / parts, part = task % parts;
      const int from = static_cast<int>(slice) * blocks, to = std::min(from + blocks, run_.g.blocks_out);
      const int64_t first = all.patches * part / parts, count = all.patches * (part + 1) / parts - first;
      // What was used last comes first, of patches as of blocks. The next slice's first block is drawn by all patches
      // if one block is all that stays, else by the last quarter: whoever takes that slice finds it if it is on the
      // same core.
      const auto at = [&](int64_t i) { return all.place[slice % 2 ? first + i : first + count - 1 - i]; };
      const int64_t drawing = blocks > blocks_per_call(run_.conv) ? ceil_div(count, 4) : count;
      for (int64_t i = 0; i < count; i++) {
        Pass pass{from, to, i % 2 != 0, i == 0, {}};
        if (i + 1 < count) pass.next[0] = convolution.windows(at(i + 1).chunk->work[at(i + 1).patch]);
        if (const int64_t drawn = i - (count - drawing); drawn >= 0)
          pass.next[1] = convolution.weights(to).part(drawn, drawing);
        convolution.by_patch(*at(i).chunk, at(i).patch, pass);
      }
    });
    if (!ran) unfinished_.store(true);
  }

  // -- statistics ------------------------------------------------------------------------------------------------

  void add_stats(const MergeStats& s) {
    const int64_t values[] = {s.buckets,       s.merged_buckets, s.skipped_buckets,
                              s.zero_channels, s.members_read,   s.members_left};
    for (int i = 0; i < 6; i++) counters_[i].fetch_add(values[i], std::memory_order_relaxed);
  }

  void write_stats() const {
    run_.args.stats[0] = static_cast<float>(run_.patches);
    run_.args.stats[1] = static_cast<float>(run_.patches * run_.g.channels);
    for (int i = 0; i < 6; i++) run_.args.stats[2 + i] = static_cast<float>(counters_[i].load());
  }

  LayerRun run_;
  std::optional<Scratch> correction_;  // gain and bias of a corrected run, padded to whole blocks
  std::atomic<int> working_{0};        // tasks
  std::atomic<bool> out_of_memory_{false}, unfinished_{false};
  std::atomic<int64_t> counters_[6] = {};
};

}  // namespace

haste_status run_conv(const haste_conv& conv, const haste_conv_run_args& args, const uint32_t* labels,
                      uint32_t* codes) {
  if (const haste_status status = check_run(conv.params, args.batch, args.hyperplanes)) return status;
  int64_t out_height = 0, out_width = 0;
  if (const haste_status status = output_size(conv, args.height, args.width, &out_height, &out_width)) return status;
  if (args.batch > 0 && (!args.x || (!args.y && !codes))) return fail(HASTE_INVALID_ARGUMENT, "x and y must be given");
  if (codes && args.hyperplanes < 1) return fail(HASTE_INVALID_ARGUMENT, "dense mode has no codes");
  Run run(conv, args, out_height, out_width, labels, codes);
  return codes ? run.codes() : run.convolve();
}

}  // namespace haste
