// What runs the kernels: a GPU (backend_cuda.cu), or loops on the CPU for tests (backend_host.cpp). A library has one.
#pragma once

#include <cstddef>

#include "convolve_lanes.h"
#include "forms.h"
#include "front.h"
#include "haste/haste_cuda.h"
#include "plan.h"
#include "pool.h"

namespace haste::cuda::backend {

int device_count();  // throws Failure, with the driver's reason, where it cannot be asked
int current_device();
DeviceLimits limits();  // of the current device
// Makes a device current for a scope, so that a conv runs where its weights are.
class DeviceScope {
 public:
  explicit DeviceScope(int device);
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

 private:
  int previous_;
};

void* allocate(size_t bytes);
void release(void* memory);
// Ordered with the work on a stream, without waiting for it. Memory from here may also go to release().
void* allocate_on(void* stream, size_t bytes);
void release_on(void* stream, void* memory);
void copy(void* to, const void* from, size_t bytes);  // between host and device, any direction; waits
void clear(void* memory, size_t bytes, void* stream);

// Lets the kernels of a layer use as much shared memory as its plan says.
void prepare(const LayerPlan& layer, haste_cuda_type type);

void launch_front(const FrontArgs& args, haste_cuda_type type, int blocks, void* stream);
void launch_convolve(const ConvolveArgs& args, haste_cuda_type type, void* stream);
void launch_statistics(const unsigned long long* counters, float* stats, void* stream);
void launch_pool(const PoolArgs& args, haste_cuda_type type, int64_t elements, void* stream);
void launch_reorder(const ReorderArgs& args, haste_cuda_type type, int64_t elements, void* stream);

}  // namespace haste::cuda::backend
