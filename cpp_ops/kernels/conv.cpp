#include "conv.h"

#include <cstring>

#include "check.h"
#include "dispatch.h"
#include "error.h"
#include "huge_pages.h"
#include "scratch.h"

haste_conv::haste_conv() {
  haste::add_scratch_user();
}

haste_conv::~haste_conv() {
  haste::aligned_free(own_weights);
  haste::remove_scratch_user();
}

namespace haste {
namespace {

// The C enums of haste.h are cast to those of kernels.h.
static_assert(static_cast<int>(Merge::kScaled) == HASTE_MERGE_SCALED &&
                  static_cast<int>(Merge::kMean) == HASTE_MERGE_MEAN &&
                  static_cast<int>(Merge::kNorm) == HASTE_MERGE_NORM,
              "haste_merge and Merge");
static_assert(static_cast<int>(Activation::kIdentity) == HASTE_IDENTITY &&
                  static_cast<int>(Activation::kRelu) == HASTE_RELU &&
                  static_cast<int>(Activation::kLeakyRelu) == HASTE_LEAKY_RELU &&
                  static_cast<int>(Activation::kClip) == HASTE_CLIP &&
                  static_cast<int>(Activation::kHardSwish) == HASTE_HARD_SWISH &&
                  static_cast<int>(Activation::kSilu) == HASTE_SILU &&
                  static_cast<int>(Activation::kSigmoid) == HASTE_SIGMOID,
              "haste_activation and Activation");
static_assert(static_cast<int>(WeightType::kFloat32) == HASTE_WEIGHTS_FLOAT32 &&
                  static_cast<int>(WeightType::kFloat16) == HASTE_WEIGHTS_FLOAT16,
              "haste_weight_type and WeightType");

// OIHW [M,C,kH,kW] to [ceil(M/16)][C][kH*kW][16].
template <typename Weight>
void pack(const Geometry& g, const Weight* oihw, Weight* packed) {
  const ptrdiff_t taps = g.taps();
  for (int block = 0; block < g.blocks_out; block++)
    for (int c = 0; c < g.channels; c++)
      for (ptrdiff_t tap = 0; tap < taps; tap++)
        for (int i = 0; i < kBlock; i++) {
          const int m = block * kBlock + i;
          *packed++ = m < g.filters ? oihw[(static_cast<ptrdiff_t>(m) * g.channels + c) * taps + tap] : Weight{};
        }
}

}  // namespace

haste_status create_conv(const haste_conv_params& params, const void* weights, const float* bias, const int8_t* rows,
                         std::unique_ptr<haste_conv>& conv) {
  if (const haste_status status = check_conv(params)) return status;
  if (!weights || !bias || !rows) return fail(HASTE_INVALID_ARGUMENT, "weights, bias and hyperplanes must be given");
  if (const haste_status status = check_wanted_kernels()) return status;
  auto made = std::make_unique<haste_conv>();
  made->params = params;
  made->kernels = selected_kernels();
  made->geometry = make_geometry(params, made->kernels->lanes);
  const Geometry& g = made->geometry;
  if (const haste_status status = check_hyperplanes(rows, params.max_hyperplanes, g.window)) return status;
  made->epilogue = {static_cast<Activation>(params.activation),
                    {params.activation_params[0], params.activation_params[1]}};
  made->window_offset = window_offsets(g);
  made->hyperplanes = std::make_unique<Hyperplanes>(g, rows, static_cast<int>(params.max_hyperplanes));
  made->bias.assign(static_cast<size_t>(g.blocks_out) * kBlock, 0.0f);
  made->unit_gain.assign(static_cast<size_t>(g.blocks_out) * kBlock, 1.0f);
  std::memcpy(made->bias.data(), bias, static_cast<size_t>(g.filters) * sizeof(float));

  const bool half = params.weight_type == HASTE_WEIGHTS_FLOAT16, packed = params.weight_layout == HASTE_PACKED;
  made->block_bytes = static_cast<ptrdiff_t>(g.channels) * g.taps() * kBlock * (half ? 2 : 4);
  const size_t bytes = static_cast<size_t>(g.blocks_out) * static_cast<size_t>(made->block_bytes);
  if (packed && reinterpret_cast<uintptr_t>(weights) % 64 == 0) {
    made->weights = static_cast<const char*>(weights);
  } else {
    made->own_weights = aligned_allocate(bytes);
    if (!made->own_weights) return fail(HASTE_OUT_OF_MEMORY, "no memory for %zu bytes of packed weights", bytes);
    if (packed)
      std::memcpy(made->own_weights, weights, bytes);
    else if (half)
      pack(g, static_cast<const uint16_t*>(weights), static_cast<uint16_t*>(made->own_weights));  // bits; 0 is 0.0
    else
      pack(g, static_cast<const float*>(weights), static_cast<float*>(made->own_weights));
    made->weights = static_cast<const char*>(made->own_weights);
  }
  move_to_huge_pages(made->weights, bytes);
  conv = std::move(made);
  return HASTE_OK;
}

haste_status output_size(const haste_conv& conv, int64_t height, int64_t width, int64_t* out_height,
                         int64_t* out_width) {
  return conv_output_size(conv.params, height, width, out_height, out_width);
}

}  // namespace haste
