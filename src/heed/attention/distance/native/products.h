// Matrix products of tiles: out[i][e] = factor[i] * out[i][e] + sum_t a(i, t) * b[t][e], vectors along e.
#pragma once
#include "scores.h"

namespace HEED_SPACE {

// a(i, t) stands at a[i * row_step + t * inner_step]; rows of b and out are `stride` apart, a multiple of kLanes.
struct Product {
  const Real *a, *b, *factor;  // factor null: 1
  Real* out;
  int rows, inner;
  int64_t stride;
};

template <int row_step, int inner_step, int R, int C>
HEED_INLINE void product_block(const Product& x, int row, int64_t column) {
  const Real* a = x.a + row * row_step;
  const Real* b = x.b + column;
  Real* out = x.out + row * x.stride + column;
  V sums[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) {
      sums[r][c] = load(out + r * x.stride + c * kLanes);
      if (x.factor != nullptr) sums[r][c] *= x.factor[row + r];
    }
  }
  for (int t = 0; t < x.inner; t++, b += x.stride, a += inner_step) {
    V values[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) values[c] = load(b + c * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) sums[r][c] += a[r * row_step] * values[c];
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) store(out + r * x.stride + c * kLanes, sums[r][c]);
  }
}

template <int row_step, int inner_step, int R> HEED_INLINE void product_rows(const Product& x, int row) {
  int64_t column = 0;
  for (; column + kBlockVectors * kLanes <= x.stride; column += kBlockVectors * kLanes)
    product_block<row_step, inner_step, R, kBlockVectors>(x, row, column);
  for (; column < x.stride; column += kLanes) product_block<row_step, inner_step, R, 1>(x, row, column);
}

template <int row_step, int inner_step> static void multiply(const Product& x) {
  constexpr int rows = inner_step == 1 ? kBlockRows : 4;  // of keys, 64 to a tile, blocks of 4 leave none over
  int row = 0;
  for (; row + rows <= x.rows; row += rows) product_rows<row_step, inner_step, rows>(x, row);
  for (; row < x.rows; row++) product_rows<row_step, inner_step, 1>(x, row);
}

}  // namespace HEED_SPACE
