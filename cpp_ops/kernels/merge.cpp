// Group the channels of one patch by their codes and merge the windows of each bucket.

#include "isa.h"

namespace haste {
namespace HASTE_NS {
namespace {

constexpr int kSizes = 8;  // buckets of kSizes or more members are not told apart when they are ordered by size

// A window, ready to be convolved: as it is, or transformed for F(3,3) along y (B^T of convolve_winograd.cpp).
HASTE_INLINE void write_window(const Geometry& g, const float* window, float* out) {
  if (!g.winograd) {
    for (int q = 0; q < g.slot; q += kLanes) store(out + q, load(window + q));
    return;
  }
  const row8 r0 = load8(window), r1 = load8(window + 5), r2 = load8(window + 10), r3 = load8(window + 15),
             r4 = load8(window + 20);
  const row8 d = r1 - r3;
  // Rows overlap by three in the store, so they go in ascending order.
  store8(out, (r0 - r2) - d * 0.5f);
  store8(out + 5, r1 + (r2 - r3) * 0.5f);
  store8(out + 10, (r2 - r1 * (2.0f / 3.0f) - r3 * (1.0f / 3.0f)) * 0.5f);
  store8(out + 15, d * (-1.0f / 6.0f));
  store8(out + 20, (d + d) + (r4 - r2));
}

struct Kept {
  int channels;  // that can contribute
  int buckets;   // of them
  int zero_bucket;  // of an all-zero window, or -1
};

void keep_nonzero(const MergeArgs& args, Kept& kept) {
  const Geometry& g = *args.geometry;
  int32_t* channel = args.scratch->channel;
  int n = 0;
  for (int block = 0; block < g.blocks_in; block++) {
    const uint32_t nonzero = args.nonzero[block];
    const int last = min_int(kBlock, g.channels - block * kBlock);
#if defined(__AVX512F__)
    (void)last;
    _mm512_mask_compressstoreu_epi32(
        channel + n, static_cast<__mmask16>(nonzero),
        _mm512_add_epi32(_mm512_set1_epi32(block * kBlock),
                         _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)));
    n += __builtin_popcount(nonzero);
#else
    for (int i = 0; i < last; i++) {
      channel[n] = block * kBlock + i;
      n += static_cast<int>(nonzero >> i & 1);
    }
#endif
  }
  kept.channels = n;
}

// Buckets by first appearance. A word of the table is code << 32 | epoch << 16 | bucket, so no clearing is needed.
HASTE_INLINE uint32_t home_slot(const GroupScratch& s, uint32_t code) { return (code * 2654435761u >> 12) & s.table_mask; }

void assign_buckets(const MergeArgs& args, Kept& kept) {
  GroupScratch& s = *args.scratch;
  if (++s.epoch == 0x10000) {
    for (uint32_t i = 0; i <= s.table_mask; i++) s.table[i] = 0;
    s.epoch = 1;
  }
  const uint64_t epoch = static_cast<uint64_t>(s.epoch) << 16;
  const uint32_t* codes = args.codes;
  int buckets = 0;
  for (int i = 0; i < kept.channels; i++) {
    const uint32_t code = codes[s.channel[i]];
    const uint64_t key = static_cast<uint64_t>(code) << 32 | epoch;
    uint32_t slot = home_slot(s, code);
    uint64_t word = s.table[slot];
    // Another code of this patch in the slot: rare, the table is several times larger than the number of channels.
    while (__builtin_expect((word & 0xffff0000u) == epoch && (word >> 32) != code, 0)) {
      slot = (slot + 1) & s.table_mask;
      word = s.table[slot];
    }
    // New or known is a coin toss, so it is decided without a branch.
    const bool known = (word & 0xffffffffffff0000u) == key;
    const int bucket = known ? static_cast<int>(word & 0xffff) : buckets;
    s.table[slot] = key | static_cast<uint64_t>(bucket);
    s.count[buckets] = known ? s.count[buckets] : 0;
    s.count[bucket]++;
    buckets += !known;
    s.bucket[i] = bucket;
  }
  kept.buckets = buckets;
  kept.zero_bucket = -1;
  uint32_t slot = home_slot(s, args.zero_code);
  while ((s.table[slot] & 0xffff0000u) == epoch) {
    if (s.table[slot] >> 32 == args.zero_code) {
      kept.zero_bucket = static_cast<int>(s.table[slot] & 0xffff);
      break;
    }
    slot = (slot + 1) & s.table_mask;
  }
}

HASTE_INLINE float dot(const Geometry& g, const float* a, const float* b) {
  vec sum = zero();
  for (int q = 0; q < g.slot; q += kLanes) sum = fma(load(a + q), load(b + q), sum);
  return reduce_add(sum);
}

void add_single(PatchWork& work, int channel) { work.single_channel[work.singles++] = channel; }

float mean_energy(const MergeArgs& args, const Kept& kept) {
  const Geometry& g = *args.geometry;
  float energy = 0;
  for (int i = 0; i < kept.channels; i++) {
    const float* x = args.windows + static_cast<ptrdiff_t>(args.scratch->channel[i]) * g.slot;
    energy += dot(g, x, x);
  }
  return energy / static_cast<float>(g.channels);
}

// Merges one bucket of two or more kept members. `zeros` all-zero channels belong to it as well.
void merge_bucket(const MergeArgs& args, const int32_t* member, int count, int zeros, float bound) {
  const Geometry& g = *args.geometry;
  PatchWork& work = *args.work;
  MergeStats& stats = *args.stats;
  float* out = work.merged_window + static_cast<ptrdiff_t>(work.merged) * g.slot;
  const auto window = [&](int i) { return args.windows + static_cast<ptrdiff_t>(member[i]) * g.slot; };
  alignas(64) float sum[256];
  float* const u = g.slot <= 256 ? sum : out;
  for (int q = 0; q < g.slot; q += kLanes) {
    vec s = load(window(0) + q);
    for (int i = 1; i < count; i++) s = s + load(window(i) + q);
    store(u + q, s);
  }
  int at = work.first[work.merged];
  if (args.merge == Merge::kMean) {
    const vec scale = set1(1.0f / static_cast<float>(count));
    ivec seen = {};
    for (int q = 0; q < g.slot; q += kLanes) {
      const vec mean = load(u + q) * scale;
      seen |= reinterpret_cast<ivec>(mean);
      store(u + q, mean);
    }
    stats.buckets++;
    stats.merged_buckets++;
    if (nonzero_lanes(seen) == 0) {
      stats.skipped_buckets++;
      return;
    }
    for (int i = 0; i < count; i++) work.member[at++] = member[i];
    stats.members_read += count;
  } else {
    // a_i * u does not change when u is scaled, so the sum serves as u and zero members change nothing.
    const float uu = dot(g, u, u);
    const bool usable = uu <= __FLT_MAX__;  // false for infinity and NaN: such members stay alone, which is exact
    const float inverse = uu > 0 ? 1.0f / uu : 0.0f;
    const bool bounded = bound >= 0;
    int left = 0;
    for (int i = 0; i < count; i++) {
      const float xu = dot(g, window(i), u);
      const float a = xu * inverse;
      bool leaves = !usable;
      if (bounded) leaves |= dot(g, window(i), window(i)) - a * xu > bound;
      if (__builtin_expect(leaves, 0)) {
        add_single(work, member[i]);
        left++;
      } else {
        work.member[at] = member[i];
        work.coefficient[at++] = a;
      }
    }
    const int stay = count - left;
    stats.members_left += left;
    stats.buckets += left + (stay + zeros > 0);
    stats.merged_buckets += stay + zeros > 1;
    if (stay == 0 || uu == 0) {
      stats.skipped_buckets += stay + zeros > 0;
      return;
    }
    stats.members_read += stay + zeros > 1 ? stay : 0;
    if (stay == 1) {
      add_single(work, work.member[at - 1]);
      return;
    }
  }
  if (u != out) write_window(g, u, out);
  work.merged++;
  work.first[work.merged] = at;
}

// Lists the kept channels bucket by bucket, buckets by size: the convolution's loop over members is then predictable.
// Returns the number of buckets of one, which come first in `order`.
int sort_by_size(GroupScratch& s, const Kept& kept) {
  int start[kSizes + 2] = {};
  for (int b = 0; b < kept.buckets; b++) start[min_int(s.count[b], kSizes) + 1]++;
  const int singles = start[2];
  for (int size = 1; size <= kSizes; size++) start[size + 1] += start[size];
  for (int b = 0; b < kept.buckets; b++) s.order[start[min_int(s.count[b], kSizes)]++] = b;
  int at = 0;
  for (int i = 0; i < kept.buckets; i++) {
    const int b = s.order[i];
    s.place[b] = at;
    at += s.count[b];
  }
  for (int i = 0; i < kept.channels; i++) s.member[s.place[s.bucket[i]]++] = s.channel[i];
  return singles;
}

void merge_buckets(const MergeArgs& args, const Kept& kept, int zeros) {
  GroupScratch& s = *args.scratch;
  PatchWork& work = *args.work;
  MergeStats& stats = *args.stats;
  const int singles = sort_by_size(s, kept);
  for (int i = 0; i < singles; i++) {
    const int c = s.member[i];
    if (args.nonzero[c / kBlock] >> (c % kBlock) & 1)
      add_single(work, c);
    else
      stats.skipped_buckets++;
  }
  stats.buckets += singles;
  if (kept.zero_bucket >= 0 && zeros > 0 && s.count[kept.zero_bucket] == 1) {
    stats.merged_buckets++;
    stats.members_read++;
  }
  if (kept.zero_bucket < 0 && zeros > 0) {
    stats.buckets++;
    stats.skipped_buckets++;
    stats.merged_buckets += zeros > 1;
  }
  const float bound = args.tau > 0 && args.merge == Merge::kScaled ? args.tau * mean_energy(args, kept) : -1.0f;
  int at = singles;
  for (int i = singles; i < kept.buckets; i++) {
    const int b = s.order[i];
    merge_bucket(args, s.member + at, s.count[b], b == kept.zero_bucket ? zeros : 0, bound);
    at += s.count[b];
  }
}

}  // namespace

void merge(const MergeArgs& args) {
  const Geometry& g = *args.geometry;
  GroupScratch& s = *args.scratch;
  PatchWork& work = *args.work;
  MergeStats& stats = *args.stats;
  work.singles = work.merged = 0;
  work.first[0] = 0;
  Kept kept{};
  keep_nonzero(args, kept);
  const int zeros = g.channels - kept.channels;
  stats.zero_channels += zeros;
  if (!args.codes) {  // dense: every channel alone; what is zero adds nothing
    for (int i = 0; i < kept.channels; i++) add_single(work, s.channel[i]);
    stats.buckets += g.channels;
    stats.skipped_buckets += zeros;
  } else if (args.merge == Merge::kScaled) {
    assign_buckets(args, kept);
    merge_buckets(args, kept, zeros);
  } else {
    // The filters of zero channels are part of a bucket's sum, so nobody may be dropped.
    for (int c = 0; c < g.channels; c++) s.channel[c] = c;
    kept.channels = g.channels;
    assign_buckets(args, kept);
    merge_buckets(args, kept, 0);
  }
  // The windows of both kinds of bucket lie close together: what the convolution reads again and again stays in cache.
  work.single_window = work.merged_window + static_cast<ptrdiff_t>(work.merged) * g.slot;
  for (int i = 0; i < work.singles; i++)
    write_window(g, args.windows + static_cast<ptrdiff_t>(work.single_channel[i]) * g.slot,
                 work.single_window + static_cast<ptrdiff_t>(i) * g.slot);
  // The convolution prefetches a few entries ahead, past the end as well.
  for (int i = 0; i < kLookahead; i++) work.single_channel[work.singles + i] = work.member[work.first[work.merged] + i] = 0;
}

}  // namespace HASTE_NS
}  // namespace haste
