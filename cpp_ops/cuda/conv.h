// A HasteConv layer on a device: its packed constants, and the sequence of launches that is one run.
#pragma once

#include <cstdint>

#include "backend.h"
#include "haste/haste_cuda.h"
#include "pack.h"
#include "plan.h"

namespace haste::cuda {

// Device memory that belongs to an object.
class DeviceMemory {
 public:
  DeviceMemory(const void* contents, size_t bytes);
  ~DeviceMemory() { backend::release(memory_); }
  DeviceMemory(const DeviceMemory&) = delete;
  DeviceMemory& operator=(const DeviceMemory&) = delete;

  template <class T>
  const T* as() const {
    return static_cast<const T*>(memory_);
  }

 private:
  void* memory_;
};

class Conv {
 public:
  // Of checked params; pointers on the host.
  Conv(const haste_conv_params& params, haste_cuda_type type, const void* weights, const float* bias,
       const HyperplaneLists& hyperplanes);

  // Throws Failure where the kernel does not fit the padded input, or a size is beyond the limits.
  RunPlan plan(int64_t batch, int64_t height, int64_t width) const;
  void run(const haste_cuda_run_args& args, Grouping grouping, const uint32_t* labels, uint32_t* codes) const;

 private:
  FrontArgs front_args(const haste_cuda_run_args& args, const RunPlan& plan) const;
  ConvolveArgs convolve_args(const haste_cuda_run_args& args, const RunPlan& plan) const;

  haste_conv_params params_;
  haste_cuda_type type_;
  int device_;
  DeviceLimits limits_;
  LayerPlan layer_;
  DeviceMemory weights_, bias_, entries_, entries_begin_;
};

}  // namespace haste::cuda
