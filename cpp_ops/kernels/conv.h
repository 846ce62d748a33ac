// One HasteConv layer: what is fixed when it is created, and the run over a batch.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "haste/haste.h"
#include "hyperplanes.h"
#include "kernels.h"

struct haste_conv {
  haste_conv_params params;
  const haste::Kernels* kernels = nullptr;
  haste::Geometry geometry;
  haste::Epilogue epilogue;
  std::vector<int32_t> window_offset;
  std::unique_ptr<haste::Hyperplanes> hyperplanes;
  const char* weights = nullptr;  // packed, 64-byte aligned, of params.weight_type
  ptrdiff_t block_bytes = 0;      // of the weights of 16 output channels
  void* own_weights = nullptr;    // what `weights` points to when the caller's could not be used in place
  std::vector<float> bias;        // [blocks_out * 16], zero where m >= M
  std::vector<float> unit_gain;   // [blocks_out * 16] ones: the gain where nothing is corrected

  mutable std::atomic<int> threads{1};  // most that were seen at work on one run

  haste_conv();
  ~haste_conv();
  haste_conv(const haste_conv&) = delete;
  haste_conv& operator=(const haste_conv&) = delete;
};

namespace haste {

haste_status create_conv(const haste_conv_params& params, const void* weights, const float* bias,
                         const int8_t* hyperplanes, std::unique_ptr<haste_conv>& conv);
haste_status output_size(const haste_conv& conv, int64_t height, int64_t width, int64_t* out_height,
                         int64_t* out_width);

// labels: nullptr, or a grouping that stands in for the hash codes. codes: nullptr, or where to put the codes instead
// of convolving. Both uint32 [N, patches, C].
haste_status run_conv(const haste_conv& conv, const haste_conv_run_args& args, const uint32_t* labels, uint32_t* codes);

}  // namespace haste
