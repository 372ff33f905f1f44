// Vectors as wide as the registers of the instruction set this file is compiled for, and the few operations on them.
// Everything here and below lives in a namespace of its own for each variant, and uses nothing of the standard library
// that could be emitted as a shared template: code for one instruction set must never be linked into another.
#pragma once
#include <cstdint>
#include <cstring>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace HEED_SPACE {

using Real = HEED_REAL;
constexpr bool kSingle = sizeof(Real) == 4;

#if defined(__AVX512F__)
constexpr int kBytes = 64, kRegisters = 32;
#elif defined(__AVX2__)
constexpr int kBytes = 32, kRegisters = 16;
#elif defined(__aarch64__)
constexpr int kBytes = 16, kRegisters = 32;
#else
constexpr int kBytes = 16, kRegisters = 16;
#endif
constexpr int kLanes = kBytes / sizeof(Real);

template <class A, class B, bool first> struct Either { using type = A; };
template <class A, class B> struct Either<A, B, false> { using type = B; };
using Bits = Either<int32_t, int64_t, kSingle>::type;

typedef Real V __attribute__((vector_size(kBytes)));
typedef Bits I __attribute__((vector_size(kBytes)));
typedef Real Unaligned __attribute__((vector_size(kBytes), aligned(sizeof(Real)), may_alias));

#define HEED_INLINE static inline __attribute__((always_inline))

HEED_INLINE V load(const Real* from) { return *reinterpret_cast<const Unaligned*>(from); }
HEED_INLINE void store(Real* to, V x) { *reinterpret_cast<Unaligned*>(to) = x; }
HEED_INLINE V splat(Real x) { return x - V{}; }  // x - 0 is x for every x; x + 0 would turn -0 into 0

constexpr Bits kSignBit = Bits(1) << (8 * sizeof(Real) - 1);
HEED_INLINE V absolute(V x) { return (V)((I)x & ~kSignBit); }

// The larger of two values; b where one of them is NaN.
HEED_INLINE V larger(V a, V b) {
#if defined(__AVX512F__)
  if constexpr (kSingle) return (V)_mm512_max_ps((__m512)a, (__m512)b); else return (V)_mm512_max_pd((__m512d)a, (__m512d)b);
#else
  return a > b ? a : b;
#endif
}

// The larger of two values without sign bit, NaN above infinity: their bits are ordered as they are.
HEED_INLINE V larger_magnitude(V a, V b) {
#if defined(__AVX512F__)
  if constexpr (kSingle) return (V)_mm512_max_epi32((__m512i)a, (__m512i)b); else return (V)_mm512_max_epi64((__m512i)a, (__m512i)b);
#else
  return (I)a > (I)b ? a : b;
#endif
}

// The same vector, of which the compiler knows nothing.
HEED_INLINE V opaque(V x) {
#if defined(__AVX512F__)
  asm("" : "+v"(x));
#elif defined(__x86_64__)
  asm("" : "+x"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
  return x;
}

template <int bytes> struct Part { typedef Real type __attribute__((vector_size(bytes))); };

template <int bytes> HEED_INLINE Real lane_sum(typename Part<bytes>::type x) {
  if constexpr (bytes == sizeof(Real)) {
    return x[0];
  } else {
    typename Part<bytes / 2>::type low, high;
    memcpy(&low, &x, bytes / 2);
    memcpy(&high, reinterpret_cast<char*>(&x) + bytes / 2, bytes / 2);
    return lane_sum<bytes / 2>(low + high);
  }
}

template <int bytes> HEED_INLINE Real lane_max(typename Part<bytes>::type x) {
  if constexpr (bytes == sizeof(Real)) {
    return x[0];
  } else {
    typename Part<bytes / 2>::type low, high;
    memcpy(&low, &x, bytes / 2);
    memcpy(&high, reinterpret_cast<char*>(&x) + bytes / 2, bytes / 2);
    return lane_max<bytes / 2>(low > high ? low : high);
  }
}

HEED_INLINE Real sum_of(V x) { return lane_sum<kBytes>(x); }
HEED_INLINE Real max_of(V x) { return lane_max<kBytes>(x); }

HEED_INLINE V square_root(V x) {
#if defined(__AVX512F__)
  if constexpr (kSingle) return (V)_mm512_sqrt_ps((__m512)x); else return (V)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX2__)
  if constexpr (kSingle) return (V)_mm256_sqrt_ps((__m256)x); else return (V)_mm256_sqrt_pd((__m256d)x);
#elif defined(__x86_64__)
  if constexpr (kSingle) return (V)_mm_sqrt_ps((__m128)x); else return (V)_mm_sqrt_pd((__m128d)x);
#elif defined(__aarch64__)
  if constexpr (kSingle) return (V)vsqrtq_f32((float32x4_t)x); else return (V)vsqrtq_f64((float64x2_t)x);
#else
  for (int lane = 0; lane < kLanes; lane++) x[lane] = kSingle ? __builtin_sqrtf(x[lane]) : __builtin_sqrt(x[lane]);
  return x;
#endif
}

}  // namespace HEED_SPACE
