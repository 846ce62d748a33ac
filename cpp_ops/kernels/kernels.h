// The table of kernels that every instruction set fills in: one source, compiled once per set, chosen at load time.
// Nothing in this header shows a vector type.
#pragma once

#include <cstddef>
#include <cstdint>

#include "geometry.h"

namespace haste {

// Two hyperplanes are projected side by side: with the patches of a strip that makes eight independent chains of
// additions, enough to hide their latency. The shorter one is filled up with additions of zero.
struct HashStep {
  int32_t offset[2];  // into the strip, in floats
  float sign[2];      // +1, -1; 0 on a filler, whose offset names a zero vector
};
struct HashPair {
  int bit[2];  // rows of V; the second is -1 when the number of hyperplanes is odd
  int steps;
};
struct HashPlan {
  int hyperplanes = 0;
  int pairs = 0;
  const HashPair* pair = nullptr;
  const HashStep* step = nullptr;  // of all pairs, one after the other
};

// One image [C,H,W] in either layout.
struct Image {
  const float* data;
  bool blocked;
  int height, width;
};

// A strip: up to kStripPatches patches side by side, and the pixels that they share.
struct HashArgs {
  const Geometry* geometry;
  const HashPlan* plan;  // nullptr: dense, windows only
  const int32_t*
      window_offset;  // [slot] offset of each window element in the strip; elements past the window point at zeros
  Image image;
  int top, left;  // of the first window, in image coordinates: negative inside the padding
  int patches;
  float* strip;         // geometry->strip_size(), zero beyond the pixels
  float* windows;       // [patches][window_pitch]: per patch [C rounded up to 16][slot]
  float* projections;   // [patches][L][C rounded up]
  uint32_t* codes;      // [patches][C rounded up]
  uint16_t* nonzero;    // [patches][blocks_in]: a bit per channel whose window is not all zero
  uint32_t* zero_code;  // [patches]: the code of an all-zero window
};

// What is left of a patch to convolve. Buckets of one channel come apart from merged ones: they need no merge.
struct PatchWork {
  int singles, merged;
  int32_t* single_channel;  // [singles]
  int slot;                 // floats from bucket to bucket
  float* single_window;     // [singles][slot], right behind merged_window
  int32_t* first;           // [merged + 1] into member and coefficient; merged buckets are ordered by size
  int32_t* member;          // channels
  float* coefficient;       // a_i (all but mean)
  float* merged_window;     // [merged][slot]
};

enum class Merge { kScaled, kMean, kNorm };

// Counters of docs/operator.md, "Statistics", for one or more patches.
struct MergeStats {
  int64_t buckets = 0, merged_buckets = 0, skipped_buckets = 0, zero_channels = 0, members_read = 0, members_left = 0;
};

struct GroupScratch {
  uint64_t* table;  // [table_mask + 1], key and bucket in one word; stale entries are told by their epoch
  uint32_t table_mask;
  uint32_t epoch;    // 1 .. 65535
  int32_t* bucket;   // [C] bucket of each kept channel
  int32_t* rank;     // [C] its place in that bucket
  int32_t* channel;  // [C] kept channels
  uint32_t* code;    // [C] their codes
  int32_t* count;    // [C + 1] members per bucket
  int32_t* place;    // [C + 1] where the members of a bucket begin
  int32_t* order;    // [C + 1] buckets by size
  int32_t* member;   // [C] members of merged buckets before members leave
};

struct MergeArgs {
  const Geometry* geometry;
  Merge merge;
  int rows, cols;         // output pixels of the patch that exist
  bool transform;         // windows, for F(n,3); false for patches of one row at patch 3 and for other kernels
  float tau;              // <= 0: unbounded
  const uint32_t* codes;  // nullptr: dense, every channel alone
  uint32_t zero_code;
  const uint16_t* nonzero;
  const float* windows;  // of this patch
  GroupScratch* scratch;
  PatchWork* work;
  MergeStats* stats;  // added to
};

enum class Activation { kIdentity, kRelu, kLeakyRelu, kClip, kHardSwish, kSilu, kSigmoid };

struct Epilogue {
  Activation activation;
  float params[2];
};

enum class WeightType { kFloat32, kFloat16 };

// Computes one patch for one or more blocks of 16 output channels.
constexpr int kMaxBlocks = 3;
struct ConvolveArgs {
  const Geometry* geometry;
  Merge merge;
  const Epilogue* epilogue;
  const PatchWork* work;
  const void* weights;  // packed, of the first block: [C][taps][16]
  WeightType weight_type;
  const float* gain;           // [blocks * 16], of the convolution before the bias is added
  const float* bias;           // [blocks * 16]
  float* y;                    // first pixel of the patch, 16 channels per pixel
  const float* z;              // residual at the same place, or nullptr
  ptrdiff_t y_row, z_row;      // floats between rows
  ptrdiff_t y_block, z_block;  // floats between blocks
  int rows, cols;              // output pixels of the patch that exist
  float* taps_scratch;         // [kMaxBlocks * taps][16], aligned: merged filters of one bucket, L1-resident
  bool cold;                   // these weights have not been drawn into L2 before
  const char* prefetch;        // to be drawn into L2 meanwhile: weights or windows to come
  int prefetch_lines;
};

struct PoolArgs {
  bool is_max, count_include_pad;
  int kernel_h, kernel_w, stride_h, stride_w, pad_top, pad_left, pad_bottom, pad_right;
  int height, width, out_height, out_width;
  const float* x;  // one block [H][W][16]
  float* y;        // one block [H'][W'][16]
};

struct Kernels {
  const char* isa;
  int lanes;           // floats in a vector
  int blocks_at_once;  // output blocks per call of convolve_direct
  void (*hash)(const HashArgs&);
  void (*merge)(const MergeArgs&);
  void (*convolve_columns)(const ConvolveArgs&);             // 3x3, patch 3, one block; of one row: plain windows
  void (*convolve_nested)(const ConvolveArgs&);              // 3x3, patch 4 to 7, one block
  void (*convolve_direct)(const ConvolveArgs&, int blocks);  // any kernel, any patch
  void (*pool)(const PoolArgs&);
  // Rows of `width` pixels: blocked [width][16] from/to `channels` <= 16 planes that lie `plane` floats apart.
  void (*to_blocked)(const float* planes, ptrdiff_t plane, int channels, int width, float* blocked);
  void (*from_blocked)(const float* blocked, int width, float* planes, ptrdiff_t plane, int channels);
  int64_t (*multiply_adds)(int rounds);  // for benchmarks: runs nothing else, returns the operations done
};

}  // namespace haste
