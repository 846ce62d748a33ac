#include "pack.h"

#include <cstring>

#include "../kernels/check.h"
#include "device.h"
#include "failure.h"

namespace haste::cuda {

int64_t weight_count(const LayerPlan& layer, haste_weight_layout layout) {
  const int64_t filters =
      layout == HASTE_PACKED ? int64_t{layer.filters + HASTE_BLOCK - 1} / HASTE_BLOCK * HASTE_BLOCK : layer.filters;
  return filters * layer.channels * layer.taps();
}

std::vector<unsigned char> widen(const std::vector<unsigned char>& halves) {
  std::vector<unsigned char> floats(halves.size() * 2);
  for (size_t i = 0; i < halves.size() / 2; i++) {
    uint16_t bits = 0;
    std::memcpy(&bits, halves.data() + i * 2, 2);
    const float value = half_to_float_host(bits);
    std::memcpy(floats.data() + i * 4, &value, 4);
  }
  return floats;
}

std::vector<unsigned char> pack_weights(const LayerPlan& layer, haste_weight_layout layout, const void* weights) {
  const auto* const from = static_cast<const unsigned char*>(weights);
  const size_t element = layer.element;
  const auto per_filter = static_cast<int64_t>(layer.channels) * layer.taps();
  std::vector<unsigned char> packed(static_cast<size_t>(layer.tiles() * per_filter * layer.tile) * element);
  for (int64_t m = 0; m < layer.filters; m++) {
    for (int64_t i = 0; i < per_filter; i++) {
      const int64_t source = layout == HASTE_PACKED ? (m / HASTE_BLOCK * per_filter + i) * HASTE_BLOCK + m % HASTE_BLOCK
                                                    : m * per_filter + i;
      const int64_t target = (m / layer.tile * per_filter + i) * layer.tile + m % layer.tile;
      std::memcpy(packed.data() + static_cast<size_t>(target) * element, from + static_cast<size_t>(source) * element,
                  element);
    }
  }
  return packed;
}

HyperplaneLists list_hyperplanes(const int8_t* hyperplanes, int rows, int window) {
  check(check_hyperplanes(hyperplanes, rows, window));
  HyperplaneLists lists;
  lists.begin.push_back(0);
  for (int l = 0; l < rows; l++) {
    for (int q = 0; q < window; q++) {
      const int v = hyperplanes[static_cast<int64_t>(l) * window + q];
      if (v != 0) lists.entries.push_back(static_cast<uint32_t>(q) | (v < 0 ? 0x80000000u : 0u));
    }
    lists.begin.push_back(static_cast<int>(lists.entries.size()));
  }
  return lists;
}

}  // namespace haste::cuda
