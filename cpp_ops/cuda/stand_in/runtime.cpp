// The part of CUDA's runtime that ONNX Runtime's CUDA provider and haste's CUDA operators call, without a GPU: memory
// of the host, streams that are threads. Kernels do not run: the operators' own go through cudaLaunchHostFunc
// (backend.cpp), and a launch of anybody else's fails with an error.

#include <cuda_runtime_api.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "memory.h"
#include "stream.h"

using stand_in::Access;
using stand_in::Event;
using stand_in::is_device;
using stand_in::is_pinned;
using stand_in::Recording;
using stand_in::Stream;

namespace {

std::atomic<int64_t> allocations{0}, copies_to_device{0}, copies_from_device{0};

// Streams 0, 1 and 2 are CUDA's names for default streams.
Stream& stream_of(cudaStream_t stream) {
  static Stream* const default_stream = new Stream;  // lives as long as the program's threads
  return reinterpret_cast<uintptr_t>(stream) <= 2 ? *default_stream : *reinterpret_cast<Stream*>(stream);
}

void count_copy(const void* to, const void* from) {
  if (is_device(to) && !is_device(from)) copies_to_device++;
  if (is_device(from) && !is_device(to)) copies_from_device++;
}

cudaError_t allocated(void** memory, void* block) {
  *memory = block;
  return block ? cudaSuccess : cudaErrorMemoryAllocation;
}

}  // namespace

extern "C" {

// Allocations of device memory so far, and copies to and from it.
void haste_stand_in_counts(int64_t* counts) {
  counts[0] = allocations;
  counts[1] = copies_to_device;
  counts[2] = copies_from_device;
}

// --- the device: one of compute capability 9.0

cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) {
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  std::memset(properties, 0, sizeof *properties);
  std::strcpy(properties->name, "stand-in");
  properties->totalGlobalMem = stand_in::kCapacity;
  properties->major = 9;
  properties->multiProcessorCount = 4;
  properties->warpSize = 32;
  properties->maxThreadsPerBlock = 1024;
  properties->sharedMemPerBlock = 48 << 10;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? 9
           : attribute == cudaDevAttrMultiProcessorCount  ? 4
           : attribute == cudaDevAttrMemoryPoolsSupported ? 1
           : attribute == cudaDevAttrMaxRegistersPerBlock ? 1 << 16
                                                          : 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceSynchronize() {
  stream_of(nullptr).wait();
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = stand_in::kCapacity;
  return cudaSuccess;
}

// --- memory

cudaError_t cudaMalloc(void** memory, size_t bytes) {
  allocations++;
  return allocated(memory, stand_in::allocate(bytes));
}
cudaError_t cudaFree(void* memory) {
  stand_in::release(memory);
  return cudaSuccess;
}
cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t) {
  return cudaMalloc(memory, bytes);
}
cudaError_t cudaFreeAsync(void* memory, cudaStream_t stream) {
  stream_of(stream).push([memory] { stand_in::release(memory); });
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void** memory, size_t bytes, unsigned) {
  return allocated(memory, stand_in::allocate_pinned(bytes));
}
cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  return cudaHostAlloc(memory, bytes, 0);
}
cudaError_t cudaFreeHost(void* memory) {
  stand_in::release_pinned(memory);
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* memory) {
  std::memset(attributes, 0, sizeof *attributes);
  attributes->type = is_device(memory)   ? cudaMemoryTypeDevice
                     : is_pinned(memory) ? cudaMemoryTypeHost
                                         : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  count_copy(to, from);
  stream_of(nullptr).wait();
  const Access access;
  std::memcpy(to, from, bytes);
  return cudaSuccess;
}
// What lies in pageable memory is staged before the call returns, and fetched before it returns: nothing else may be
// relied upon (CUDA's "API synchronization behavior").
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  count_copy(to, from);
  if (is_device(to) && !is_device(from) && !is_pinned(from)) {
    const auto* const source = static_cast<const char*>(from);
    const auto staged = std::make_shared<std::vector<char>>(source, source + bytes);
    stream_of(stream).push([to, staged] { std::memcpy(to, staged->data(), staged->size()); });
    return cudaSuccess;
  }
  stream_of(stream).push([=] { std::memcpy(to, from, bytes); });
  if (!is_device(to) && !is_pinned(to)) stream_of(stream).wait();
  return cudaSuccess;
}
cudaError_t cudaMemset(void* memory, int value, size_t bytes) {
  const Access access;
  std::memset(memory, value, bytes);
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* memory, int value, size_t bytes, cudaStream_t stream) {
  stream_of(stream).push([=] { std::memset(memory, value, bytes); });
  return cudaSuccess;
}

// --- streams, events, graphs

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = reinterpret_cast<cudaStream_t>(new Stream);
  return cudaSuccess;
}
cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return cudaStreamCreateWithFlags(stream, 0);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete reinterpret_cast<Stream*>(stream);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  stream_of(stream).wait();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  reinterpret_cast<Event*>(event)->wait_in(stream_of(stream));
  return cudaSuccess;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  stream_of(stream).push([=] { function(data); });
  return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new Event);
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return cudaEventCreateWithFlags(event, 0);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<Event*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  reinterpret_cast<Event*>(event)->record(stream_of(stream));
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  reinterpret_cast<Event*>(event)->wait();
  return cudaSuccess;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  *status = stream_of(stream).is_recording() ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  stream_of(stream).wait();
  stream_of(stream).record();
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = reinterpret_cast<cudaGraph_t>(new Recording(stream_of(stream).recorded()));
  return cudaSuccess;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  *executable = reinterpret_cast<cudaGraphExec_t>(new Recording(*reinterpret_cast<Recording*>(graph)));
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<Recording*>(graph);
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete reinterpret_cast<Recording*>(executable);
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  for (const stand_in::Work& work : *reinterpret_cast<Recording*>(executable)) stream_of(stream).push(work);
  return cudaSuccess;
}

// --- errors

cudaError_t cudaGetLastError() {
  return cudaSuccess;
}
cudaError_t cudaPeekAtLastError() {
  return cudaSuccess;
}
const char* cudaGetErrorName(cudaError_t) {
  return "an error of the stand-in for CUDA";
}
const char* cudaGetErrorString(cudaError_t error) {
  return cudaGetErrorName(error);
}

// --- kernels of others are registered, and cannot be launched

void** __cudaRegisterFatBinary(void*) {
  static void* handle = nullptr;
  return &handle;
}
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, void*, void*, void*, void*, int*) {}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}

}  // extern "C"
