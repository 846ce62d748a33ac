// Pooling of one block of 16 channels, so that a chain of HasteConvs keeps its blocked layout across a pool.

#include "isa.h"

namespace haste {
namespace HASTE_NS {

// A NaN stays one: of two operands, max gives the second where they cannot be compared.
HASTE_INLINE vec maximum(vec sofar, vec next) {
  return select(reinterpret_cast<ivec>(sofar == sofar), max(sofar, next), sofar);
}

void pool(const PoolArgs& args) {
  for (int oy = 0; oy < args.out_height; oy++) {
    const int top = oy * args.stride_h - args.pad_top;
    const int y0 = max_int(top, 0), y1 = min_int(top + args.kernel_h, args.height);
    for (int ox = 0; ox < args.out_width; ox++) {
      const int left = ox * args.stride_w - args.pad_left;
      const int x0 = max_int(left, 0), x1 = min_int(left + args.kernel_w, args.width);
      // Padding counts only as far as the padded input reaches: with ceil_mode the last window may hang over it.
      const int padded_h = min_int(top + args.kernel_h, args.height + args.pad_bottom) - top;
      const int padded_w = min_int(left + args.kernel_w, args.width + args.pad_right) - left;
      const float count = args.count_include_pad ? static_cast<float>(padded_h) * static_cast<float>(padded_w)
                                                 : static_cast<float>(y1 - y0) * static_cast<float>(x1 - x0);
      float* out = args.y + (static_cast<ptrdiff_t>(oy) * args.out_width + ox) * kBlock;
      for (int part = 0; part < kParts; part++) {
        vec result = set1(args.is_max ? -__builtin_inff() : 0.0f);
        for (int y = y0; y < y1; y++) {
          const float* in = args.x + (static_cast<ptrdiff_t>(y) * args.width + x0) * kBlock + part * kLanes;
          for (int x = x0; x < x1; x++, in += kBlock)
            result = args.is_max ? maximum(result, loadu(in)) : result + loadu(in);
        }
        storeu(out + part * kLanes, args.is_max ? result : result / set1(count));
      }
    }
  }
}

}  // namespace HASTE_NS
}  // namespace haste
