// The 3x3 filters of one block of output channels, merged bucket by bucket, and those to come on their way into cache.
#pragma once

#include "winograd.h"

namespace haste {
namespace HASTE_NS {

template <typename Weight>
class Filters {
 public:
  HASTE_MEMBER Filters(const ConvolveArgs& args, int part)
      : work_(*args.work), weights_(static_cast<const Weight*>(args.weights) + part * kLanes) {}

  HASTE_MEMBER const Weight* of(int channel) const {
    return weights_ + static_cast<ptrdiff_t>(channel) * kTaps * kBlock;
  }

  // The sum over the members of merged bucket b, in registers.
  template <bool kScaled>
  HASTE_MEMBER void merge(int b, vec* w) const {
    int j = work_.first[b];
    const int end = work_.first[b + 1];
    const Weight* f = of(work_.member[j]);
    vec a = kScaled ? set1(work_.coefficient[j]) : zero();
    for (int i = 0; i < kTaps; i++) w[i] = kScaled ? a * load(f + i * kBlock) : load(f + i * kBlock);
    for (j++; j < end; j++) {
      f = of(work_.member[j]);
      a = kScaled ? set1(work_.coefficient[j]) : zero();
      for (int i = 0; i < kTaps; i++) w[i] = kScaled ? fma(a, load(f + i * kBlock), w[i]) : w[i] + load(f + i * kBlock);
    }
  }

 private:
  const PatchWork& work_;
  const Weight* weights_;
};

// A single channel's taps as floats: where they lie, or in the buffer.
HASTE_INLINE const float* as_floats(const float* taps, float* /*buffer*/) {
  return taps;
}
HASTE_INLINE const float* as_floats(const half* taps, float* buffer) {
  for (int i = 0; i < kTaps; i++) store(buffer + i * kBlock, load(taps + i * kBlock));
  return buffer;
}

// A bucket whose taps are read from memory.
struct Bucket {
  const float *taps, *window;
};

// Lists buckets `from` to `from + count` - 1 of a patch, single channels first; merged and widened taps go to the
// buffer, [count][kTaps][16].
template <bool kScaled, typename Weight>
HASTE_INLINE void list_buckets(const PatchWork& work, ptrdiff_t slot, const Filters<Weight>& filters, int from,
                               int count, float* buffer, Bucket* bucket) {
  for (int i = 0; i < count; i++, buffer += kTaps * kBlock) {
    const int b = from + i, m = b - work.singles;
    if (m < 0) {
      bucket[i] = {as_floats(filters.of(work.single_channel[b]), buffer), work.single_window + b * slot};
      continue;
    }
    vec w[kTaps];
    filters.template merge<kScaled>(m, w);
    for (int tap = 0; tap < kTaps; tap++) store(buffer + tap * kBlock, w[tap]);
    bucket[i] = {buffer, work.merged_window + m * slot};
  }
}

// Weights on their way into the cache while buckets are multiplied: the filters that the buckets to come will read,
// into L1, or a part of the next block, into L2. A processor has few loads from memory in flight, so they are drawn a
// few lines at a time; in one go they would stall it.
class Ahead {
 public:
  // The filters of buckets `from` to `from + count` - 1; more members than there is room for come by themselves.
  template <typename Weight>
  HASTE_MEMBER void list(const PatchWork& work, const Filters<Weight>& filters, int from, int count) {
    constexpr int kBytes = kTaps * kBlock * static_cast<int>(sizeof(Weight));
    filter_lines_ = (kBytes + 63) / 64;
    filters_ = 0;
    const auto add = [&](int channel) __attribute__((always_inline)) {
      filter_[filters_++] = reinterpret_cast<const char*>(filters.of(channel));
    };
    const int to = from + count;
    for (int b = from; b < min_int(to, work.singles); b++) add(work.single_channel[b]);
    const int first = max_int(from - work.singles, 0), last = max_int(to - work.singles, 0);
    for (int j = work.first[first]; j < work.first[last] && filters_ < kMost; j++) add(work.member[j]);
  }

  void stream(const char* lines, int count) { stream_ = lines, stream_lines_ = count; }

  // What one of `passes` over the present buckets draws: of every filter some lines, and some of the stream.
  struct Share {
    const char* const* filter;
    int filters, begin, end;  // bytes
    const char* stream;
    int lines;

    // What falls to bucket `step` of `steps`.
    HASTE_MEMBER void draw(int step, int steps) const {
      for (int i = step; i < filters; i += steps)
        for (int at = begin; at < end; at += 64) __builtin_prefetch(filter[i] + at, 0, 3);
      for (int i = step; i < lines; i += steps) __builtin_prefetch(stream + static_cast<ptrdiff_t>(i) * 64, 0, 2);
    }
  };
  HASTE_MEMBER Share share(int pass, int passes) const {
    const int first = pass * stream_lines_ / passes, last = (pass + 1) * stream_lines_ / passes;
    return {filter_,
            filters_,
            pass * filter_lines_ / passes * 64,
            (pass + 1) * filter_lines_ / passes * 64,
            stream_ + static_cast<ptrdiff_t>(first) * 64,
            last - first};
  }

 private:
  static constexpr int kMost = 64;
  const char* filter_[kMost];
  int filters_ = 0, filter_lines_ = 0;
  const char* stream_ = nullptr;
  int stream_lines_ = 0;
};

}  // namespace HASTE_NS
}  // namespace haste
