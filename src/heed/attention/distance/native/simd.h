// Vectors as wide as the registers of the instruction set this file is compiled for, and the few operations on them.
// Everything here and below lives in a namespace of its own for each variant, and uses nothing of the standard library
// that could be emitted as a shared template: code for one instruction set must never be linked into another.
#pragma once
#include <cstdint>
#include <cstring>
#include <utility>
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
using UnsignedBits = Either<uint32_t, uint64_t, kSingle>::type;

typedef Real V __attribute__((vector_size(kBytes)));
typedef Bits I __attribute__((vector_size(kBytes)));
typedef UnsignedBits U __attribute__((vector_size(kBytes)));
typedef Real Unaligned __attribute__((vector_size(kBytes), aligned(sizeof(Real)), may_alias));

#define HEED_INLINE static inline __attribute__((always_inline))

HEED_INLINE V load(const Real* from) { return *reinterpret_cast<const Unaligned*>(from); }
HEED_INLINE I load_bits(const Bits* from) { return (I)load(reinterpret_cast<const Real*>(from)); }
HEED_INLINE void store_bits(Bits* to, I x) { *reinterpret_cast<Unaligned*>(to) = (V)x; }
HEED_INLINE void store(Real* to, V x) { *reinterpret_cast<Unaligned*>(to) = x; }
HEED_INLINE I splat_bits(Bits x) { return I{} + x; }
HEED_INLINE V splat(Real x) { return x - V{}; }  // x - 0 is x for every x; x + 0 would turn -0 into 0

constexpr Bits kSignBit = Bits(1) << (8 * sizeof(Real) - 1);
HEED_INLINE V absolute(V x) { return (V)((I)x & ~kSignBit); }

// The larger of two values; b where one of them is NaN.
HEED_INLINE V larger(V a, V b) {
#if defined(__AVX512F__)
  if constexpr (kSingle) return (V)_mm512_max_ps((__m512)a, (__m512)b);
  return (V)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(__AVX2__)
  if constexpr (kSingle) return (V)_mm256_max_ps((__m256)a, (__m256)b);
  return (V)_mm256_max_pd((__m256d)a, (__m256d)b);
#else
  return a > b ? a : b;
#endif
}

// The larger of a and |b|, for a without sign bit, and neither NaN.
HEED_INLINE V larger_of_magnitudes(V a, V b) {
#if defined(__AVX512DQ__)
  constexpr int absolute_maximum = 0xb;  // and the sign cleared
  if constexpr (kSingle) return (V)_mm512_range_ps((__m512)a, (__m512)b, absolute_maximum);
  return (V)_mm512_range_pd((__m512d)a, (__m512d)b, absolute_maximum);
#else
  return larger(a, absolute(b));
#endif
}

// The larger of two values without sign bit, NaN above infinity: their bits are ordered as they are.
HEED_INLINE V larger_magnitude(V a, V b) {
#if defined(__AVX512F__)
  if constexpr (kSingle) return (V)_mm512_max_epi32((__m512i)a, (__m512i)b);
  return (V)_mm512_max_epi64((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
  if constexpr (kSingle) return (V)_mm256_max_epi32((__m256i)a, (__m256i)b);
  return (I)a > (I)b ? a : b;
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

// w with the sign of d, and 0 where d is 0.
HEED_INLINE V directed(V w, V d) {
#if defined(__AVX512F__)
  const I sign = I{} + kSignBit, size = ~sign;
  constexpr int flip = 0x6a;  // w ^ (d & sign)
  if constexpr (kSingle) {
    const __mmask16 some = _mm512_test_epi32_mask((__m512i)d, (__m512i)size);
    return (V)_mm512_maskz_ternarylogic_epi32(some, (__m512i)d, (__m512i)sign, (__m512i)w, flip);
  } else {
    const __mmask8 some = _mm512_test_epi64_mask((__m512i)d, (__m512i)size);
    return (V)_mm512_maskz_ternarylogic_epi64(some, (__m512i)d, (__m512i)sign, (__m512i)w, flip);
  }
#else
  return (V)(((I)w ^ ((I)d & kSignBit)) & (I)(d != 0));
#endif
}

#if defined(__AVX2__)
constexpr bool kWhole = kSingle;  // the smaller of two integers is one instruction
#else
constexpr bool kWhole = false;
#endif

HEED_INLINE I smaller(I a, I b) { return a < b ? a : b; }

// The nearest whole numbers.
HEED_INLINE I rounded(V x) {
#if defined(__AVX512F__)
  if constexpr (kSingle) return (I)_mm512_cvtps_epi32((__m512)x);
#elif defined(__AVX2__)
  if constexpr (kSingle) return (I)_mm256_cvtps_epi32((__m256)x);
#endif
  return __builtin_convertvector(x, I);
}

// -1, 0 or 1, for |d| that is 0 or at least 1.
HEED_INLINE V sign_of(V d) {
#if defined(__AVX512DQ__)
  constexpr int absolute_minimum = 0x2;  // with the sign of the first
  if constexpr (kSingle) return (V)_mm512_range_ps((__m512)d, (__m512)splat(1), absolute_minimum);
  return (V)_mm512_range_pd((__m512d)d, (__m512d)splat(1), absolute_minimum);
#else
  return directed(splat(1), d);
#endif
}

// A factor for all lanes from memory, read at each use, so that it can be an operand of the instruction that uses it.
HEED_INLINE V fresh(const Real* at) {
#if defined(__AVX512F__)
  asm volatile("" ::: "memory");
#endif
  return splat(*at);
}

template <int bytes> struct Part { typedef Real type __attribute__((vector_size(bytes))); };

#if defined(__has_builtin) && __has_builtin(__builtin_shufflevector)
// Swaps the upper half of each 2h lanes of a with the lower half of those of b.
template <int h, size_t... lane> HEED_INLINE void cross(V& a, V& b, std::index_sequence<lane...>) {
  const V low = __builtin_shufflevector(a, b, int(lane & h ? kLanes + lane - h : lane)...);
  b = __builtin_shufflevector(a, b, int(lane & h ? kLanes + lane : lane + h)...);
  a = low;
}

// Rows become columns, in log2(lanes) rounds.
template <int h = 1> HEED_INLINE void transpose_block(V* rows) {
  if constexpr (h < kLanes) {
#pragma GCC unroll 16
    for (int i = 0; i < kLanes; i++)
      if ((i & h) == 0) cross<h>(rows[i], rows[i + h], std::make_index_sequence<kLanes>{});
    transpose_block<2 * h>(rows);
  }
}

// Lane i of the result is M::join of all lanes of rows[i].
template <class M, int h = kLanes / 2> HEED_INLINE V joined(V* rows) {
  if constexpr (h == 0) {
    return rows[0];
  } else {
#pragma GCC unroll 8
    for (int i = 0; i < h; i++) {
      cross<h>(rows[i], rows[i + h], std::make_index_sequence<kLanes>{});
      rows[i] = M::join(rows[i], rows[i + h]);
    }
    return joined<M, h / 2>(rows);
  }
}
#else
HEED_INLINE void transpose_block(V* rows) {
  for (int i = 0; i < kLanes; i++) {
    for (int j = 0; j < i; j++) {
      const Real x = rows[i][j];
      rows[i][j] = rows[j][i];
      rows[j][i] = x;
    }
  }
}

template <class M> HEED_INLINE V joined(V* rows) {
  transpose_block(rows);
  V all = rows[0];
  for (int i = 1; i < kLanes; i++) all = M::join(all, rows[i]);
  return all;
}
#endif

// The sum of all lanes, or the largest, by halves.
template <bool add, int bytes> HEED_INLINE Real folded(typename Part<bytes>::type x) {
  if constexpr (bytes == sizeof(Real)) {
    return x[0];
  } else {
    typename Part<bytes / 2>::type low, high;
    memcpy(&low, &x, bytes / 2);
    memcpy(&high, reinterpret_cast<char*>(&x) + bytes / 2, bytes / 2);
    if constexpr (add) return folded<add, bytes / 2>(low + high);
    return folded<add, bytes / 2>(low > high ? low : high);
  }
}

HEED_INLINE Real sum_of(V x) { return folded<true, kBytes>(x); }
HEED_INLINE Real max_of(V x) { return folded<false, kBytes>(x); }

// Whether none of `count` values, whole vectors of them, is infinite or NaN.
HEED_INLINE bool all_finite(const Real* x, int64_t count) {
  V sum = {};
  for (int64_t i = 0; i < count; i += kLanes) sum += load(x + i) - load(x + i);
  return sum_of(sum) == 0;
}

#if defined(__AVX512DQ__)
// The estimate of the inverse root, one Newton step, and the argument itself where it is 0 or infinite: to one unit in
// the last place, at half the time of the exact instruction.
HEED_INLINE __m512 square_root_of(__m512 x) {
  const __m512 inverse = _mm512_rsqrt14_ps(x), y = _mm512_mul_ps(x, inverse);
  const __m512 rest = _mm512_fnmadd_ps(y, y, x), half = _mm512_mul_ps(inverse, _mm512_set1_ps(0.5f));
  constexpr int zero_or_infinite = 0x02 | 0x04 | 0x08;
  return _mm512_mask_mov_ps(_mm512_fmadd_ps(rest, half, y), _mm512_fpclass_ps_mask(x, zero_or_infinite), x);
}
#endif

HEED_INLINE V square_root(V x) {
#if defined(__AVX512DQ__)
  if constexpr (kSingle) return (V)square_root_of((__m512)x);
  return (V)_mm512_sqrt_pd((__m512d)x);
#elif defined(__AVX2__)
  if constexpr (kSingle) return (V)_mm256_sqrt_ps((__m256)x);
  return (V)_mm256_sqrt_pd((__m256d)x);
#elif defined(__x86_64__)
  if constexpr (kSingle) return (V)_mm_sqrt_ps((__m128)x);
  return (V)_mm_sqrt_pd((__m128d)x);
#elif defined(__aarch64__)
  if constexpr (kSingle) return (V)vsqrtq_f32((float32x4_t)x);
  return (V)vsqrtq_f64((float64x2_t)x);
#else
  for (int lane = 0; lane < kLanes; lane++) x[lane] = kSingle ? __builtin_sqrtf(x[lane]) : __builtin_sqrt(x[lane]);
  return x;
#endif
}

}  // namespace HEED_SPACE
