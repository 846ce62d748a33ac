// The few vector operations the kernels need, for the instruction set this file is compiled for.
// Every kernel source is compiled once per set with HASTE_ISA naming it; all of it lives in a namespace of that name
// and uses no inline function of the standard library, so the linker can never mix the sets.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define HASTE_CONCAT_(a, b) a##b
#define HASTE_CONCAT(a, b) HASTE_CONCAT_(a, b)
#define HASTE_NS HASTE_CONCAT(isa_, HASTE_ISA)
#define HASTE_INLINE static inline __attribute__((always_inline))
#define HASTE_MEMBER inline __attribute__((always_inline))

namespace haste {
namespace HASTE_NS {

#if defined(__AVX512F__)
using vec = __m512;
constexpr int kLanes = 16;
constexpr bool kManyRegisters = true;
HASTE_INLINE vec fma(vec a, vec b, vec c) {
  return _mm512_fmadd_ps(a, b, c);
}
HASTE_INLINE vec set1(float x) {
  return _mm512_set1_ps(x);
}
HASTE_INLINE vec max(vec a, vec b) {
  return _mm512_max_ps(a, b);
}
HASTE_INLINE vec min(vec a, vec b) {
  return _mm512_min_ps(a, b);
}
#elif defined(__AVX2__)
using vec = __m256;
constexpr int kLanes = 8;
constexpr bool kManyRegisters = false;
HASTE_INLINE vec fma(vec a, vec b, vec c) {
  return _mm256_fmadd_ps(a, b, c);
}
HASTE_INLINE vec set1(float x) {
  return _mm256_set1_ps(x);
}
HASTE_INLINE vec max(vec a, vec b) {
  return _mm256_max_ps(a, b);
}
HASTE_INLINE vec min(vec a, vec b) {
  return _mm256_min_ps(a, b);
}
#elif defined(__ARM_NEON) && defined(HASTE_ISA_NEON)
using vec = float32x4_t;
constexpr int kLanes = 4;
#if defined(__aarch64__)
constexpr bool kManyRegisters = true;
HASTE_INLINE vec fma(vec a, vec b, vec c) {
  return vfmaq_f32(c, a, b);
}
#else
constexpr bool kManyRegisters = false;
HASTE_INLINE vec fma(vec a, vec b, vec c) {
  return vmlaq_f32(c, a, b);
}
#endif
HASTE_INLINE vec set1(float x) {
  return vdupq_n_f32(x);
}
HASTE_INLINE vec max(vec a, vec b) {
  return a > b ? a : b;
}
HASTE_INLINE vec min(vec a, vec b) {
  return a < b ? a : b;
}
#else
typedef float vec __attribute__((vector_size(16)));
constexpr int kLanes = 4;
constexpr bool kManyRegisters = false;
HASTE_INLINE vec fma(vec a, vec b, vec c) {
  return a * b + c;
}
HASTE_INLINE vec set1(float x) {
  return vec{x, x, x, x};
}
HASTE_INLINE vec max(vec a, vec b) {
  return a > b ? a : b;
}
HASTE_INLINE vec min(vec a, vec b) {
  return a < b ? a : b;
}
#endif

constexpr int kParts = 16 / kLanes;  // vectors per block of 16 channels

// Elements of a window as multiplicands. Where an instruction multiplies by one lane of a register, a window is loaded
// four elements at a time; elsewhere each is broadcast from memory, which costs no more than a load.
#if defined(__aarch64__) && defined(HASTE_ISA_NEON)
#define HASTE_BY_LANE
template <int kCount>
class Elements {
 public:
  HASTE_MEMBER explicit Elements(const float* from) {
    for (int i = 0; i < kQuads; i++) quad_[i] = vld1q_f32(from + 4 * i);
  }
  // c + a * element i. Written as the instruction: compilers spread the lane into a register of its own and run short.
  HASTE_MEMBER vec fma(vec a, int i, vec c) const {
    switch (i % 4) {
      case 0:
        asm("fmla %0.4s, %1.4s, %2.s[0]" : "+w"(c) : "w"(a), "w"(quad_[i / 4]));
        return c;
      case 1:
        asm("fmla %0.4s, %1.4s, %2.s[1]" : "+w"(c) : "w"(a), "w"(quad_[i / 4]));
        return c;
      case 2:
        asm("fmla %0.4s, %1.4s, %2.s[2]" : "+w"(c) : "w"(a), "w"(quad_[i / 4]));
        return c;
      default:
        asm("fmla %0.4s, %1.4s, %2.s[3]" : "+w"(c) : "w"(a), "w"(quad_[i / 4]));
        return c;
    }
  }

 private:
  static constexpr int kQuads = (kCount + 3) / 4;
  vec quad_[kQuads];
};
#endif

typedef int32_t ivec __attribute__((vector_size(4 * kLanes)));
typedef vec vec_unaligned __attribute__((aligned(4)));
// A window row of up to eight pixels; narrower sets split it by themselves.
typedef float row8 __attribute__((vector_size(32)));
typedef row8 row8_unaligned __attribute__((aligned(4)));
typedef float row16 __attribute__((vector_size(64)));  // of up to sixteen
typedef row16 row16_unaligned __attribute__((aligned(4)));

HASTE_INLINE vec load(const float* p) {
  return *reinterpret_cast<const vec*>(p);
}
HASTE_INLINE void store(float* p, vec v) {
  *reinterpret_cast<vec*>(p) = v;
}
HASTE_INLINE vec select(ivec mask, vec a, vec b) {
  return reinterpret_cast<vec>((reinterpret_cast<ivec>(a) & mask) | (reinterpret_cast<ivec>(b) & ~mask));
}
// IEEE binary16, for storage alone.
struct half {
  uint16_t bits;
};
// kLanes halves, aligned to their own size, as floats: exact.
HASTE_INLINE vec load(const half* p) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(_mm256_load_si256(reinterpret_cast<const __m256i*>(p)));
#elif defined(__F16C__) && defined(__AVX2__)
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
#elif defined(__aarch64__) && defined(HASTE_ISA_NEON)
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(&p->bits)));
#else
  typedef uint16_t halves __attribute__((vector_size(2 * kLanes), may_alias));
  const ivec h = __builtin_convertvector(*reinterpret_cast<const halves*>(p), ivec);
  constexpr int32_t kExponent = 0x1f << 23, kRebias = (127 - 15) << 23;
  const ivec magnitude = (h & 0x7fff) << 13, exponent = magnitude & kExponent;
  const ivec normal = magnitude + kRebias + ((exponent == kExponent) & kRebias);  // twice: infinity and NaN
  // By way of an integer, because the vector unit of 32-bit ARM takes denormal floats for zero.
  const vec subnormal = __builtin_convertvector(h & 0x3ff, vec) * set1(0x1p-24f);
  const vec unsigned_value = select(exponent == 0, subnormal, reinterpret_cast<vec>(normal));
  return reinterpret_cast<vec>(reinterpret_cast<ivec>(unsigned_value) | ((h & 0x8000) << 16));
#endif
}
HASTE_INLINE vec loadu(const float* p) {
  return *reinterpret_cast<const vec_unaligned*>(p);
}
HASTE_INLINE void storeu(float* p, vec v) {
  *reinterpret_cast<vec_unaligned*>(p) = v;
}
HASTE_INLINE vec zero() {
  return set1(0.0f);
}
HASTE_INLINE row8 load8(const float* p) {
  return *reinterpret_cast<const row8_unaligned*>(p);
}
HASTE_INLINE void store8(float* p, row8 v) {
  *reinterpret_cast<row8_unaligned*>(p) = v;
}
HASTE_INLINE row16 load16(const float* p) {
  return *reinterpret_cast<const row16_unaligned*>(p);
}
// The first eight; the rest is zero.
HASTE_INLINE row16 load8_of16(const float* p) {
#if defined(__AVX512F__)
  return reinterpret_cast<row16>(_mm512_zextps256_ps512(_mm256_loadu_ps(p)));
#else
  row16 v = {};
  __builtin_memcpy(&v, p, sizeof(row8));
  return v;
#endif
}
HASTE_INLINE void store16(float* p, row16 v) {
  *reinterpret_cast<row16_unaligned*>(p) = v;
}
// The first n < kLanes floats; the rest is zero.
HASTE_INLINE vec load_first(const float* p, int n) {
#if defined(__AVX512F__)
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
#else
  vec v = zero();
  for (int i = 0; i < n; i++) v[i] = p[i];
  return v;
#endif
}
HASTE_INLINE void store_first(float* p, vec v, int n) {
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
#else
  for (int i = 0; i < n; i++) p[i] = v[i];
#endif
}
HASTE_INLINE int min_int(int a, int b) {
  return a < b ? a : b;
}
HASTE_INLINE int max_int(int a, int b) {
  return a > b ? a : b;
}

HASTE_INLINE float reduce_add(vec v) {
#if defined(__AVX512F__)
  return _mm512_reduce_add_ps(v);
#elif defined(__AVX2__)
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
#else
  return (v[0] + v[2]) + (v[1] + v[3]);
#endif
}

// The sums of four vectors, stored to p[0..3].
HASTE_INLINE void reduce_add4(const vec* v, float* p) {
#if defined(__AVX512F__) || defined(__AVX2__) || defined(__SSE2__)
#if defined(__AVX512F__)
  const vec ab = _mm512_unpacklo_ps(v[0], v[1]) + _mm512_unpackhi_ps(v[0], v[1]);
  const vec cd = _mm512_unpacklo_ps(v[2], v[3]) + _mm512_unpackhi_ps(v[2], v[3]);
  const __m512d abd = _mm512_castps_pd(ab), cdd = _mm512_castps_pd(cd);
  const vec abcd = _mm512_castpd_ps(_mm512_unpacklo_pd(abd, cdd)) + _mm512_castpd_ps(_mm512_unpackhi_pd(abd, cdd));
  const __m256 half = _mm512_castps512_ps256(abcd) + _mm512_extractf32x8_ps(abcd, 1);
  _mm_storeu_ps(p, _mm256_castps256_ps128(half) + _mm256_extractf128_ps(half, 1));
#elif defined(__AVX2__)
  const vec ab = _mm256_hadd_ps(v[0], v[1]), cd = _mm256_hadd_ps(v[2], v[3]);
  const vec abcd = _mm256_hadd_ps(ab, cd);
  _mm_storeu_ps(p, _mm256_castps256_ps128(abcd) + _mm256_extractf128_ps(abcd, 1));
#else
  const vec ab = _mm_unpacklo_ps(v[0], v[1]) + _mm_unpackhi_ps(v[0], v[1]);
  const vec cd = _mm_unpacklo_ps(v[2], v[3]) + _mm_unpackhi_ps(v[2], v[3]);
  _mm_storeu_ps(p, _mm_movelh_ps(ab, cd) + _mm_movehl_ps(cd, ab));
#endif
#elif defined(__aarch64__)
  vst1q_f32(p, vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3])));
#else
  for (int i = 0; i < 4; i++) p[i] = reduce_add(v[i]);
#endif
}

// codes |= bit where a > b; a NaN compares false.
HASTE_INLINE ivec or_if_greater(ivec codes, vec a, vec b, int32_t bit) {
#if defined(__AVX512F__)
  const __mmask16 above = _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
  const __m512i c = reinterpret_cast<__m512i>(codes);
  return reinterpret_cast<ivec>(_mm512_mask_or_epi32(c, above, c, _mm512_set1_epi32(bit)));
#else
  return codes | (reinterpret_cast<ivec>(a > b) & bit);
#endif
}

// One bit per lane that is neither +0 nor -0; `bits` is the bitwise or of what was seen.
HASTE_INLINE uint32_t nonzero_lanes(ivec bits) {
#if defined(__AVX512F__)
  return _mm512_test_epi32_mask(reinterpret_cast<__m512i>(bits), _mm512_set1_epi32(0x7fffffff));
#else
  uint32_t mask = 0;
#if defined(__AVX2__)
  const __m256i magnitude = _mm256_and_si256(reinterpret_cast<__m256i>(bits), _mm256_set1_epi32(0x7fffffff));
  mask = 0xffu & ~static_cast<uint32_t>(
                     _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(magnitude, _mm256_setzero_si256()))));
#else
  for (int i = 0; i < kLanes; i++) mask |= static_cast<uint32_t>((bits[i] & 0x7fffffff) != 0) << i;
#endif
  return mask;
#endif
}

// In-register transpose of kLanes x kLanes floats.
HASTE_INLINE void transpose(vec* r) {
#if defined(__AVX512F__)
  vec t[16];
  const auto pd = [](vec a) __attribute__((always_inline)) { return _mm512_castps_pd(a); };
  const auto ps = [](__m512d a) __attribute__((always_inline)) { return _mm512_castpd_ps(a); };
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = ps(_mm512_unpacklo_pd(pd(t[i]), pd(t[i + 2])));
    r[i + 1] = ps(_mm512_unpackhi_pd(pd(t[i]), pd(t[i + 2])));
    r[i + 2] = ps(_mm512_unpacklo_pd(pd(t[i + 1]), pd(t[i + 3])));
    r[i + 3] = ps(_mm512_unpackhi_pd(pd(t[i + 1]), pd(t[i + 3])));
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
    r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
    r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
  }
#elif defined(__AVX2__)
  vec t[8];
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
    r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
    r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
    r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
    t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
  }
  for (int i = 0; i < 8; i++) r[i] = t[i];
#elif defined(__SSE2__)
  _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
#elif defined(__ARM_NEON)
  const float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
  r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
  r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
  r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
  r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
#else
  for (int i = 0; i < kLanes; i++)
    for (int j = i + 1; j < kLanes; j++) {
      const float swap = r[i][j];
      r[i][j] = r[j][i];
      r[j][i] = swap;
    }
#endif
}

// Transpose of 16x16 floats, of which kRows x kCols are wanted: kCols rows are valid afterwards. All rows must be set.
template <int kRows, int kCols>
HASTE_INLINE void transpose16(row16* r) {
#if defined(__AVX512F__)
  transpose(reinterpret_cast<vec*>(r));
#else
  alignas(64) float from[16][16], to[16][16];
  for (int i = 0; i < 16; i++) store16(from[i], r[i]);
  for (int i = 0; i < kRows; i += kLanes)
    for (int j = 0; j < kCols; j += kLanes) {
      vec square[kLanes];
      for (int k = 0; k < kLanes; k++) square[k] = load(&from[i + k][j]);
      transpose(square);
      for (int k = 0; k < kLanes; k++) store(&to[j + k][i], square[k]);
    }
  for (int i = (kRows + kLanes - 1) / kLanes * kLanes; i < 16; i += kLanes)
    for (int j = 0; j < kCols; j++) store(&to[j][i], zero());
  for (int i = 0; i < kCols; i++) r[i] = load16(to[i]);
#endif
}

}  // namespace HASTE_NS
}  // namespace haste
