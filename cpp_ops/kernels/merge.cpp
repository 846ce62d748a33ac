// Group the channels of one patch by their codes and merge the windows of each bucket.

#include "isa.h"

namespace haste {
namespace HASTE_NS {
namespace {

// A window, ready to be convolved: as it is, or transformed for F(3,3) along y (B^T of convolve_winograd.cpp).
HASTE_INLINE void write_window(const MergeArgs& args, const float* window, float* out) {
  if (!args.transform) {
    for (int q = 0; q < args.geometry->slot; q += kLanes) store(out + q, load(window + q));
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
  int channels;     // that can contribute
  int buckets;      // of them
  int zero_bucket;  // of an all-zero window, or -1
  uint64_t sizes;   // buckets of one, two, three, and more
};

void keep_nonzero(const MergeArgs& args, Kept& kept) {
  const Geometry& g = *args.geometry;
  int32_t* channel = args.scratch->channel;
  int n = 0;
  for (int block = 0; block < g.blocks_in; block++) {
    const uint32_t nonzero = args.nonzero[block];
    const int last = min_int(kBlock, g.channels - block * kBlock);
#if defined(__AVX512F__)
    // Through a register: compressing straight into memory takes microcode on some processors. The lists have room
    // behind.
    (void)last;
    const __mmask16 mask = static_cast<__mmask16>(nonzero);
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i channels = _mm512_add_epi32(_mm512_set1_epi32(block * kBlock), lanes);
    _mm512_storeu_si512(channel + n, _mm512_maskz_compress_epi32(mask, channels));
    if (args.codes)
      _mm512_storeu_si512(
          args.scratch->code + n,
          _mm512_maskz_compress_epi32(mask, _mm512_maskz_loadu_epi32(mask, args.codes + block * kBlock)));
    n += __builtin_popcount(nonzero);
#else
    for (int i = 0; i < last; i++) {
      channel[n] = block * kBlock + i;
      if (args.codes) args.scratch->code[n] = args.codes[block * kBlock + i];
      n += static_cast<int>(nonzero >> i & 1);
    }
#endif
  }
  kept.channels = n;
}

// A word of the table is code << 32 | epoch << 16 | bucket, so that it needs no clearing from patch to patch.
constexpr uint64_t kEpochMask = 0xffff0000u, kBucketMask = 0xffffu;

HASTE_INLINE uint32_t home_slot(uint32_t code, uint32_t mask) {
  return (code * 2654435761u >> 12) & mask;
}

// How many buckets have one, two, three and four or more members, sixteen bits each, in one register: counters in
// memory would wait for each other's stores. What a bucket that had `count` members changes when it gets one more:
HASTE_INLINE int size_field(int count) {
  return 16 * (min_int(count, 4) - 1);
}
constexpr uint64_t kGrowth[5] = {1, (uint64_t{1} << 16) - 1, (uint64_t{1} << 32) - (uint64_t{1} << 16),
                                 (uint64_t{1} << 48) - (uint64_t{1} << 32), 0};

// Buckets by first appearance, their sizes, and each channel's rank in its bucket.
void assign_buckets(const MergeArgs& args, Kept& kept) {
  GroupScratch& s = *args.scratch;
  if (++s.epoch == 0x10000) {
    for (uint32_t i = 0; i <= s.table_mask; i++) s.table[i] = 0;
    s.epoch = 1;
  }
  const uint64_t epoch = static_cast<uint64_t>(s.epoch) << 16;
  const uint32_t mask = s.table_mask;
  const uint32_t* codes = s.code;
  uint64_t* table = s.table;
  int32_t *bucket_of = s.bucket, *rank = s.rank, *count = s.count;
  const int channels = kept.channels;
  for (int i = 0; i <= channels; i++) count[i] = 0;
  uint32_t buckets = 0;
  uint64_t sizes = 0;
  for (int i = 0; i < channels; i++) {
    const uint32_t code = codes[i];
    uint32_t slot = home_slot(code, mask);
    uint64_t word = table[slot];
    // New or known is a coin toss: masks decide, and the compiler is kept from making them branches again. The one
    // branch is for another code of this patch in the slot, which is rare: the table is many times larger than the
    // patch.
    uint32_t fresh = 0, other = 0;
    const auto compare = [&]() __attribute__((always_inline)) {
      fresh = (word & kEpochMask) != epoch ? ~0u : 0u;
      other = word >> 32 != code ? ~0u : 0u;
      asm("" : "+r"(fresh), "+r"(other));
    };
    compare();
    while (__builtin_expect((other & ~fresh) != 0, 0)) {
      slot = (slot + 1) & mask;
      word = table[slot];
      compare();
    }
    const uint32_t known = static_cast<uint32_t>(word & kBucketMask), bucket = known ^ ((known ^ buckets) & fresh);
    table[slot] = static_cast<uint64_t>(code) << 32 | epoch | bucket;
    buckets -= fresh;
    bucket_of[i] = static_cast<int32_t>(bucket);
    const int before = count[bucket];
    count[bucket] = before + 1;
    rank[i] = before;
    sizes += kGrowth[min_int(before, 4)];
  }
  kept.buckets = static_cast<int>(buckets);
  kept.sizes = sizes;
  kept.zero_bucket = -1;
  for (uint32_t slot = home_slot(args.zero_code, mask); (table[slot] & kEpochMask) == epoch; slot = (slot + 1) & mask)
    if (table[slot] >> 32 == args.zero_code) {
      kept.zero_bucket = static_cast<int>(table[slot] & kBucketMask);
      break;
    }
}

HASTE_INLINE bool is_normal(float square) {
  return square >= __FLT_MIN__ && square <= __FLT_MAX__;
}

HASTE_INLINE bool are_normal(const float* square, int count) {
  bool normal = true;
  for (int i = 0; i < count; i++) normal &= is_normal(square[i]);
  return normal;
}

void add_single(PatchWork& work, int channel) {
  work.single_channel[work.singles++] = channel;
}

// A merge of the windows of one patch. kVectors is the length of a slot where that is a constant (windows then stay in
// registers), 0 where it is not.
template <int kVectors>
class Merger {
 public:
  explicit Merger(const MergeArgs& args) : args_(args), vectors_(kVectors ? kVectors : args.geometry->slot / kLanes) {}

  // Merges one bucket of two or more kept members. `zeros` all-zero channels belong to it as well. With bound >= 0
  // members whose residual is larger leave.
  void bucket(const int32_t* member, int count, int zeros, float bound) {
    PatchWork& work = *args_.work;
    MergeStats& stats = *args_.stats;
    float* u = work.merged_window + static_cast<ptrdiff_t>(work.merged) * args_.geometry->slot;
    sum(member, count, u);
    int kept = 0;
    if (args_.merge == Merge::kMean)
      kept = mean(member, count, u);
    else if (args_.merge == Merge::kScaled)
      kept = weighted<false>(member, count, zeros, bound, u);
    else
      kept = weighted<true>(member, count, zeros, bound, u);
    if (kept == 0) return;
    stats.members_read += kept + zeros > 1 ? kept : 0;
    const int first = work.first[work.merged];
    if (kept == 1) {
      add_single(work, work.member[first]);
      return;
    }
    if (args_.transform) write_window(args_, u, u);
    work.merged++;
    work.first[work.merged] = first + kept;
  }

  float mean_energy(const Kept& kept) const {
    float energy = 0;
    for (int i = 0; i < kept.channels; i++) {
      const float* x = window(args_.scratch->channel[i]);
      energy += reduce_add(dot(x, x));
    }
    return energy / static_cast<float>(args_.geometry->channels);
  }

 private:
  const float* window(int channel) const {
    return args_.windows + static_cast<ptrdiff_t>(channel) * (vectors_ * kLanes);
  }

  HASTE_MEMBER vec dot(const float* a, const float* b) const {
    vec sum = zero();
    for (int v = 0; v < vectors_; v++) sum = fma(load(a + v * kLanes), load(b + v * kLanes), sum);
    return sum;
  }

  void sum(const int32_t* member, int count, float* u) const {
    if (kVectors) {
      vec s[kVectors ? kVectors : 1];
      for (int v = 0; v < kVectors; v++) s[v] = load(window(member[0]) + v * kLanes);
      for (int i = 1; i < count; i++)
        for (int v = 0; v < kVectors; v++) s[v] = s[v] + load(window(member[i]) + v * kLanes);
      for (int v = 0; v < kVectors; v++) store(u + v * kLanes, s[v]);
      return;
    }
    for (int v = 0; v < vectors_; v++) {
      vec s = load(window(member[0]) + v * kLanes);
      for (int i = 1; i < count; i++) s = s + load(window(member[i]) + v * kLanes);
      store(u + v * kLanes, s);
    }
  }

  // |x - a u|^2. `own` is the product that a was made of: <x,u>, or <x,x> for kNorm, whose a makes |a u| = |x|.
  template <bool kNorm>
  HASTE_MEMBER float residual(const float* x, const float* u, float own, float a) const {
    const float other = reduce_add(dot(x, kNorm ? u : x));
    if (!kNorm) return other - a * own;
    return a > 0 ? 2 * (own - a * other) : own;
  }

  // Returns the members whose filters are to be read: none when the mean is zero.
  int mean(const int32_t* member, int count, float* u) {
    MergeStats& stats = *args_.stats;
    const vec scale = set1(1.0f / static_cast<float>(count));
    ivec seen = {};
    for (int v = 0; v < vectors_; v++) {
      const vec m = load(u + v * kLanes) * scale;
      seen |= reinterpret_cast<ivec>(m);
      store(u + v * kLanes, m);
    }
    stats.buckets++;
    stats.merged_buckets++;
    if (nonzero_lanes(seen) == 0) {
      stats.skipped_buckets++;
      return 0;
    }
    int32_t* out = args_.work->member + args_.work->first[args_.work->merged];
    for (int i = 0; i < count; i++) out[i] = member[i];
    return count;
  }

  // a_i * u does not change when u is scaled, so the sum serves as u and zero members change nothing. kNorm: a_i is
  // |x_i| / |u| in place of <x_i,u> / <u,u>.
  template <bool kNorm>
  int weighted(const int32_t* member, int count, int zeros, float bound, const float* u) {
    PatchWork& work = *args_.work;
    MergeStats& stats = *args_.stats;
    int32_t* out = work.member + work.first[work.merged];
    float* coefficient = work.coefficient + work.first[work.merged];
    const float uu = reduce_add(dot(u, u));
    const float inverse = uu > 0 ? 1.0f / uu : 0.0f, inverse_norm = kNorm ? __builtin_sqrtf(inverse) : 0.0f;
    const auto product = [&](int i) __attribute__((always_inline)) {
      const float* x = window(member[i]);
      return dot(x, kNorm ? x : u);
    };
    int i = 0;
    for (; i + 4 <= count; i += 4) {
      const vec products[4] = {product(i), product(i + 1), product(i + 2), product(i + 3)};
      reduce_add4(products, coefficient + i);
    }
    for (; i < count; i++) coefficient[i] = reduce_add(product(i));
    // Two roots and not that of a quotient: their product cannot overflow.
    const auto weight = [&](float product_i) __attribute__((always_inline)) {
      return kNorm ? __builtin_sqrtf(product_i) * inverse_norm : product_i * inverse;
    };
    int stay = 0;
    // Infinity and NaN cannot be merged, nor can what is so small that its reciprocal overflows; alone, such channels
    // come out as the plain convolution has them.
    const bool usable = uu == 0 || is_normal(uu);
    if (usable && bound < 0 && (!kNorm || are_normal(coefficient, count))) {
      for (i = 0; i < count; i++) {
        out[i] = member[i];
        coefficient[i] = weight(coefficient[i]);
      }
      stay = count;
    } else {
      for (i = 0; i < count; i++) {
        const float own = coefficient[i], a = weight(own);
        if (!usable || (kNorm && !is_normal(own)) ||
            (bound >= 0 && residual<kNorm>(window(member[i]), u, own, a) > bound)) {
          add_single(work, member[i]);
          continue;
        }
        out[stay] = member[i];
        coefficient[stay++] = a;
      }
    }
    const int left = count - stay;
    stats.members_left += left;
    stats.buckets += left + (stay + zeros > 0);
    stats.merged_buckets += stay + zeros > 1;
    if (stay > 0 && uu > 0) return stay;
    stats.skipped_buckets += stay + zeros > 0;
    return 0;
  }

  const MergeArgs& args_;
  const int vectors_;
};

// Lists the kept channels bucket by bucket, buckets of one first, then of two, of three, and larger ones: the loop over
// members is then predictable, here and in the convolution. Returns the number of buckets of one.
int sort_by_size(GroupScratch& s, const Kept& kept) {
  const int32_t *count = s.count, *bucket_of = s.bucket, *rank = s.rank, *channel = s.channel;
  int32_t *order = s.order, *place = s.place, *member = s.member;
  const uint64_t n = kept.sizes, ones = n & 0xffff, twos = n >> 16 & 0xffff, threes = n >> 32 & 0xffff;
  uint64_t next =
      ones << 16 | (ones + twos) << 32 | (ones + twos + threes) << 48;  // bucket and member each size begins with
  uint64_t at = ones << 16 | (ones + 2 * twos) << 32 | (ones + 2 * twos + 3 * threes) << 48;
  for (int b = 0; b < kept.buckets; b++) {
    const int field = size_field(count[b]);
    order[next >> field & 0xffff] = b;
    place[b] = static_cast<int32_t>(at >> field & 0xffff);
    next += uint64_t{1} << field;
    at += static_cast<uint64_t>(count[b]) << field;
  }
  for (int i = 0; i < kept.channels; i++) member[place[bucket_of[i]] + rank[i]] = channel[i];
  return static_cast<int>(ones);
}

template <int kVectors>
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
  Merger<kVectors> merger(args);
  const float bound = args.tau > 0 && args.merge != Merge::kMean ? args.tau * merger.mean_energy(kept) : -1.0f;
  int at = singles;
  for (int i = singles; i < kept.buckets; i++) {
    const int b = s.order[i];
    merger.bucket(s.member + at, s.count[b], b == kept.zero_bucket ? zeros : 0, bound);
    at += s.count[b];
  }
}

void group_and_merge(const MergeArgs& args, Kept& kept, int zeros) {
  assign_buckets(args, kept);
  constexpr int kVectors = (25 + kLanes - 1) / kLanes;
  if (args.geometry->slot == kVectors * kLanes)  // 3x3 at patch 3
    merge_buckets<kVectors>(args, kept, zeros);
  else
    merge_buckets<0>(args, kept, zeros);
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
  } else if (args.merge != Merge::kMean) {
    group_and_merge(args, kept, zeros);
  } else {
    // The filters of zero channels are part of a bucket's sum, so nobody may be dropped.
    for (int c = 0; c < g.channels; c++) {
      s.channel[c] = c;
      s.code[c] = args.codes[c];
    }
    kept.channels = g.channels;
    group_and_merge(args, kept, 0);
  }
  // The windows of both kinds of bucket lie close together: what the convolution reads again and again stays in cache.
  work.single_window = work.merged_window + static_cast<ptrdiff_t>(work.merged) * g.slot;
  for (int i = 0; i < work.singles; i++)
    write_window(args, args.windows + static_cast<ptrdiff_t>(work.single_channel[i]) * g.slot,
                 work.single_window + static_cast<ptrdiff_t>(i) * g.slot);
  // The convolution prefetches a few entries ahead, past the end as well.
  for (int i = 0; i < kLookahead; i++)
    work.single_channel[work.singles + i] = work.member[work.first[work.merged] + i] = 0;
}

}  // namespace HASTE_NS
}  // namespace haste
