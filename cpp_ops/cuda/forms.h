// Which form of convolve_warps.h a layer is planned for, as a type.
#pragma once

#include "convolve_matrix.h"
#include "convolve_rows.h"

namespace haste::cuda {

// Calls body with Form<size, taps of a kernel row>, `size` being one of kSizes.
template <template <int, int> class Form, int kSize, int... kMore, class Body>
auto with_size(int size, const LayerPlan& layer, const Body& body) {
  if constexpr (sizeof...(kMore) > 0) {
    if (size != kSize) return with_size<Form, kMore...>(size, layer, body);
  }
  return layer.kernel_w == 3 ? body(Form<kSize, 3>()) : body(Form<kSize, 1>());
}

template <class Body>
auto with_form(const LayerPlan& layer, const Body& body) {
  if (layer.shape == Shape::kMatrix) return with_size<Matrix, 2, 5, 7, 8>(layer.outputs / 8, layer, body);
  return with_size<Rows, 4, 5, 6, 7, 8>(layer.patch, layer, body);
}

}  // namespace haste::cuda
