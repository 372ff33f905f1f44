// exp, log2, exp2 and powers on vectors, to about one unit in the last place. Series are Taylor's, long enough on the
// reduced range (|r| <= ln 2 / 2 for exp, |s| <= 0.172 for the logarithm) that their remainder is below half a unit.
#pragma once
#include "simd.h"

namespace HEED_SPACE {

constexpr Real kInfinity = Real(__builtin_inf());
constexpr int kFraction = kSingle ? 23 : 52;  // stored bits of the significand
constexpr Bits kExponentBias = kSingle ? 127 : 1023;
constexpr Real kShift = Real(Bits(3) << (kFraction - 1));  // adding it rounds to an integer in the low bits
constexpr Real kLowestExponent = Real(1 - kExponentBias);
constexpr Real kLog2E = Real(1.44269504088896340736);
constexpr Real kLn2 = Real(0.69314718055994530942);
constexpr Real kLn2High = kSingle ? Real(0.693145751953125) : Real(0.693147180369123816490);  // n * high is exact
constexpr Real kLn2Low = kSingle ? Real(1.428606765330187e-06) : Real(1.90821492927058770002e-10);
constexpr Real kLowestLog = kSingle ? Real(-87.33654) : Real(-708.3964);  // exp below this is subnormal: taken as 0
constexpr Real kSmallestNormal = kSingle ? Real(__FLT_MIN__) : Real(__DBL_MIN__);

// exp(r) on the reduced range.
HEED_INLINE V exp_reduced(V r) {
  constexpr int terms = kSingle ? 7 : 13;
  Real factorial = 1;
  for (int n = 2; n <= terms; n++) factorial *= Real(n);
  V sum = splat(1 / factorial);
#pragma GCC unroll 16
  for (int n = terms; n > 0; n--) {
    factorial /= Real(n);
    sum = sum * r + 1 / factorial;
  }
  return sum;
}

// 2^n times x, for x near 1 and results in the normal range. `shifted` is n + kShift: n stands in its low bits, and all
// that stands above them is shifted out.
HEED_INLINE V scaled(V x, V shifted) { return (V)((U)x + ((U)shifted << kFraction)); }

// exp(x) for x <= 0 or NaN; results below the smallest normal number are 0.
HEED_INLINE V exp_negative(V x) {
  const V shifted = x * kLog2E + kShift;
  const V n = shifted - kShift;
  const V r = (x - n * kLn2High) - n * kLn2Low;
  return x < kLowestLog ? V{} : scaled(exp_reduced(r), shifted);
}

// 2^(whole + rest) for whole numbers `whole`: 0 and infinity beyond the normal range, NaN stays NaN.
HEED_INLINE V exp2_of(V whole, V rest) {
  const V shifted = (whole + rest) + kShift;
  const V n = shifted - kShift;
  const V y = scaled(exp_reduced(((whole - n) + rest) * kLn2), shifted);
  const V high = n > Real(kExponentBias) ? splat(kInfinity) : y;
  return n < kLowestExponent ? V{} : high;
}

// log2(x) = exponent + fraction, |fraction| <= 1/2, for normal x > 0.
struct Log2 {
  V exponent, fraction;
};

HEED_INLINE Log2 log2_parts(V x) {
  constexpr Bits root_half = kSingle ? Bits(0x3f3504f3) : Bits(0x3fe6a09e667f3bcdLL);
  const I shifted = (I)x - root_half;
  const I exponent = shifted >> kFraction;
  const V m = (V)((I)x - (exponent << kFraction));  // in [sqrt(1/2), sqrt(2))
  const V s = (m - 1) / (m + 1);
  const V s2 = s * s;
  constexpr int terms = kSingle ? 9 : 23;
  V sum = splat(1 / Real(terms));
#pragma GCC unroll 16
  for (int n = terms - 2; n > 0; n -= 2) sum = sum * s2 + 1 / Real(n);
  const V whole = (V)(exponent + (I)splat(kShift)) - kShift;
  return {whole, s * sum * (2 * kLog2E)};
}

HEED_INLINE V log2_of(V x) {
  const Log2 parts = log2_parts(x);
  return parts.exponent + parts.fraction;
}

// An exponent in two pieces: `high` is so short that its product with an exponent of a Real is exact.
struct Exponent {
  Real value, high, low;
  explicit Exponent(Real a) : value(a) {
    Bits bits;
    memcpy(&bits, &a, sizeof a);
    bits &= ~((Bits(1) << (kSingle ? 10 : 14)) - 1);
    memcpy(&high, &bits, sizeof a);
    low = a - high;
  }
};

// 2^(a * log) for the logarithm of a normal number.
HEED_INLINE V power_of(const Log2& log, const Exponent& a) {
  return exp2_of(log.exponent * a.high, log.exponent * a.low + log.fraction * a.value);
}

// x^a for x >= 0 and a > 0; 0 for subnormal x, infinity and NaN stay.
HEED_INLINE V power(V x, const Exponent& a) {
  const V y = x < kSmallestNormal ? V{} : power_of(log2_parts(x), a);
  return x < kInfinity ? y : x;
}

}  // namespace HEED_SPACE
