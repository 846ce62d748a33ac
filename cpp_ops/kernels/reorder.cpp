// Rows of pixels between planes [C,H,W] and the blocked layout.

#include "isa.h"

namespace haste {
namespace HASTE_NS {

void planes_to_blocked(const float* planes, ptrdiff_t plane, int channels, int width, float* blocked) {
  for (int part = 0; part < kParts; part++) {
    const int have = min_int(max_int(channels - part * kLanes, 0), kLanes);
    const float* in = planes + part * kLanes * plane;
    float* out = blocked + part * kLanes;
    int x = 0;
    for (; x + kLanes <= width; x += kLanes) {
      vec r[kLanes];
      for (int i = 0; i < kLanes; i++) r[i] = i < have ? loadu(in + i * plane + x) : zero();
      transpose(r);
      for (int i = 0; i < kLanes; i++) storeu(out + static_cast<ptrdiff_t>(x + i) * kBlock, r[i]);
    }
    if (x < width) {
      vec r[kLanes];
      for (int i = 0; i < kLanes; i++) r[i] = i < have ? load_first(in + i * plane + x, width - x) : zero();
      transpose(r);
      for (int i = 0; i < width - x; i++) storeu(out + static_cast<ptrdiff_t>(x + i) * kBlock, r[i]);
    }
  }
}

void blocked_to_planes(const float* blocked, int width, float* planes, ptrdiff_t plane, int channels) {
  for (int part = 0; part < kParts; part++) {
    const int have = min_int(max_int(channels - part * kLanes, 0), kLanes);
    const float* in = blocked + part * kLanes;
    float* out = planes + part * kLanes * plane;
    int x = 0;
    for (; x + kLanes <= width; x += kLanes) {
      vec r[kLanes];
      for (int i = 0; i < kLanes; i++) r[i] = loadu(in + static_cast<ptrdiff_t>(x + i) * kBlock);
      transpose(r);
      for (int i = 0; i < have; i++) storeu(out + i * plane + x, r[i]);
    }
    if (x < width) {
      vec r[kLanes];
      for (int i = 0; i < kLanes; i++)
        r[i] = i < width - x ? loadu(in + static_cast<ptrdiff_t>(x + i) * kBlock) : zero();
      transpose(r);
      for (int i = 0; i < have; i++) store_first(out + i * plane + x, r[i], width - x);
    }
  }
}

}  // namespace HASTE_NS
}  // namespace haste
