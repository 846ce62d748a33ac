// Grouping: which channels of a patch can contribute, and which of them have equal codes.
#pragma once

#include "isa.h"

namespace haste {
namespace HASTE_NS {

struct Kept {
  int channels;     // that can contribute
  int buckets;      // of them
  int zero_bucket;  // of an all-zero window, or -1
  uint64_t sizes;   // buckets of one, two, three, and more
};

HASTE_INLINE void keep_nonzero(const MergeArgs& args, Kept& kept) {
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
HASTE_INLINE void assign_buckets(const MergeArgs& args, Kept& kept) {
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

// Lists the kept channels bucket by bucket, buckets of one first, then of two, of three, and larger ones: the loop over
// members is then predictable, here and in the convolution. Returns the number of buckets of one.
HASTE_INLINE int sort_by_size(GroupScratch& s, const Kept& kept) {
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

}  // namespace HASTE_NS
}  // namespace haste
