#include "preparation.h"

#include <algorithm>
#include <cstring>

namespace haste {

Preparation::Preparation(const LayerRun& run, Cutter& cutter) : run_(run) {
  const Geometry& g = run.g;
  const size_t channels = static_cast<size_t>(g.blocks_in) * kBlock;
  strip_ = cutter.take<float>(g.strip_size());
  windows_ = cutter.take<float>(g.window_pitch() * kStripPatches);
  projections_ =
      cutter.take<float>(run.plan ? channels * static_cast<size_t>(run.plan->hyperplanes) * kStripPatches : 0);
  codes_ = cutter.take<uint32_t>(channels * kStripPatches);
  zero_code_ = cutter.take<uint32_t>(kStripPatches);
  nonzero_ = cutter.take<uint16_t>(static_cast<size_t>(g.blocks_in) * kStripPatches);
  size_t slots = 1024;
  while (slots < channels * 8 && slots < 4096) slots *= 2;
  while (slots < channels * 2) slots *= 2;
  scratch_.table = cutter.take<uint64_t>(slots);
  scratch_.code = cutter.take<uint32_t>(channels + kBlock);
  scratch_.table_mask = static_cast<uint32_t>(slots - 1);
  for (int32_t** list : {&scratch_.bucket, &scratch_.rank, &scratch_.channel, &scratch_.count, &scratch_.place,
                         &scratch_.order, &scratch_.member})
    *list = cutter.take<int32_t>(channels + kBlock);
  if (!strip_) return;
  // The pool's memory held other things before: the table must not mistake them for entries, and what lies behind the
  // strip must be zero.
  std::memset(scratch_.table, 0, slots * sizeof(uint64_t));
  const size_t pixels = static_cast<size_t>(g.window_h) * static_cast<size_t>(g.strip_w) * kBlock;
  std::memset(strip_ + pixels, 0, (g.strip_size() - pixels) * sizeof(float));
}

size_t preparation_bytes(const LayerRun& run) {
  Cutter counter(nullptr);
  Preparation(run, counter);
  return counter.used();
}

int64_t Queue::strips() const {
  const int64_t bands = ceil_div(columns_, width_), last = columns_ - (bands - 1) * width_;
  return rows_ * ((bands - 1) * ceil_div(width_, strip_patches_) + ceil_div(last, strip_patches_));
}

int Queue::take(int64_t most, int64_t& first) {
  int64_t next = next_.load(std::memory_order_relaxed), count = 0;
  do {
    if (next >= rows_ * columns_) return 0;
    const int64_t band = next / (rows_ * width_), inside = next % (rows_ * width_);
    const int64_t width = std::min(width_, columns_ - band * width_), column = inside % width;
    const int64_t row = std::min(width - column, most);
    if (row <= 0) return 0;
    count = ceil_div(row, ceil_div(row, strip_patches_));  // of strips of four, five are three and two
    first = begin_ + inside / width * columns_ + band * width_ + column;
  } while (!next_.compare_exchange_weak(next, next + count, std::memory_order_relaxed));
  return static_cast<int>(count);
}

void Preparation::fill(Queue& queue, const ChunkLimits& limits, Chunk& chunk) {
  chunk.clear();
  while (chunk.patches < limits.patches && chunk.floats < limits.floats)
    if (!add_strip(queue, limits.patches - chunk.patches, chunk)) break;
}

void Preparation::fill(Queue& queue, Chunk& chunk) {
  chunk.clear();
  add_strip(queue, run_.columns, chunk);
}

namespace {

bool adjoins(const Segment& left, const Segment& right) {
  return left.image == right.image && left.row == right.row && left.column + left.count == right.column;
}

}  // namespace

bool Preparation::add_strip(Queue& queue, int64_t most, Chunk& chunk) {
  int64_t first = 0;
  const int count = queue.take(most, first);
  if (count == 0) return false;
  const int64_t column = first % run_.columns, row = first / run_.columns % run_.rows,
                image = first / run_.columns / run_.rows;
  const Segment next{chunk.patches, 0, image, row, column};
  if (chunk.segments == 0 || !adjoins(chunk.segment[chunk.segments - 1], next)) chunk.segment[chunk.segments++] = next;
  chunk.segment[chunk.segments - 1].count += count;
  prepare_strip(image, row, column, first, count, chunk);
  return true;
}

void Preparation::prepare_strip(int64_t image, int64_t row, int64_t column, int64_t patch, int count, Chunk& chunk) {
  const Geometry& g = run_.g;
  const haste_conv& conv = run_.conv;
  const haste_conv_run_args& args = run_.args;
  const size_t channels = static_cast<size_t>(g.blocks_in) * kBlock;
  HashArgs hash{};
  hash.geometry = &g;
  hash.plan = run_.plan;
  hash.window_offset = conv.window_offset.data();
  hash.image = {args.x + image * g.channels * args.height * args.width, conv.params.x_layout == HASTE_BLOCKED,
                static_cast<int>(args.height), static_cast<int>(args.width)};
  hash.top = static_cast<int>(row * g.patch - conv.params.pad_top);
  hash.left = static_cast<int>(column * g.patch - conv.params.pad_left);
  hash.patches = count;
  hash.strip = strip_;
  hash.windows = windows_;
  hash.projections = projections_;
  hash.codes = codes_;
  hash.nonzero = nonzero_;
  hash.zero_code = zero_code_;
  conv.kernels->hash(hash);
  for (int i = 0; i < count; i++) {
    const uint32_t* codes = run_.plan ? codes_ + static_cast<size_t>(i) * channels : nullptr;
    if (run_.labels) codes = run_.labels + (patch + i) * g.channels;
    if (run_.codes_out) {
      std::memcpy(run_.codes_out + (patch + i) * g.channels, codes, static_cast<size_t>(g.channels) * sizeof(uint32_t));
      chunk.patches++;
      continue;
    }
    PatchWork& work = chunk.work[chunk.patches++];
    MergeArgs merge{};
    merge.geometry = &g;
    merge.rows = static_cast<int>(std::min<int64_t>(g.patch, run_.out_height - row * g.patch));
    merge.cols = static_cast<int>(std::min<int64_t>(g.patch, run_.out_width - (column + i) * g.patch));
    work.slot = g.bucket_slot_of(merge.rows, merge.cols);
    work.merged_window = chunk.windows + chunk.floats;
    merge.merge = static_cast<Merge>(conv.params.merge);
    merge.transform = g.form == Form::kNested || (g.form == Form::kColumns && merge.rows > 1);
    merge.tau = args.tau;
    merge.codes = codes;
    merge.zero_code = run_.plan ? zero_code_[i] : 0;
    merge.nonzero = nonzero_ + static_cast<ptrdiff_t>(i) * g.blocks_in;
    merge.windows = windows_ + static_cast<size_t>(i) * g.window_pitch();
    merge.scratch = &scratch_;
    merge.work = &work;
    merge.stats = &stats_;
    conv.kernels->merge(merge);
    chunk.floats += static_cast<size_t>(work.merged + work.singles) * static_cast<size_t>(work.slot);
  }
}

}  // namespace haste
