// Matrix products of tiles, and scores computed side by side with a product.
#pragma once
#include "scores.h"

namespace HEED_SPACE {

// out[i][e] = start * out[i][e] + sum_t a(i, t) * b[t][e], vectors along e. a(i, t) stands at a[i * row_step + t *
// inner_step]; rows of b and out are `stride` apart, a multiple of kLanes.
struct Product {
  const Real *a, *b;
  Real* out;
  int rows, inner;
  int64_t row_step, inner_step, stride;
  const Real* factors;  // start of each row; null: `start` for all
  Real start;
};

template <int R, int C> HEED_INLINE void begin_product(const Product& x, int row, const Real* out, V (&sums)[R][C]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
    const Real factor = x.factors != nullptr ? x.factors[row + r] : x.start;
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sums[r][c] = factor == 0 ? V{} : load(out + r * x.stride + c * kLanes) * factor;
  }
}

template <int R, int C> HEED_INLINE void end_product(const Product& x, Real* out, const V (&sums)[R][C]) {
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) store(out + r * x.stride + c * kLanes, sums[r][c]);
  }
}

template <int R, int C>
HEED_INLINE void product_stretch(const Product& x, const Real* a, const Real* b, int count, V (&sums)[R][C]) {
  for (int t = 0; t < count; t++, b += x.stride, a += x.inner_step) {
    V values[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) values[c] = load(b + c * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) sums[r][c] += a[r * x.row_step] * values[c];
    }
  }
}

template <int R, int C> HEED_INLINE void product_block(const Product& x, int row, int64_t column) {
  V sums[R][C];
  Real* out = x.out + row * x.stride + column;
  begin_product(x, row, out, sums);
  product_stretch(x, x.a + row * x.row_step, x.b + column, x.inner, sums);
  end_product(x, out, sums);
}

// Columns from `column` on of the rows [row, end).
template <int R> HEED_INLINE void product_rows(const Product& x, int row, int end, int64_t column) {
  for (; row + R <= end; row += R) {
    int64_t at = column;
    for (; at + kBlockVectors * kLanes <= x.stride; at += kBlockVectors * kLanes)
      product_block<R, kBlockVectors>(x, row, at);
    for (; at < x.stride; at += kLanes) product_block<R, 1>(x, row, at);
  }
  if constexpr (R > 1) product_rows<1>(x, row, end, column);
}

template <int R = kBlockRows> static void multiply(const Product& x) { product_rows<R>(x, 0, x.rows, 0); }

// Blocks of both in registers at once. Differences mostly add, products mostly multiply: processors that have units of
// their own for either (Zen) do both at the same time.
constexpr int kPairedRows = 3, kPairedVectors = 4;
constexpr bool kPairs = kRegisters == 32 && kTileKeys == kPairedVectors * kLanes;

// Operands by value: copies stay in registers, whatever `fresh` tells the compiler about memory.
template <class M> HEED_INLINE void score_and_product_block(const Operands x, const Product y, int row, Real* s) {
  constexpr int R = kPairedRows, C = kPairedVectors;
  const V one = opaque(splat(1));
  V products[R][C];
  Real* out = y.out + row * y.stride;
  begin_product(y, row, out, products);
  const Real *a = y.a + row * y.row_step, *b = y.b;
  int done = 0, first = 0;
  do {
    const int last = x.width - first > M::stretch ? first + M::stretch : x.width;
    const int both = last < y.inner ? last : y.inner;
    V sums[R][C] = {};
    for (; done < both; done++) {
      V k[C], values[C];
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) k[c] = opaque(load(x.kt + done * kTileKeys + c * kLanes));
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const V q = opaque(M::spread(x.q + (row + r) * x.stride + done));
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) sums[r][c] = step_of<M>(sums[r][c], q, k[c], one, r + c);
      }
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) values[c] = opaque(load(b + done * y.stride + c * kLanes));
      const Real* weights = a + done * y.inner_step;
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) products[r][c] += fresh(weights + r * y.row_step) * values[c];
      }
    }
    if (done < last) score_stretch<M, R, C>(x, row, 0, first > done ? first : done, last, sums);
    keep_sums<M>(x, row, 0, first == 0, last == x.width, sums, s);
    first = last;
  } while (first < x.width);
  if (done < y.inner) product_stretch(y, a + done * y.inner_step, b + done * y.stride, y.inner - done, products);
  end_product(y, out, products);
}

// Scores of one tile and the product of another.
template <class M> static void score_and_multiply(const Operands& x, Real* s, const Product& y) {
  int row = 0;
  if constexpr (kPairs && !M::paired) {
    const int rows = x.rows < y.rows ? x.rows : y.rows;
    if (y.stride >= kTileKeys)
      for (; row + kPairedRows <= rows; row += kPairedRows) score_and_product_block<M>(x, y, row, s);
    product_rows<kPairedRows>(y, 0, row, kTileKeys);
  }
  score_rows<M>(x, row, s);
  product_rows<kBlockRows>(y, row, y.rows, 0);
}

// Scores of one tile by any metric, and the product of another.
static void scores(const Metric& metric, const Operands& x, Real* s, const Product& y) {
  switch (metric.form) {
    case kFormDot:
    case kFormCosine: return score_and_multiply<Dot>(x, s, y);  // of directions
    case kFormL1: return x.grid > 0 ? score_and_multiply<WholeL1>(x, s, y) : score_and_multiply<L1>(x, s, y);
    case kFormL2: return score_and_multiply<L2>(x, s, y);
    case kFormSquare: return score_and_multiply<Square>(x, s, y);
    case kFormHalf: return score_and_multiply<Half>(x, s, y);
    case kFormThreeHalves: return score_and_multiply<ThreeHalves>(x, s, y);
    case kFormCube: return score_and_multiply<Cube>(x, s, y);
    case kFormFourth: return score_and_multiply<Fourth>(x, s, y);
    case kFormPower:
      multiply(y);
      return power_tile<false>(x, metric.p, s, nullptr);
    case kFormChebyshev:
      return x.finite ? score_and_multiply<FiniteChebyshev>(x, s, y) : score_and_multiply<Chebyshev>(x, s, y);
    case kFormL21: return score_and_multiply<L21>(x, s, y);
    case kFormLinf2: return score_and_multiply<Linf2>(x, s, y);
  }
}

}  // namespace HEED_SPACE
