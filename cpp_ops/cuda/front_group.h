// Grouping and merging, the second half of the front kernel (docs/operator.md, What it computes, 2 and 3).
//
// Channels sorted by (code, channel) put every bucket in one run of positions with its members ascending; a bucket is
// known by its first position, which a binary search finds.
#pragma once

#include <cfloat>
#include <cmath>

#include "front_hash.h"

namespace haste::cuda {

// Bitonic sort of the keys.
HASTE_DEVICE void sort_keys(const FrontArgs& args, const Block& block, unsigned char* shared) {
  const int size = args.plan.sort_size;
  for (int run = 2; run <= size; run *= 2) {
    for (int stride = run / 2; stride > 0; stride /= 2) {
      run_teams(args, block, shared, [&](const Team& team) {
        for (int i = team.lane; i < size / 2; i += team.lanes) {
          const int low = 2 * i - (i & (stride - 1)), high = low + stride;
          const uint64_t a = team.keys[low], b = team.keys[high];
          if ((a > b) == ((low & run) == 0)) {
            team.keys[low] = b;
            team.keys[high] = a;
          }
        }
      });
    }
  }
}

// First position whose key is not below `key`.
HASTE_DEVICE int lower_bound(const Team& team, uint64_t key) {
  int begin = 0, count = team.channels();
  while (count > 0) {
    const int half = count / 2;
    const bool below = team.keys[begin + half] < key;
    begin = below ? begin + half + 1 : begin;
    count = below ? count - half - 1 : half;
  }
  return begin;
}

HASTE_DEVICE int bucket_begin(const Team& team, uint32_t code) {
  return lower_bound(team, static_cast<uint64_t>(code) << 32);
}
HASTE_DEVICE int bucket_end(const Team& team, uint32_t code) {
  return lower_bound(team, (static_cast<uint64_t>(code) << 32) | 0xffffffffu);
}

HASTE_DEVICE bool is_zero(const Team& team, const Window& window) {
  bool zero = true;
  for (int q = 0; q < team.args->layer.window; q++) zero = zero && window[q] == 0.0f;
  return zero;
}

// Of every position the head of its bucket, and whether its window is zero.
HASTE_DEVICE void survey(const Team& team) {
  const bool dense = team.args->grouping == Grouping::kDense;
  for (int i = team.lane; i < team.channels(); i += team.lanes) {
    const int head = dense ? i : bucket_begin(team, team.code(i));
    const bool zero = is_zero(team, team.window(team.channel(i)));
    team.head[i] = head;
    team.state[i] = zero ? kZeroMember : kMember;
    if (!zero) continue;
    team.count(5);
    add_shared(&team.asleep[head], 1);
  }
}

// Windows of the buckets of two or more: their means, or sums where members are weighted, for a_i * u does not change
// when u is scaled.
HASTE_DEVICE void merge_windows(const Team& team) {
  const LayerPlan& layer = team.args->layer;
  const int share = lanes_per_window(team);
  for (int i = team.lane / share; i + 1 < team.channels(); i += team.lanes / share) {
    const uint32_t code = team.code(i);
    if ((i > 0 && team.code(i - 1) == code) || team.code(i + 1) != code) continue;
    const int end = bucket_end(team, code);
    const float scale = team.args->weighted() ? 1.0f : 1.0f / static_cast<float>(end - i);
    for (int q = team.lane % share; q < layer.window; q += share) {
      float sum = 0.0f;
      for (int j = i; j < end; j++) sum += team.window(team.channel(j))[q];
      team.bucket_pixel(i, q) = sum * scale;
    }
  }
}

// Energy of every channel, kept by channel where coefficients will be.
HASTE_DEVICE void energies(const Team& team) {
  for (int c = team.lane; c < team.channels(); c += team.lanes) {
    const Window window = team.window(c);
    float sum = 0.0f;
    for (int q = 0; q < team.args->layer.window; q++) sum += window[q] * window[q];
    team.coefficient[c] = sum;
  }
}

HASTE_DEVICE void energy_partials(const Team& team) {
  for (int j = team.lane; j < 16; j += team.lanes) {
    float sum = 0.0f;
    for (int c = j; c < team.channels(); c += 16) sum += team.coefficient[c];
    team.totals->energy_partial[j] = sum;
  }
}

HASTE_DEVICE void mean_energy(const Team& team) {
  if (team.lane != 0) return;
  float sum = 0.0f;
  for (int j = 0; j < 16; j++) sum += team.totals->energy_partial[j];
  team.totals->energy = sum / static_cast<float>(team.channels());
}

// Whether a square can be divided by, or have a root, without losing what it stands for.
HASTE_DEVICE bool is_normal(float square) {
  return square >= FLT_MIN && square <= FLT_MAX;
}

// What becomes of a member of a bucket of two or more.
struct Verdict {
  PositionState state;
  float coefficient;
  bool skipped;  // the bucket, because u = 0
};

// A member of a bucket with the window u, where members are weighted.
HASTE_DEVICE Verdict weigh(const Team& team, const Window& window, const Window& u, bool zero) {
  const FrontArgs& args = *team.args;
  const bool norm = args.merge == HASTE_MERGE_NORM;
  float product = 0.0f, square = 0.0f;
  for (int q = 0; q < args.layer.window; q++) {
    product += window[q] * (norm ? window[q] : u[q]);
    square += u[q] * u[q];
  }
  const bool skipped = square == 0.0f;
  if (zero) return {kZeroMember, 0.0f, skipped};
  // A sum without a square to divide by has no direction: its members stay alone, which is exact.
  if (!(skipped || is_normal(square)) || (norm && !is_normal(product))) return {kLeft, 1.0f, skipped};
  float coefficient = 0.0f;
  if (!skipped) coefficient = norm ? sqrtf(product) / sqrtf(square) : product / square;
  if (args.tau > 0.0f) {
    float residual = 0.0f;
    for (int q = 0; q < args.layer.window; q++) {
      const float rest = window[q] - coefficient * u[q];
      residual += rest * rest;
    }
    if (residual > args.tau * team.totals->energy) return {kLeft, 1.0f, skipped};
  }
  return {kMember, coefficient, skipped};
}

// State and coefficient of every position, and how many members of its bucket stay.
HASTE_DEVICE void judge_members(const Team& team) {
  const bool dense = team.args->grouping == Grouping::kDense, weighted = team.args->weighted();
  for (int i = team.lane; i < team.channels(); i += team.lanes) {
    const int head = team.head[i], size = dense ? 1 : bucket_end(team, team.code(i)) - head;
    const bool zero = team.state[i] == kZeroMember;
    Verdict verdict{zero ? kZeroMember : kMember, 1.0f, false};
    if (size == 1) {
      verdict.state = zero ? kZeroAlone : kAlone;
    } else if (!weighted) {
      verdict = {kMember, 1.0f, is_zero(team, team.bucket_window(head))};
    } else if (size - team.asleep[head] != 1) {  // one window beside zeros is its own mean
      verdict = weigh(team, team.window(team.channel(i)), team.bucket_window(head), zero);
    }
    team.state[i] = verdict.state;
    team.coefficient[i] = verdict.coefficient;
    if (verdict.state == kLeft) {
      team.count(7);
    } else if (size > 1) {
      add_shared(&team.staying[head], verdict.skipped ? -1 : 1);
    }
  }
}

// Counts of positions before and at this one, in one word: single buckets, merged members, merged buckets.
constexpr int kCountBits = 21;
constexpr int kMaxChannels = (1 << kCountBits) - 1;

HASTE_DEVICE int singles_of(uint64_t counts) {
  return static_cast<int>(counts & kMaxChannels);
}
HASTE_DEVICE int members_of(uint64_t counts) {
  return static_cast<int>(counts >> kCountBits & kMaxChannels);
}
HASTE_DEVICE int merged_of(uint64_t counts) {
  return static_cast<int>(counts >> 2 * kCountBits);
}

constexpr uint64_t kCountSingle = 1, kCountMember = uint64_t{1} << kCountBits,
                   kCountMerged = uint64_t{1} << 2 * kCountBits;

// A bucket after its members have been judged.
struct Bucket {
  int members;   // that stay
  bool skipped;  // u = 0, or all that stay are zero
  bool single;   // one of those that stay is not zero: its own window and filter say the same as the bucket's
};

HASTE_DEVICE Bucket bucket_of(const Team& team, int head) {
  const int staying = team.staying[head];
  if (staying < 0) return {-staying, true, false};
  const int awake = staying - team.asleep[head];
  const bool weighted = team.args->weighted();
  return {staying, weighted && awake == 0, weighted && awake == 1};
}

// What a bucket of two or more adds to the lists: counted once, at its head.
HASTE_DEVICE uint64_t settle_bucket(const Team& team, const Bucket& bucket) {
  if (bucket.members == 0) return 0;
  team.count(2);
  if (bucket.members > 1) team.count(3);
  if (bucket.skipped) team.count(4);
  return bucket.skipped || bucket.single ? 0 : kCountMerged;
}

HASTE_DEVICE uint64_t settle_member(const Team& team, int position, const Bucket& bucket) {
  if (bucket.skipped || team.state[position] == kZeroMember) return 0;
  if (bucket.members > 1) team.count(6);
  if (!bucket.single) return kCountMember;
  team.coefficient[position] = 1.0f;
  return kCountSingle;
}

// A bucket of one.
HASTE_DEVICE uint64_t settle_alone(const Team& team, bool zero) {
  team.count(2);
  if (zero) team.count(4);
  return zero ? 0 : kCountSingle;
}

// What every position contributes to the lists.
HASTE_DEVICE void settle(const Team& team) {
  for (int i = team.lane; i < team.channels(); i += team.lanes) {
    const int state = team.state[i];
    uint64_t counts = 0;
    if (state == kAlone || state == kZeroAlone) {
      counts = settle_alone(team, state == kZeroAlone);
    } else {
      const Bucket bucket = bucket_of(team, team.head[i]);
      counts = state == kLeft ? settle_alone(team, false) : settle_member(team, i, bucket);
      if (team.head[i] == i) counts += settle_bucket(team, bucket);
    }
    team.scan(0)[i] = counts;
  }
}

// Inclusive sums of scan[0] over the positions; returns which of the two buffers holds them.
HASTE_DEVICE int sum_counts(const FrontArgs& args, const Block& block, unsigned char* shared) {
  int from = 0;
  for (int distance = 1; distance < args.layer.channels; distance *= 2) {
    run_teams(args, block, shared, [&](const Team& team) {
      const uint64_t* const in = team.scan(from);
      uint64_t* const out = team.scan(1 - from);
      for (int i = team.lane; i < team.channels(); i += team.lanes) {
        out[i] = in[i] + (i >= distance ? in[i - distance] : 0);
      }
    });
    from = 1 - from;
  }
  return from;
}

// Lists of the patch for the convolve kernel: single buckets first, then merged ones with their members.
HASTE_DEVICE void write_lists(const Team& team, const uint64_t* sums) {
  const FrontArgs& args = *team.args;
  const int channels = team.channels();
  Member* const members = args.members + team.local * channels;
  int* const first = args.first + team.local * args.first_pitch;
  const uint64_t total = sums[channels - 1];
  const int singles = singles_of(total);
  for (int i = team.lane; i < channels; i += team.lanes) {
    const uint64_t before = i > 0 ? sums[i - 1] : 0;
    const Member member{team.channel(i), team.coefficient[i]};
    if (singles_of(sums[i]) != singles_of(before)) members[singles_of(before)] = member;
    if (members_of(sums[i]) != members_of(before)) members[singles + members_of(before)] = member;
    if (merged_of(sums[i]) != merged_of(before)) first[merged_of(before)] = singles + members_of(before);
  }
  if (team.lane == 0) {
    first[merged_of(total)] = singles + members_of(total);
    args.headers[team.local] = {singles, singles + merged_of(total)};
  }
}

// B^T of F(3,3) with points 0, 1, -1, 2, infinity, applied to one column of a 5 x 5 window: A and G are in convolve.h.
HASTE_DEVICE void transform_column(const Window& window, int column, float* out) {
  const float d0 = window[column], d1 = window[5 + column], d2 = window[10 + column], d3 = window[15 + column],
              d4 = window[20 + column];
  const float d = d1 - d3;
  out[0] = (d0 - d2) - 0.5f * d;
  out[5] = d1 + 0.5f * (d2 - d3);
  out[10] = 0.5f * d2 - d1 * (1.0f / 3.0f) - d3 * (1.0f / 6.0f);
  out[15] = d * (-1.0f / 6.0f);
  out[20] = 2.0f * d + (d4 - d2);
}

HASTE_DEVICE void write_window(const Team& team, const Window& window, int row, int share) {
  const LayerPlan& layer = team.args->layer;
  float* const out =
      team.args->windows + (team.local * team.channels() + row) * static_cast<int64_t>(layer.merged_pitch);
  const bool winograd = layer.shape == Shape::kWinograd3x3;
  const int lane = team.lane % share, count = winograd ? layer.window_w : layer.window;
  for (int q = lane; q < count; q += share) {
    if (winograd) {
      transform_column(window, q, out + q);
    } else {
      out[q] = window[q];
    }
  }
  for (int q = layer.window + lane; q < layer.merged_pitch; q += share) out[q] = 0.0f;
}

HASTE_DEVICE void write_windows(const Team& team, const uint64_t* sums) {
  // A transformed window is written by columns, five of them.
  const int wanted = team.args->layer.shape == Shape::kWinograd3x3 ? 8 : kWarp;
  const int share = min_of(lanes_per_window(team), wanted);
  const int singles = singles_of(sums[team.channels() - 1]);
  for (int i = team.lane / share; i < team.channels(); i += team.lanes / share) {
    const uint64_t before = i > 0 ? sums[i - 1] : 0;
    if (singles_of(sums[i]) != singles_of(before)) {
      write_window(team, team.window(team.channel(i)), singles_of(before), share);
    }
    if (merged_of(sums[i]) != merged_of(before)) {
      write_window(team, team.bucket_window(i), singles + merged_of(before), share);
    }
  }
}

HASTE_DEVICE void write_statistics(const Team& team) {
  unsigned long long* const counters = team.args->counters;
  if (!counters || team.lane != 0) return;
  const int* const statistics = team.totals->statistics;
  add_global(&counters[0], 1);
  add_global(&counters[1], static_cast<unsigned long long>(team.channels()));
  for (int i = 2; i < HASTE_STATS; i++) add_global(&counters[i], static_cast<unsigned long long>(statistics[i]));
}

// The whole kernel.
template <class T>
HASTE_DEVICE void front_block(const FrontArgs& args, const Block& block, unsigned char* shared) {
  gather_and_hash<T>(args, block, shared);
  if (args.codes) {
    run_teams(args, block, shared, [&](const Team& team) {
      for (int c = team.lane; c < team.channels(); c += team.lanes) {
        args.codes[team.patch * team.channels() + c] = team.code(c);
      }
    });
    return;
  }
  const bool merging = args.grouping != Grouping::kDense;
  if (merging) sort_keys(args, block, shared);
  run_teams(args, block, shared, [&](const Team& team) {
    survey(team);
    if (merging) merge_windows(team);
  });
  if (merging && args.weighted() && args.tau > 0.0f) {
    run_teams(args, block, shared, [&](const Team& team) { energies(team); });
    run_teams(args, block, shared, [&](const Team& team) { energy_partials(team); });
    run_teams(args, block, shared, [&](const Team& team) { mean_energy(team); });
  }
  run_teams(args, block, shared, [&](const Team& team) { judge_members(team); });
  run_teams(args, block, shared, [&](const Team& team) { settle(team); });
  const int buffer = sum_counts(args, block, shared);
  run_teams(args, block, shared, [&](const Team& team) {
    const uint64_t* const sums = team.scan(buffer);
    write_lists(team, sums);
    write_windows(team, sums);
    write_statistics(team);
  });
}

}  // namespace haste::cuda
