#include "convolution.h"

#include <algorithm>

namespace haste {
namespace {

constexpr int kFewPatches = 4;

}  // namespace

Convolution::Convolution(const LayerRun& run, int patches, Cutter& cutter) : run_(run) {
  const Geometry& g = run.g;
  const size_t staging = static_cast<size_t>(blocks_per_call(run.conv)) * static_cast<size_t>(g.patch) *
                         static_cast<size_t>(g.patch) * static_cast<size_t>(patches) * kBlock;
  taps_ = cutter.take<float>(static_cast<size_t>(kMaxBlocks * kBlock) * static_cast<size_t>(g.taps()));
  y_ = cutter.take<float>(run.conv.params.y_layout == HASTE_NCHW ? staging : 0);
  z_ = cutter.take<float>(run.args.z && run.conv.params.z_layout == HASTE_NCHW ? staging : 0);
}

void convolve_patch(const haste_conv& conv, const ConvolveArgs& args, int blocks) {
  switch (conv.geometry.form) {
    case Form::kDirect:
      conv.kernels->convolve_direct(args, blocks);
      break;
    case Form::kColumns:
      conv.kernels->convolve_columns(args);
      break;
    case Form::kNested:
      conv.kernels->convolve_nested(args);
      break;
  }
}

int blocks_per_call(const haste_conv& conv) {
  return conv.geometry.form == Form::kDirect ? conv.kernels->blocks_at_once : 1;
}

size_t convolution_bytes(const LayerRun& run, int patches) {
  Cutter counter(nullptr);
  Convolution(run, patches, counter);
  return counter.used();
}

Lines Convolution::weights(int block) const {
  const int blocks = std::min(blocks_per_call(run_.conv), run_.g.blocks_out - block);
  if (blocks <= 0) return {};
  return {run_.conv.weights + block * run_.conv.block_bytes, ceil_div(blocks * run_.conv.block_bytes, 64)};
}

Lines Convolution::windows(const PatchWork& work) const {
  const int64_t floats = static_cast<int64_t>(work.merged + work.singles) * work.slot;
  return {reinterpret_cast<const char*>(work.merged_window), ceil_div(floats * 4, 64)};
}

void Convolution::by_blocks(const Chunk& chunk, bool draw) const {
  const Geometry& g = run_.g;
  const int step = blocks_per_call(run_.conv), end = g.blocks_out;
  int blocks = 0;
  bool back = false;
  for (int block = 0; block < end; block += blocks) {
    blocks = static_cast<int>(ceil_div(end - block, ceil_div(end - block, step)));  // four are two and two
    // Few patches have no time to draw another block: the first one then draws its own as it goes (ConvolveArgs::cold).
    const bool nested = g.form == Form::kNested, own = nested && chunk.patches <= kFewPatches;
    const bool cold = draw && (own || (nested && block == 0));
    const Lines next = draw && !own ? weights(block + blocks) : Lines{};
    back = !back;  // those prepared last come first
    for (int s = 0; s < chunk.segments; s++) {
      const Segment& segment = chunk.segment[back ? chunk.segments - 1 - s : s];
      if (z_) stage_residual(segment, block, blocks);
      for (int i = 0; i < segment.count; i++) {
        const int patch = back ? segment.count - 1 - i : i, index = segment.first + patch;
        convolve(chunk, segment, patch, block, blocks, cold && s == 0 && i == 0, next.part(index, chunk.patches));
      }
      if (y_) flush(segment, block, blocks);
    }
  }
}

void Convolution::by_patch(const Chunk& chunk, int patch, const Pass& pass) const {
  const Segment& all = chunk.segment[0];
  const Segment segment{patch, 1, all.image, all.row, all.column + patch};
  const int count = pass.end - pass.begin, calls = static_cast<int>(ceil_div(count, blocks_per_call(run_.conv)));
  const bool nested = run_.g.form == Form::kNested;
  for (int i = 0; i < calls; i++) {
    const int call = pass.back ? calls - 1 - i : i, block = pass.begin + count * call / calls,
              blocks = pass.begin + count * (call + 1) / calls - block;
    // The last call draws weights, those before windows. A single one has weights to draw all the time.
    Lines next = i + 1 < calls ? pass.next[0].part(i, calls - 1) : pass.next[1];
    if (pass.first && !nested && call + 1 < calls) next = weights(block + blocks);
    if (z_) stage_residual(segment, block, blocks);
    convolve(chunk, segment, 0, block, blocks, pass.first && nested, next);
    if (y_) flush(segment, block, blocks);
  }
}

// One patch of a segment, which draws some of what comes next.
void Convolution::convolve(const Chunk& chunk, const Segment& segment, int patch, int block, int blocks, bool cold,
                           Lines next) const {
  const haste_conv& conv = run_.conv;
  const Geometry& g = run_.g;
  const int index = segment.first + patch;
  ConvolveArgs a{};
  a.geometry = &g;
  a.merge = static_cast<Merge>(conv.params.merge);
  if (!run_.grouped()) a.merge = Merge::kMean;  // no bucket has two members: nothing to scale
  a.epilogue = &conv.epilogue;
  a.work = &chunk.work[index];
  a.weights = conv.weights + block * conv.block_bytes;
  a.weight_type = static_cast<WeightType>(conv.params.weight_type);
  a.gain = run_.gain + static_cast<ptrdiff_t>(block) * kBlock;
  a.bias = run_.bias + static_cast<ptrdiff_t>(block) * kBlock;
  const Plane y = locate(run_.args.y, y_, segment, patch, block),
              z = locate(const_cast<float*>(run_.args.z), z_, segment, patch, block);
  a.y = y.pixel, a.y_row = y.row, a.y_block = y.block;
  a.z = z.pixel, a.z_row = z.row, a.z_block = z.block;
  a.rows = static_cast<int>(std::min<int64_t>(g.patch, run_.out_height - segment.row * g.patch));
  a.cols = static_cast<int>(std::min<int64_t>(g.patch, run_.out_width - (segment.column + patch) * g.patch));
  a.taps_scratch = taps_;
  a.cold = cold;
  a.prefetch = next.at;
  a.prefetch_lines = static_cast<int>(next.count);
  convolve_patch(conv, a, blocks);
}

Convolution::Plane Convolution::locate(float* tensor, float* staging, const Segment& segment, int patch,
                                       int block) const {
  if (!tensor) return {nullptr, 0, 0};
  const Geometry& g = run_.g;
  if (staging) {
    const ptrdiff_t row = static_cast<ptrdiff_t>(segment.count) * g.patch * kBlock;
    return {staging + static_cast<ptrdiff_t>(patch) * g.patch * kBlock, row, row * g.patch};
  }
  const ptrdiff_t row = run_.out_width * kBlock, plane = run_.out_height * row;
  float* image = tensor + (segment.image * g.blocks_out + block) * plane;
  return {image + segment.row * g.patch * row + (segment.column + patch) * g.patch * kBlock, row, plane};
}

// Calls body(staging row, planes, channels, pixels, plane size) for every row of pixels of a segment and every block.
template <typename Body>
void Convolution::for_each_row(const Segment& segment, int block, int blocks, const float* tensor, float* staging,
                               Body body) const {
  const Geometry& g = run_.g;
  const int64_t top = segment.row * g.patch, left = segment.column * g.patch;
  const int64_t rows = std::min<int64_t>(g.patch, run_.out_height - top),
                width = std::min<int64_t>(static_cast<int64_t>(segment.count) * g.patch, run_.out_width - left);
  const ptrdiff_t plane = run_.out_height * run_.out_width,
                  row_size = static_cast<ptrdiff_t>(segment.count) * g.patch * kBlock;
  for (int o = 0; o < blocks; o++) {
    const int first = (block + o) * kBlock, channels = std::min(kBlock, g.filters - first);
    for (int64_t r = 0; r < rows; r++) {
      const float* planes = tensor + (segment.image * g.filters + first) * plane + (top + r) * run_.out_width + left;
      body(staging + (o * g.patch + r) * row_size, planes, channels, static_cast<int>(width), plane);
    }
  }
}

void Convolution::stage_residual(const Segment& segment, int block, int blocks) const {
  for_each_row(segment, block, blocks, run_.args.z, z_,
               [&](float* row, const float* planes, int channels, int width, ptrdiff_t plane) {
                 run_.conv.kernels->to_blocked(planes, plane, channels, width, row);
               });
}

void Convolution::flush(const Segment& segment, int block, int blocks) const {
  for_each_row(segment, block, blocks, run_.args.y, y_,
               [&](float* row, const float* planes, int channels, int width, ptrdiff_t plane) {
                 run_.conv.kernels->from_blocked(row, width, const_cast<float*>(planes), plane, channels);
               });
}

}  // namespace haste
