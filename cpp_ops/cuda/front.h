// The first of the two kernels: for each patch gather the channels' windows, hash them, group channels of equal code,
// merge their windows, and write lists and merged windows for the second (convolve.h).
//
// A block works on a few patches at once, a team of `lanes` threads on each. All state lies in the regions of
// FrontPlan.
#pragma once

#include "device.h"
#include "plan.h"
#include "tensor.h"

namespace haste::cuda {

struct alignas(8) Member {
  int channel;
  float coefficient;
};

struct alignas(8) PatchHeader {
  int singles;  // buckets [0, singles) have one member each: member i belongs to bucket i
  int buckets;  // bucket b >= singles has members first[b - singles] .. first[b - singles + 1]
};

enum class Grouping { kHash, kLabels, kDense };

struct FrontArgs {
  LayerPlan layer;
  FrontPlan plan;
  TensorView x_view;
  const void* x;
  int pad_top, pad_left;
  int64_t grid_h, grid_w;
  int64_t first_patch, end_patch;  // of this launch, counted over the batch
  Grouping grouping;
  const uint32_t* labels;  // [patches][C], for Grouping::kLabels
  int hyperplanes;
  const uint32_t* entries;   // of a hyperplane, ascending: index into the window, top bit set for -1
  const int* entries_begin;  // [hyperplanes + 1]
  haste_merge merge;
  float tau;
  uint32_t* codes;               // not null: write codes [patches][C] and stop there
  unsigned long long* counters;  // [8] or null
  // Of patch first_patch + i at index i.
  PatchHeader* headers;
  Member* members;  // [C]
  int* first;       // [C/2 + 2]
  float* windows;   // [C][merged_pitch]
  int first_pitch;
  unsigned char* slots;

  // Whether members have coefficients; those of `mean` are all one.
  HASTE_DEVICE bool weighted() const { return merge != HASTE_MERGE_MEAN; }
};

// Sums of one patch while it is in work.
struct PatchTotals {
  int statistics[HASTE_STATS];
  float energy_partial[16];
  float energy;
};
static_assert(sizeof(PatchTotals) <= 128, "kTotalsBytes of plan.cpp");

// A window in memory where channels, or buckets, lie side by side: lanes that each go through a window of their own
// then read neighbouring addresses.
struct Window {
  const float* at;
  int step;  // floats between pixels

  HASTE_DEVICE float operator[](int q) const { return at[static_cast<int64_t>(q) * step]; }
};

// Of a position: alone in its bucket from the start, a member of one that is not alone, and a member that left. What is
// zero contributes nothing, but to the sum of filters of `mean`, where it is a member like any other.
enum PositionState { kAlone, kZeroAlone, kMember, kZeroMember, kLeft };

// What a team's threads see of their patch.
struct Team {
  const FrontArgs* args;
  int64_t patch;  // counted over the batch
  int64_t local;  // counted from first_patch
  int lane, lanes;
  float* windows;         // [window][channel_pitch]
  float* shared_windows;  // the same, if they lie in shared memory
  float* projections;
  float* bucket_windows;  // [window][bucket_pitch]
  uint64_t* keys;
  float* coefficient;  // all lists by position in code order
  int* head;
  int* staying;  // of a bucket's head: members that stay, negative if the bucket is skipped because u = 0
  int* asleep;   // of a bucket's head: members whose window is zero
  int* state;
  uint64_t* scan_buffers;
  int64_t scan_pitch;
  PatchTotals* totals;

  HASTE_DEVICE bool active() const { return patch < args->end_patch; }
  HASTE_DEVICE int channels() const { return args->layer.channels; }
  HASTE_DEVICE uint32_t code(int position) const { return static_cast<uint32_t>(keys[position] >> 32); }
  HASTE_DEVICE int channel(int position) const { return static_cast<int>(keys[position] & 0xffffffffu); }
  HASTE_DEVICE Window window(int channel_index) const { return {windows + channel_index, args->plan.channel_pitch}; }
  HASTE_DEVICE uint64_t* scan(int buffer) const { return scan_buffers + buffer * scan_pitch; }
  // Of the bucket whose first position is `position`: such buckets have two members or more.
  HASTE_DEVICE Window bucket_window(int position) const {
    return {bucket_windows + position / 2, args->plan.bucket_pitch};
  }
  HASTE_DEVICE float& bucket_pixel(int position, int q) const {
    return bucket_windows[static_cast<int64_t>(q) * args->plan.bucket_pitch + position / 2];
  }
  // Where it helps to know what happened; nobody else pays for it.
  HASTE_DEVICE void count(int statistic) const {
    if (args->counters) add_shared(&totals->statistics[statistic], 1);
  }
};

HASTE_DEVICE unsigned char* place(const Region& region, size_t pitch, int patch, unsigned char* shared,
                                  unsigned char* slot) {
  return (region.shared ? shared : slot) + region.offset + pitch * static_cast<size_t>(patch);
}

HASTE_DEVICE Team make_team(const FrontArgs& args, const Block& block, int thread, unsigned char* shared) {
  const FrontPlan& plan = args.plan;
  unsigned char* const slot = args.slots + static_cast<size_t>(block.index_x) * plan.slot;
  const int index = thread / plan.lanes;
  const auto channels = static_cast<size_t>(args.layer.channels);
  Team team;
  team.args = &args;
  team.local = static_cast<int64_t>(block.index_x) * plan.patches_per_block + index;
  team.patch = args.first_patch + team.local;
  team.lane = thread % plan.lanes;
  team.lanes = plan.lanes;
  team.windows = reinterpret_cast<float*>(place(plan.windows, plan.windows_pitch, index, shared, slot));
  team.shared_windows = reinterpret_cast<float*>(
      shared + (plan.windows.shared ? plan.windows.offset + plan.windows_pitch * static_cast<size_t>(index) : 0));
  team.projections = reinterpret_cast<float*>(place(plan.projections, plan.projections_pitch, index, shared, slot));
  team.bucket_windows = reinterpret_cast<float*>(place(plan.buckets, plan.buckets_pitch, index, shared, slot));
  team.keys = reinterpret_cast<uint64_t*>(place(plan.keys, plan.keys_pitch, index, shared, slot));
  unsigned char* const lists = place(plan.lists, plan.lists_pitch, index, shared, slot);
  const size_t scan_bytes = (channels * 8 + 15) / 16 * 16;
  team.coefficient = reinterpret_cast<float*>(lists);
  team.head = reinterpret_cast<int*>(lists + channels * 4);
  team.staying = reinterpret_cast<int*>(lists + channels * 8);
  team.asleep = reinterpret_cast<int*>(lists + channels * 12);
  team.state = reinterpret_cast<int*>(lists + channels * 16);
  const size_t scan_at = (channels * 20 + 15) / 16 * 16;
  team.scan_buffers = reinterpret_cast<uint64_t*>(lists + scan_at);
  team.scan_pitch = static_cast<int64_t>(scan_bytes / 8);
  team.totals = reinterpret_cast<PatchTotals*>(lists + scan_at + 2 * scan_bytes);
  return team;
}

// A phase of all teams whose patch exists.
template <class Phase>
HASTE_DEVICE void run_teams(const FrontArgs& args, const Block& block, unsigned char* shared, const Phase& phase) {
  block.run([&](int thread) {
    const Team team = make_team(args, block, thread, shared);
    if (team.active()) phase(team);
  });
}

}  // namespace haste::cuda
