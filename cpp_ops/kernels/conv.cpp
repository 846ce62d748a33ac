#include "conv.h"

#include <cstdlib>
#include <cstring>
#include <new>

#include "check.h"
#include "error.h"
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

Geometry make_geometry(const haste_conv_params& p, int lanes) {
  Geometry g;
  g.channels = static_cast<int>(p.in_channels);
  g.filters = static_cast<int>(p.out_channels);
  g.blocks_in = static_cast<int>(ceil_div(g.channels, kBlock));
  g.blocks_out = static_cast<int>(ceil_div(g.filters, kBlock));
  g.kernel_h = static_cast<int>(p.kernel_h);
  g.kernel_w = static_cast<int>(p.kernel_w);
  g.patch = static_cast<int>(p.patch);
  g.window_h = g.patch + g.kernel_h - 1;
  g.window_w = g.patch + g.kernel_w - 1;
  g.window = g.window_h * g.window_w;
  g.strip_w = (kGroup - 1) * g.patch + g.window_w;
  const bool square3 = g.kernel_h == 3 && g.kernel_w == 3;
  if (const Tiling t = tiling(g.patch); square3 && t.exists()) {
    g.form = Form::kNested;
    g.slot = t.slot();
    g.bucket_slot = t.bucket_slot(g.patch, g.patch);
    return g;
  }
  if (square3 && g.patch == kSubtile) g.form = Form::kColumns;
  // The last subtile of a patch that is no multiple of three reads past the window; nobody uses what it makes of that.
  const int64_t reach = round_up(g.patch, kSubtile) - 1;
  const int64_t last = (reach + g.kernel_h - 1) * g.window_w + reach + g.kernel_w - 1;
  g.slot = static_cast<int>(round_up(last + 1 > g.window ? last + 1 : g.window, lanes));
  g.bucket_slot = g.slot;
  return g;
}

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

const Kernels* find(const char* name) {
  for (const Kernels* const* k = available_kernels(); *k; k++)
    if (!std::strcmp((*k)->isa, name)) return *k;
  return nullptr;
}

std::atomic<const Kernels*>& selection() {
  static std::atomic<const Kernels*> selected{[] {
    const char* name = std::getenv("HASTE_ISA");
    const Kernels* wanted = name && *name ? find(name) : nullptr;
    return wanted ? wanted : *available_kernels();
  }()};
  return selected;
}

}  // namespace

const Kernels* selected_kernels() {
  return selection().load();
}

haste_status select_kernels(const char* name) {
  const Kernels* kernels = name ? find(name) : nullptr;
  if (!kernels)
    return fail(HASTE_UNSUPPORTED, "instruction set '%s' is not compiled in or not supported here", name ? name : "");
  selection().store(kernels);
  return HASTE_OK;
}

haste_status create_conv(const haste_conv_params& params, const void* weights, const float* bias, const int8_t* rows,
                         std::unique_ptr<haste_conv>& conv) {
  if (const haste_status status = check_conv(params)) return status;
  if (!weights || !bias || !rows) return fail(HASTE_INVALID_ARGUMENT, "weights, bias and hyperplanes must be given");
  const char* wanted = std::getenv("HASTE_ISA");
  if (wanted && *wanted && !find(wanted))
    return fail(HASTE_UNSUPPORTED, "HASTE_ISA=%s is not compiled in or not supported by this processor", wanted);

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
  if (packed && reinterpret_cast<uintptr_t>(weights) % 64 == 0) {
    made->weights = static_cast<const char*>(weights);
  } else {
    const size_t bytes = static_cast<size_t>(g.blocks_out) * static_cast<size_t>(made->block_bytes);
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
  conv = std::move(made);
  return HASTE_OK;
}

haste_status output_size(const haste_conv& conv, int64_t height, int64_t width, int64_t* out_height,
                         int64_t* out_width) {
  return conv_output_size(conv.params, height, width, out_height, out_width);
}

}  // namespace haste
