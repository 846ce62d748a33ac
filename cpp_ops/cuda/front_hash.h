// Gathering and hashing, the first half of the front kernel. Codes are bit-identical to every other backend's
// (docs/operator.md, What it computes, 1).
#pragma once

#include "front.h"

namespace haste::cuda {

// Lanes that share a window when work is spread over its elements: a power of two.
HASTE_DEVICE int lanes_per_window(const Team& team) {
  int lanes = 1;
  while (lanes < kWarp && lanes < team.args->layer.window && lanes < team.lanes) lanes *= 2;
  return lanes;
}

template <class T>
HASTE_DEVICE void gather(const Team& team) {
  const FrontArgs& args = *team.args;
  const LayerPlan& layer = args.layer;
  const int64_t in_image = team.patch % (args.grid_h * args.grid_w);
  const int64_t top = in_image / args.grid_w * layer.patch - args.pad_top;
  const int64_t left = in_image % args.grid_w * layer.patch - args.pad_left;
  const T* const image = static_cast<const T*>(args.x) + team.patch / (args.grid_h * args.grid_w) * args.x_view.image();
  // Neighbouring lanes read neighbouring addresses, pixels of a row or the channels of a block. Windows outside shared
  // memory are written to neighbouring addresses: of what is read, the rest of a line is still in L1 a moment later.
  const int share = args.x_view.blocked || !args.plan.windows.shared ? 1 : lanes_per_window(team);
  const int first_channel = team.lane / share, channel_step = team.lanes / share;
  for (int q = team.lane % share; q < layer.window; q += share) {
    const int64_t y = top + q / layer.window_w, x = left + q % layer.window_w;
    const bool inside = y >= 0 && y < args.x_view.height && x >= 0 && x < args.x_view.width;
    const int64_t pixel = (y * args.x_view.width + x) * args.x_view.pixel_step();
    HASTE_UNROLL_4
    for (int c = first_channel; c < layer.channels; c += channel_step) {
      const float value = inside ? to_float(image[args.x_view.channel(c) + pixel]) : 0.0f;
      team.windows[static_cast<int64_t>(q) * args.plan.channel_pitch + c] = value;
    }
  }
}

// The region: projections [group][projection_pitch], partial sums [group][16], means [group].
struct Projections {
  float *projection, *partial, *mean;
};

HASTE_DEVICE Projections projections_of(const Team& team) {
  const int group = team.args->plan.hyperplane_group;
  float* const partial = team.projections + static_cast<int64_t>(group) * team.args->plan.projection_pitch;
  return {team.projections, partial, partial + group * 16};
}

// windows: the team's, wherever they lie. A lane takes four channels, so that an entry is loaded once for four
// additions, of one hyperplane at a time.
HASTE_DEVICE void project_from(const Team& team, const float* windows, int first_hyperplane, int count) {
  const FrontArgs& args = *team.args;
  float* const projection = projections_of(team).projection;
  constexpr int kChannels = 4;
  const int step = (team.channels() + kChannels - 1) / kChannels;
  for (int i = team.lane; i < step * count; i += team.lanes) {
    const int l = i / step, c = i % step;
    const float* window[kChannels];
    float sum[kChannels];
    HASTE_UNROLL
    for (int k = 0; k < kChannels; k++) {
      window[k] = windows + min_of(c + k * step, team.channels() - 1);
      sum[k] = 0.0f;
    }
    const int end = args.entries_begin[first_hyperplane + l + 1];
    HASTE_UNROLL_4
    for (int j = args.entries_begin[first_hyperplane + l]; j < end; j++) {
      const uint32_t entry = args.entries[j], sign = entry & 0x80000000u;
      const int at = static_cast<int>(entry & 0x7fffffffu) * args.plan.channel_pitch;
      HASTE_UNROLL
      for (int k = 0; k < kChannels; k++) sum[k] = add_signed(sum[k], window[k][at], sign);
    }
    float* const to = projection + static_cast<int64_t>(l) * args.plan.projection_pitch + c;
    HASTE_UNROLL
    for (int k = 0; k < kChannels; k++) {
      if (c + k * step < team.channels()) to[k * step] = sum[k];
    }
  }
}

HASTE_DEVICE void project(const Team& team, int first_hyperplane, int count) {
  // Two copies of the code: where the compiler knows that loads are from shared memory they cost half the instructions.
  if (team.args->plan.windows.shared) {
    project_from(team, team.shared_windows, first_hyperplane, count);
  } else {
    project_from(team, team.windows, first_hyperplane, count);
  }
}

HASTE_DEVICE void partial_sums(const Team& team, int count) {
  const Projections p = projections_of(team);
  for (int i = team.lane; i < count * 16; i += team.lanes) {
    const float* const projection = p.projection + static_cast<int64_t>(i / 16) * team.args->plan.projection_pitch;
    float sum = 0.0f;
    HASTE_UNROLL_4
    for (int c = i % 16; c < team.channels(); c += 16) sum = add_rn(sum, projection[c]);
    p.partial[i] = sum;
  }
}

HASTE_DEVICE void means(const Team& team, int count) {
  const Projections p = projections_of(team);
  for (int l = team.lane; l < count; l += team.lanes) {
    // Unrolled by hand: the indices must be constants, or the sums would live in memory.
    float sum[16];
    HASTE_UNROLL
    for (int j = 0; j < 16; j++) sum[j] = p.partial[l * 16 + j];
    HASTE_UNROLL
    for (int j = 0; j < 8; j++) sum[j] = add_rn(sum[j], sum[j + 8]);
    HASTE_UNROLL
    for (int j = 0; j < 4; j++) sum[j] = add_rn(sum[j], sum[j + 4]);
    sum[0] = add_rn(sum[0], sum[2]);
    sum[1] = add_rn(sum[1], sum[3]);
    sum[0] = add_rn(sum[0], sum[1]);
    p.mean[l] = div_rn(sum[0], static_cast<float>(team.channels()));
  }
}

HASTE_DEVICE void threshold(const Team& team, int first_hyperplane, int count) {
  const Projections p = projections_of(team);
  for (int c = team.lane; c < team.channels(); c += team.lanes) {
    uint32_t bits = 0;
    for (int l = 0; l < count; l++) {
      const float projection = p.projection[static_cast<int64_t>(l) * team.args->plan.projection_pitch + c];
      bits |= static_cast<uint32_t>(projection > p.mean[l]) << l;
    }
    team.keys[c] |= static_cast<uint64_t>(bits) << (32 + first_hyperplane);
  }
}

// Keys beyond the channels sort last: no channel has index 2^32 - 1.
HASTE_DEVICE void start_keys(const Team& team) {
  const FrontArgs& args = *team.args;
  for (int i = team.lane; i < args.plan.sort_size; i += team.lanes) {
    uint64_t key = i < team.channels() ? static_cast<uint64_t>(i) : ~uint64_t{0};
    if (args.grouping == Grouping::kLabels && i < team.channels()) {
      key |= static_cast<uint64_t>(args.labels[team.patch * team.channels() + i]) << 32;
    }
    team.keys[i] = key;
  }
}

template <class T>
HASTE_DEVICE void gather_and_hash(const FrontArgs& args, const Block& block, unsigned char* shared) {
  run_teams(args, block, shared, [&](const Team& team) {
    gather<T>(team);
    start_keys(team);
    for (int i = team.lane; i < team.channels(); i += team.lanes) team.staying[i] = team.asleep[i] = 0;
    for (int i = team.lane; i < HASTE_STATS; i += team.lanes) team.totals->statistics[i] = 0;
  });
  if (args.grouping != Grouping::kHash) return;
  for (int l = 0; l < args.hyperplanes; l += args.plan.hyperplane_group) {
    const int count = min_of(args.plan.hyperplane_group, args.hyperplanes - l);
    run_teams(args, block, shared, [&](const Team& team) { project(team, l, count); });
    run_teams(args, block, shared, [&](const Team& team) { partial_sums(team, count); });
    run_teams(args, block, shared, [&](const Team& team) { means(team, count); });
    run_teams(args, block, shared, [&](const Team& team) { threshold(team, l, count); });
  }
}

}  // namespace haste::cuda
