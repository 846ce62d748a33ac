// What kernel bodies are written in, so that one source runs on a GPU and, for tests, on a CPU.
//
// A kernel body is a sequence of phases. Within a phase threads share nothing that another one writes; between phases
// stands a barrier. On a GPU a phase is the body of a thread followed by __syncthreads() or __syncwarp(); on a CPU it
// is a loop over the threads, in an order that tests permute, so that a phase that breaks the rule gives another
// result. Nothing lives in a local variable from one phase to the next except what every thread computes alike.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#if defined(__CUDACC__)
#include <cuda_fp16.h>
#define HASTE_DEVICE __host__ __device__ __forceinline__
#define HASTE_UNROLL _Pragma("unroll")
#define HASTE_UNROLL_4 _Pragma("unroll 4")
#else
#define HASTE_DEVICE inline
#define HASTE_UNROLL
#define HASTE_UNROLL_4
#endif

namespace haste::cuda {

constexpr int kWarp = 32;

#if !defined(__CUDA_ARCH__)
// The order in which the threads of a phase run on the CPU: 0 ascending, 1 descending, else a permutation by this seed.
extern thread_local uint32_t host_thread_order;

inline int host_thread(int i, int count) {
  if (host_thread_order == 0) return i;
  if (host_thread_order == 1) return count - 1 - i;
  // An odd multiplier permutes a power of two; the block sizes of every plan are one.
  return static_cast<int>((static_cast<uint32_t>(i) * (2 * host_thread_order + 1) + 7) &
                          static_cast<uint32_t>(count - 1));
}
#endif

// The threads of a block; `count` is a power of two.
struct Block {
  int index_x, index_y, count;

  template <class Phase>
  HASTE_DEVICE void run(const Phase& phase) const {
#if defined(__CUDA_ARCH__)
    phase(static_cast<int>(threadIdx.x));
    __syncthreads();
#else
    for (int i = 0; i < count; i++) phase(host_thread(i, count));
#endif
  }
  // What no other thread of the block reads before the next barrier().
  template <class Phase>
  HASTE_DEVICE void run_unsynced(const Phase& phase) const {
#if defined(__CUDA_ARCH__)
    phase(static_cast<int>(threadIdx.x));
#else
    for (int i = 0; i < count; i++) phase(host_thread(i, count));
#endif
  }
  HASTE_DEVICE void barrier() const {
#if defined(__CUDA_ARCH__)
    __syncthreads();
#endif
  }
  // Calls warp_body(index of the warp), once per warp.
  template <class Body>
  HASTE_DEVICE void each_warp(const Body& warp_body) const {
#if defined(__CUDA_ARCH__)
    warp_body(static_cast<int>(threadIdx.x) / kWarp);
#else
    for (int i = 0; i < count / kWarp; i++) warp_body(host_thread(i, count / kWarp));
#endif
  }
};

// A phase of one warp's lanes, inside each_warp.
template <class Phase>
HASTE_DEVICE void run_lanes(const Phase& phase) {
#if defined(__CUDA_ARCH__)
  phase(static_cast<int>(threadIdx.x) % kWarp);
  __syncwarp();
#else
  for (int i = 0; i < kWarp; i++) phase(host_thread(i, kWarp));
#endif
}

// What every thread of a block keeps in registers from one phase to the next.
template <class State>
class ThreadStates {
 public:
#if defined(__CUDA_ARCH__)
  HASTE_DEVICE explicit ThreadStates(const Block&) {}
  HASTE_DEVICE State& of(int) { return own_; }

 private:
  State own_;
#else
  explicit ThreadStates(const Block& block) : all_(static_cast<size_t>(block.count)) {}
  State& of(int thread) { return all_[static_cast<size_t>(thread)]; }

 private:
  std::vector<State> all_;
#endif
};

// Calls phase(thread) for the threads of a warp, which share nothing in it but what their warp may do together next.
template <class Phase>
HASTE_DEVICE void each_lane(int warp, const Phase& phase) {
#if defined(__CUDA_ARCH__)
  static_cast<void>(warp);
  phase(static_cast<int>(threadIdx.x));
#else
  for (int i = 0; i < kWarp; i++) phase(warp * kWarp + host_thread(i, kWarp));
#endif
}

// Between lanes that write shared memory and others of their warp that read it.
HASTE_DEVICE void sync_warp() {
#if defined(__CUDA_ARCH__)
  __syncwarp();
#endif
}

// Exactly one rounding each: the compiler may contract neither into a fused multiply-add.
HASTE_DEVICE float add_rn(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fadd_rn(a, b);
#else
  return a + b;
#endif
}

HASTE_DEVICE float div_rn(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fdiv_rn(a, b);
#else
  return a / b;
#endif
}

#if defined(__CUDA_ARCH__)
HASTE_DEVICE void spread(float* out, float4 v) {
  out[0] = v.x;
  out[1] = v.y;
  out[2] = v.z;
  out[3] = v.w;
}
#endif

// Four floats, 16-byte aligned: of memory that the kernel also writes, and of memory that no running kernel writes.
HASTE_DEVICE void copy4(const float* p, float* out) {
#if defined(__CUDA_ARCH__)
  spread(out, *reinterpret_cast<const float4*>(p));
#else
  std::memcpy(out, p, 16);
#endif
}
HASTE_DEVICE void load4(const float* p, float* out) {
#if defined(__CUDA_ARCH__)
  spread(out, __ldg(reinterpret_cast<const float4*>(p)));
#else
  std::memcpy(out, p, 16);
#endif
}

HASTE_DEVICE void store4(float* p, const float* values) {
#if defined(__CUDA_ARCH__)
  *reinterpret_cast<float4*>(p) = make_float4(values[0], values[1], values[2], values[3]);
#else
  std::memcpy(p, values, 16);
#endif
}

template <class To, class From>
HASTE_DEVICE To reinterpret(From from) {
  static_assert(sizeof(To) == sizeof(From), "the same bits");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

HASTE_DEVICE uint32_t bits_of(float x) {
  return reinterpret<uint32_t>(x);
}
HASTE_DEVICE float from_bits(uint32_t bits) {
  return reinterpret<float>(bits);
}

// sum + x, or sum - x where sign_bit is that of -1; rounded once, as every product with 1 is exact.
HASTE_DEVICE float add_signed(float sum, float x, uint32_t sign_bit) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(from_bits(0x3f800000u | sign_bit), x, sum);
#else
  return sum + from_bits(bits_of(x) ^ sign_bit);
#endif
}

HASTE_DEVICE void add_shared(int* counter, int n) {
#if defined(__CUDA_ARCH__)
  atomicAdd(counter, n);
#else
  *counter += n;
#endif
}

HASTE_DEVICE void add_global(unsigned long long* counter, unsigned long long n) {
#if defined(__CUDA_ARCH__)
  atomicAdd(counter, n);
#else
  *counter += n;
#endif
}

// IEEE binary16 as stored; arithmetic is float32.
struct Half {
  uint16_t bits;
};

float half_to_float_host(uint16_t bits);
uint16_t float_to_half_host(float value);  // round to nearest even

HASTE_DEVICE float to_float(float x) {
  return x;
}
HASTE_DEVICE float to_float(Half x) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(x.bits));
#else
  return half_to_float_host(x.bits);
#endif
}

// Four stored values, aligned to four of them, that no running kernel writes.
HASTE_DEVICE void load4(const Half* p, float* out) {
#if defined(__CUDA_ARCH__)
  const uint2 v = __ldg(reinterpret_cast<const uint2*>(p));
  const uint32_t words[2] = {v.x, v.y};
  HASTE_UNROLL
  for (int i = 0; i < 4; i++) out[i] = to_float(Half{static_cast<uint16_t>(words[i / 2] >> i % 2 * 16)});
#else
  for (int i = 0; i < 4; i++) out[i] = to_float(p[i]);
#endif
}

template <class T>
HASTE_DEVICE T from_float(float x);
template <>
HASTE_DEVICE float from_float<float>(float x) {
  return x;
}
template <>
HASTE_DEVICE Half from_float<Half>(float x) {
#if defined(__CUDA_ARCH__)
  return Half{__half_as_ushort(__float2half_rn(x))};
#else
  return Half{float_to_half_host(x)};
#endif
}

HASTE_DEVICE int min_of(int a, int b) {
  return a < b ? a : b;
}

}  // namespace haste::cuda
