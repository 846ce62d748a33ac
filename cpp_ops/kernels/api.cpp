// haste.h over the kernels: argument checks, and no exception leaves.

#include <cinttypes>

#include "cache_size.h"
#include "check.h"
#include "conv.h"
#include "dispatch.h"
#include "error.h"
#include "haste/haste.h"
#include "layout.h"
#include "run_count.h"
#include "schedule.h"

namespace {

using haste::guarded;

haste_status missing(const char* what) {
  return haste::fail(HASTE_INVALID_ARGUMENT, "%s must not be null", what);
}

}  // namespace

extern "C" {

haste_status haste_conv_create(const haste_conv_params* params, const void* weights, const float* bias,
                               const int8_t* hyperplanes, haste_conv** conv) {
  if (!params || !conv) return missing("params and conv");
  *conv = nullptr;
  return guarded([&] {
    std::unique_ptr<haste_conv> made;
    const haste_status status = haste::create_conv(*params, weights, bias, hyperplanes, made);
    if (status == HASTE_OK) *conv = made.release();
    return status;
  });
}

void haste_conv_destroy(haste_conv* conv) {
  delete conv;
}

haste_status haste_conv_output_size(const haste_conv* conv, int64_t height, int64_t width, int64_t* out_height,
                                    int64_t* out_width) {
  if (!conv || !out_height || !out_width) return missing("conv, out_height and out_width");
  return haste::output_size(*conv, height, width, out_height, out_width);
}

haste_status haste_conv_run(const haste_conv* conv, const haste_conv_run_args* args) {
  if (!conv || !args) return missing("conv and args");
  const haste_status status = guarded([&] { return haste::run_conv(*conv, *args, nullptr, nullptr); });
  if (status == HASTE_OK) haste::run_count.fetch_add(1, std::memory_order_relaxed);
  return status;
}

haste_status haste_conv_codes(const haste_conv* conv, const haste_conv_run_args* args, uint32_t* codes) {
  if (!conv || !args || !codes) return missing("conv, args and codes");
  return guarded([&] { return haste::run_conv(*conv, *args, nullptr, codes); });
}

haste_status haste_conv_run_grouped(const haste_conv* conv, const haste_conv_run_args* args, const uint32_t* labels) {
  if (!conv || !args || !labels) return missing("conv, args and labels");
  return guarded([&] {
    haste_conv_run_args without_stats = *args;
    without_stats.stats = nullptr;
    without_stats.hyperplanes = 0;
    return haste::run_conv(*conv, without_stats, labels, nullptr);
  });
}

haste_status haste_conv_schedule(const haste_conv* conv, const haste_conv_run_args* args, haste_schedule* schedule) {
  if (!conv || !args || !schedule) return missing("conv, args and schedule");
  return guarded([&] { return haste::schedule_of(*conv, *args, *schedule); });
}

haste_status haste_pool_output_size(const haste_pool_params* params, int64_t height, int64_t width, int64_t* out_height,
                                    int64_t* out_width) {
  if (!params || !out_height || !out_width) return missing("params, out_height and out_width");
  return haste::pool_output_size(*params, height, width, out_height, out_width);
}

haste_status haste_pool_run(const haste_pool_params* params, const float* x, int64_t batch, int64_t channels,
                            int64_t height, int64_t width, float* y, haste_parallel_for parallel_for, void* pool) {
  if (!params) return missing("params");
  return guarded([&] { return haste::run_pool(*params, x, batch, channels, height, width, y, parallel_for, pool); });
}

haste_status haste_reorder(const float* x, haste_layout x_layout, float* y, haste_layout y_layout, int64_t batch,
                           int64_t channels, int64_t height, int64_t width, haste_parallel_for parallel_for,
                           void* pool) {
  return guarded(
      [&] { return haste::run_reorder(x, x_layout, y, y_layout, batch, channels, height, width, parallel_for, pool); });
}

const char* haste_isa(void) {
  return haste::selected_kernels()->isa;
}

const char* const* haste_available_isas(void) {
  static const char* const* const names = [] {
    static const char* list[8] = {};
    int n = 0;
    for (const haste::Kernels* const* k = haste::available_kernels(); *k; k++) list[n++] = (*k)->isa;
    return list;
  }();
  return names;
}

haste_status haste_select_isa(const char* name) {
  return haste::select_kernels(name);
}

haste_status haste_set_l2_cache(int64_t bytes, int64_t cores) {
  if (bytes < 0 || cores < 0 || cores > 4096)
    return haste::fail(HASTE_INVALID_ARGUMENT, "a cache of %" PRId64 " bytes for %" PRId64 " cores", bytes, cores);
  return guarded([&] {
    haste::set_l2_cache(static_cast<size_t>(bytes), static_cast<int>(cores));
    return HASTE_OK;
  });
}

const char* haste_version(void) {
  return HASTE_VERSION;
}
const char* haste_error_message(void) {
  return haste::last_error();
}
uint64_t haste_run_count(void) {
  return haste::run_count.load();
}

}  // extern "C"
