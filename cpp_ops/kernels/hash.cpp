// Gather and hash: windows of the patches of a strip, their projections on the hyperplanes, and the codes.
//
// The order of additions is part of the contract (docs/operator.md): projections ascend over the window, the mean over
// channels is 16 partial sums and a fixed tree. Lanes are channels, so vectors of any length keep that order.

#include "isa.h"

namespace haste {
namespace HASTE_NS {
namespace {

// One block of 16 channels of the pixels that the patches of a strip share; zeros outside the image.
void load_strip_blocked(const HashArgs& args, int block) {
  const Geometry& g = *args.geometry;
  const int height = args.image.height, width = args.image.width;
  const int columns = (args.patches - 1) * g.patch + g.window_w;
  const int begin = min_int(max_int(-args.left, 0), columns), end = max_int(min_int(width - args.left, columns), begin);
  const float* plane = args.image.data + static_cast<ptrdiff_t>(block) * height * width * kBlock;
  const ptrdiff_t next_plane = static_cast<ptrdiff_t>(height) * width * kBlock;
  const bool more = block + 1 < g.blocks_in;
  for (int y = 0; y < g.window_h; y++) {
    const int row = args.top + y;
    float* out = args.strip + static_cast<ptrdiff_t>(y) * g.strip_w * kBlock;
    const bool inside = row >= 0 && row < height;
    const int from = inside ? begin : columns, to = inside ? end : columns;
    for (int i = 0; i < from * kBlock; i += kLanes) store(out + i, zero());
    if (inside) {
      const float* in = plane + (static_cast<ptrdiff_t>(row) * width + args.left) * kBlock;
      for (int i = from * kBlock; i < to * kBlock; i += kLanes) {
        // The planes of a block lie too far apart for the hardware to foresee the next one.
        if (more && i % kBlock == 0) __builtin_prefetch(in + next_plane + i);
        store(out + i, loadu(in + i));
      }
    }
    for (int i = to * kBlock; i < columns * kBlock; i += kLanes) store(out + i, zero());
  }
}

// The same from planes [C,H,W].
void load_strip_planar(const HashArgs& args, int block) {
  const Geometry& g = *args.geometry;
  const int height = args.image.height, width = args.image.width;
  const int columns = (args.patches - 1) * g.patch + g.window_w;
  const int begin = min_int(max_int(-args.left, 0), columns), end = max_int(min_int(width - args.left, columns), begin);
  const ptrdiff_t plane = static_cast<ptrdiff_t>(height) * width;
  const int channels = min_int(kBlock, g.channels - block * kBlock);
  for (int y = 0; y < g.window_h; y++) {
    const int row = args.top + y;
    float* out = args.strip + static_cast<ptrdiff_t>(y) * g.strip_w * kBlock;
    const bool inside = row >= 0 && row < height;
    const int from = inside ? begin : columns, to = inside ? end : columns;
    for (int i = 0; i < from * kBlock; i += kLanes) store(out + i, zero());
    if (to > from)
      planes_to_blocked(
          args.image.data + block * kBlock * plane + static_cast<ptrdiff_t>(row) * width + args.left + from, plane,
          channels, to - from, out + static_cast<ptrdiff_t>(from) * kBlock);
    for (int i = to * kBlock; i < columns * kBlock; i += kLanes) store(out + i, zero());
  }
}

// Windows of one block, turned from pixels of 16 channels into channels of `slot` pixels; notes which are all zero.
void extract_windows(const HashArgs& args, int block) {
  const Geometry& g = *args.geometry;
  for (int t = 0; t < args.patches; t++) {
    const float* strip = args.strip + static_cast<ptrdiff_t>(t) * g.patch * kBlock;
    float* out = args.windows + t * g.window_pitch() + static_cast<ptrdiff_t>(block) * kBlock * g.slot;
    uint32_t nonzero = 0;
    for (int part = 0; part < kParts; part++) {
      ivec seen = {};
      for (int q = 0; q < g.slot; q += kLanes) {
        vec r[kLanes];
        for (int i = 0; i < kLanes; i++) {
          r[i] = load(strip + args.window_offset[q + i] + part * kLanes);
          seen |= reinterpret_cast<ivec>(r[i]);
        }
        transpose(r);
        for (int i = 0; i < kLanes; i++) store(out + static_cast<ptrdiff_t>(part * kLanes + i) * g.slot + q, r[i]);
      }
      nonzero |= nonzero_lanes(seen) << (part * kLanes);
    }
    args.nonzero[static_cast<ptrdiff_t>(t) * g.blocks_in + block] = static_cast<uint16_t>(nonzero);
  }
}

// Projects the windows of one block on every hyperplane.
template <int kPatches>
void project(const HashArgs& args, int block) {
  const Geometry& g = *args.geometry;
  const HashPlan& plan = *args.plan;
  const ptrdiff_t stride = static_cast<ptrdiff_t>(g.blocks_in) * kBlock;
  const ptrdiff_t patch = static_cast<ptrdiff_t>(g.patch) * kBlock;
  const HashStep* step = plan.step;
  for (int i = 0; i < plan.pairs; i++) {
    const HashPair& pair = plan.pair[i];
    for (int part = 0; part < kParts; part++) {
      const float* strip = args.strip + part * kLanes;
      vec a[kPatches], b[kPatches];
      for (int t = 0; t < kPatches; t++) a[t] = b[t] = zero();
      for (const HashStep *s = step, *end = step + pair.steps; s < end; s++) {
        // A product with +1 or -1 is exact, so this is the addition or subtraction of the contract, without a branch.
        const vec sign_a = set1(s->sign[0]), sign_b = set1(s->sign[1]);
        const float *pa = strip + s->offset[0], *pb = strip + s->offset[1];
        for (int t = 0; t < kPatches; t++) a[t] = fma(sign_a, load(pa + t * patch), a[t]);
        for (int t = 0; t < kPatches; t++) b[t] = fma(sign_b, load(pb + t * patch), b[t]);
      }
      const auto keep = [&](int bit, const vec* value) __attribute__((always_inline)) {
        for (int t = 0; t < kPatches; t++)
          store(args.projections + (t * plan.hyperplanes + bit) * stride + block * kBlock + part * kLanes, value[t]);
      };
      keep(pair.bit[0], a);
      if (pair.bit[1] >= 0) keep(pair.bit[1], b);
    }
    step += pair.steps;
  }
}

// Means over the channels of the projections of one patch, rounded up to whole vectors of hyperplanes.
// Hyperplanes become lanes, so that the tree over the sixteen partial sums is fifteen additions for all of them.
void means(const float* projections, int hyperplanes, int channels, ptrdiff_t stride, float* mean) {
  for (int l0 = 0; l0 < hyperplanes; l0 += kLanes) {
    vec p[16];
    for (int part = 0; part < kParts; part++) {
      vec* partial = p + part * kLanes;
      for (int l = 0; l < kLanes; l++) {
        // Past the last hyperplane the last one is summed again; its lane is not used.
        const float* in = projections + min_int(l0 + l, hyperplanes - 1) * stride + part * kLanes;
        vec sum = zero();
        for (ptrdiff_t c = 0; c < stride; c += kBlock) sum = sum + load(in + c);
        partial[l] = sum;
      }
      transpose(partial);
    }
    for (int half = 8; half > 0; half /= 2)
      for (int j = 0; j < half; j++) p[j] = p[j] + p[j + half];
    store(mean + l0, p[0] / set1(static_cast<float>(channels)));
  }
}

void encode(const HashArgs& args) {
  const Geometry& g = *args.geometry;
  const int hyperplanes = args.plan->hyperplanes;
  const ptrdiff_t stride = static_cast<ptrdiff_t>(g.blocks_in) * kBlock;
  for (int t = 0; t < args.patches; t++) {
    alignas(64) float mean[kMaxHyperplanes];
    const float* projections = args.projections + t * hyperplanes * stride;
    means(projections, hyperplanes, g.channels, stride, mean);
    uint32_t zero_code = 0;
    for (int l = 0; l < hyperplanes; l++) zero_code |= static_cast<uint32_t>(0.0f > mean[l]) << l;
    args.zero_code[t] = zero_code;
    for (ptrdiff_t c = 0; c < stride; c += kLanes) {
      ivec code = {};
      for (int l = 0; l < hyperplanes; l++)
        code = or_if_greater(code, load(projections + l * stride + c), set1(mean[l]), static_cast<int32_t>(1u << l));
      store(reinterpret_cast<float*>(args.codes + t * stride + c), reinterpret_cast<vec>(code));
    }
  }
}

}  // namespace

void hash(const HashArgs& args) {
  const Geometry& g = *args.geometry;
  for (int block = 0; block < g.blocks_in; block++) {
    if (args.image.blocked)
      load_strip_blocked(args, block);
    else
      load_strip_planar(args, block);
    extract_windows(args, block);
    if (!args.plan) continue;
    switch (args.patches) {
      case 1:
        project<1>(args, block);
        break;
      case 2:
        project<2>(args, block);
        break;
      case 3:
        project<3>(args, block);
        break;
      default:
        project<4>(args, block);
        break;
    }
  }
  if (args.plan) encode(args);
}

}  // namespace HASTE_NS
}  // namespace haste
