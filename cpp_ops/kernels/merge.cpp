// Group the channels of one patch by their codes and merge the windows of each bucket.

#include "grouping.h"
#include "transform.h"

namespace haste {
namespace HASTE_NS {
namespace {

// What windows are put through before they are convolved, or nullptr.
Transform transform_of(const MergeArgs& args) {
  if (!args.transform) return nullptr;
  if (args.geometry->form != Form::kNested) return transform_columns;
  return nested_transform(args.geometry->patch, args.rows, args.cols);
}

void add_single(PatchWork& work, int channel) {
  work.single_channel[work.singles++] = channel;
}

// A merge of the windows of one patch. kVectors is the length of a slot where that is a constant (windows then stay in
// registers), 0 where it is not.
template <int kVectors>
class Merger {
 public:
  Merger(const MergeArgs& args, Transform transform)
      : args_(args), transform_(transform), vectors_(kVectors ? kVectors : args.geometry->slot / kLanes) {}

  // Merges one bucket of two or more kept members. `zeros` all-zero channels belong to it as well. With bound >= 0
  // members whose residual is larger leave.
  void bucket(const int32_t* member, int count, int zeros, float bound) {
    PatchWork& work = *args_.work;
    float* out = work.merged_window + static_cast<ptrdiff_t>(work.merged) * work.slot;
    alignas(64) float pixels[kTransformed];
    float* u = transform_ ? pixels : out;
    sum(member, count, u);
    Outcome outcome;
    if (args_.merge == Merge::kMean)
      outcome = mean(member, count, u);
    else if (args_.merge == Merge::kScaled)
      outcome = weighted<false>(member, count, bound, u);
    else
      outcome = weighted<true>(member, count, bound, u);
    count_bucket(outcome, zeros);
    if (outcome.silent) return;
    const int first = work.first[work.merged];
    if (outcome.stay == 1) {
      add_single(work, work.member[first]);
      return;
    }
    if (transform_) transform_(u, out);
    work.merged++;
    work.first[work.merged] = first + outcome.stay;
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
  // What became of a bucket's members that are not all zero.
  struct Outcome {
    int stay, left;
    bool silent;  // what stays adds nothing
  };

  void count_bucket(const Outcome& outcome, int zeros) const {
    MergeStats& stats = *args_.stats;
    const int members = outcome.stay + zeros;
    stats.members_left += outcome.left;
    stats.buckets += outcome.left + (members > 0);
    stats.merged_buckets += members > 1;
    stats.skipped_buckets += outcome.silent && members > 0;
    stats.members_read += !outcome.silent && members > 1 ? outcome.stay : 0;
  }

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

  Outcome mean(const int32_t* member, int count, float* u) {
    const vec scale = set1(1.0f / static_cast<float>(count));
    ivec seen = {};
    for (int v = 0; v < vectors_; v++) {
      const vec m = load(u + v * kLanes) * scale;
      seen |= reinterpret_cast<ivec>(m);
      store(u + v * kLanes, m);
    }
    int32_t* out = args_.work->member + args_.work->first[args_.work->merged];
    for (int i = 0; i < count; i++) out[i] = member[i];
    return {count, 0, nonzero_lanes(seen) == 0};
  }

  // a_i * u does not change when u is scaled, so the sum serves as u and zero members change nothing. kNorm: a_i is
  // |x_i| / |u| in place of <x_i,u> / <u,u>.
  template <bool kNorm>
  Outcome weighted(const int32_t* member, int count, float bound, const float* u) {
    PatchWork& work = *args_.work;
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
    return {stay, count - stay, !(stay > 0 && uu > 0)};
  }

  static constexpr int kTransformed = tiling(7).slot();  // pixels of the largest window that is transformed

  const MergeArgs& args_;
  const Transform transform_;
  const int vectors_;
};

template <int kVectors>
void merge_buckets(const MergeArgs& args, Transform transform, const Kept& kept, int zeros) {
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
  Merger<kVectors> merger(args, transform);
  const float bound = args.tau > 0 && args.merge != Merge::kMean ? args.tau * merger.mean_energy(kept) : -1.0f;
  int at = singles;
  for (int i = singles; i < kept.buckets; i++) {
    const int b = s.order[i];
    merger.bucket(s.member + at, s.count[b], b == kept.zero_bucket ? zeros : 0, bound);
    at += s.count[b];
  }
}

void group_and_merge(const MergeArgs& args, Transform transform, Kept& kept, int zeros) {
  assign_buckets(args, kept);
  constexpr int kPatch3 = (25 + kLanes - 1) / kLanes, kPatch6 = tiling(6).slot() / kLanes,
                kPatch7 = tiling(7).slot() / kLanes;
  switch (args.geometry->slot / kLanes) {
    case kPatch3:
      return merge_buckets<kPatch3>(args, transform, kept, zeros);
    case kPatch6:
      return merge_buckets<kPatch6>(args, transform, kept, zeros);
    case kPatch7:
      return merge_buckets<kPatch7>(args, transform, kept, zeros);
    default:
      return merge_buckets<0>(args, transform, kept, zeros);
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
  const Transform transform = transform_of(args);
  const int zeros = g.channels - kept.channels;
  stats.zero_channels += zeros;
  if (!args.codes) {  // dense: every channel alone; what is zero adds nothing
    for (int i = 0; i < kept.channels; i++) add_single(work, s.channel[i]);
    stats.buckets += g.channels;
    stats.skipped_buckets += zeros;
  } else if (args.merge != Merge::kMean) {
    group_and_merge(args, transform, kept, zeros);
  } else {
    // The filters of zero channels are part of a bucket's sum, so nobody may be dropped.
    for (int c = 0; c < g.channels; c++) {
      s.channel[c] = c;
      s.code[c] = args.codes[c];
    }
    kept.channels = g.channels;
    group_and_merge(args, transform, kept, 0);
  }
  // The windows of both kinds of bucket lie close together: what the convolution reads again and again stays in cache.
  work.single_window = work.merged_window + static_cast<ptrdiff_t>(work.merged) * work.slot;
  for (int i = 0; i < work.singles; i++) {
    const float* window = args.windows + static_cast<ptrdiff_t>(work.single_channel[i]) * g.slot;
    float* out = work.single_window + static_cast<ptrdiff_t>(i) * work.slot;
    if (transform)
      transform(window, out);
    else
      for (int q = 0; q < g.slot; q += kLanes) store(out + q, load(window + q));
  }
}

}  // namespace HASTE_NS
}  // namespace haste
