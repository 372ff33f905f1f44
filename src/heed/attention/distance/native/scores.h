// Scores of a tile: s[r][j] = -distance(q_r, k_j), or +q_r.k_j for the dot product. Vectors run along keys; a block of
// rows times vectors stays in registers while the loop runs over the width.
#pragma once
#include "elementary.h"
#include "problem.h"

namespace HEED_SPACE {

constexpr int kTileRows = 48;  // queries of a tile
constexpr int kTileKeys = 64;  // keys of a tile: the row length of every tile buffer
constexpr int kTileSize = kTileRows * kTileKeys;

// Register blocks: rows and vectors of accumulators, beside the operands of one step.
constexpr int kBlockRows = kRegisters == 32 ? 6 : 3;
constexpr int kBlockVectors = 4;
constexpr int kKeyRows = kRegisters == 32 ? 4 : 3;  // where the rows are keys: 4 divides a tile of them

// How a head measures: the kernel, with lp sent to the cheapest exact form of its p.
enum Form { kFormDot, kFormL1, kFormL2, kFormSquare, kFormHalf, kFormThreeHalves, kFormCube, kFormFourth, kFormPower,
            kFormChebyshev, kFormL21, kFormLinf2, kFormCosine };

struct Metric {
  Form form;
  Real p;
};

HEED_INLINE Metric metric_of(const Problem& problem, int64_t head) {
  switch (problem.kernel) {
    case kDot: return {kFormDot, 0};
    case kL1: return {kFormL1, 1};
    case kL2: return {kFormL2, 2};
    case kSqeuclidean: return {kFormSquare, 2};
    case kChebyshev: return {kFormChebyshev, kInfinity};
    case kL21: return {kFormL21, 0};
    case kLinf2: return {kFormLinf2, 0};
    case kCosine: return {kFormCosine, 0};
  }
  const Real p = Real(problem.p[head]);
  const Form form = p == Real(0.5) ? kFormHalf : p == 1 ? kFormL1 : p == Real(1.5) ? kFormThreeHalves : p == 2 ? kFormL2
                  : p == 3 ? kFormCube : p == 4 ? kFormFourth : p == kInfinity ? kFormChebyshev : kFormPower;
  return {form, p};
}

HEED_INLINE bool is_paired(int64_t kernel) { return kernel == kL21 || kernel == kLinf2; }

// One accumulator per (row, key): `step` takes one coordinate in, `close` makes the score of what came together, `join`
// makes one accumulator of two. Sums are taken in stretches of `stretch` coordinates, which keeps their rounding error
// near that of a pairwise sum.
struct Summed {
  static constexpr bool paired = false, two_adders = false, whole = false;
  static constexpr int stretch = 32;
  HEED_INLINE V spread(const Real* at) { return splat(*at); }
  HEED_INLINE V join(V a, V b) { return a + b; }
};

struct Dot : Summed {
  static constexpr int stretch = 1 << 30;  // as a matrix product does
  HEED_INLINE V step(V sum, V q, V k) { return sum + q * k; }
  HEED_INLINE V close(V sum) { return sum; }
};

// Every other sum is taken on the multipliers: processors with units of their own for additions (Zen) use both at once.
struct L1 : Summed {
  static constexpr bool two_adders = true;
  HEED_INLINE V step(V sum, V q, V k) { return sum + absolute(q - k); }
  HEED_INLINE V step(V sum, V q, V k, V one) { return sum + absolute(q - k) * one; }
  HEED_INLINE V close(V sum) { return -sum; }
};

// The same in whole numbers, where both fit a grid (grid.h): sums of the smaller of two, taken modulo 2^32.
struct WholeL1 {
  static constexpr bool paired = false, two_adders = false, whole = true;
  static constexpr int stretch = 1 << 30;
  HEED_INLINE V spread(const Real* at) {
    Bits bits;
    memcpy(&bits, at, sizeof bits);
    return (V)splat_bits(bits);
  }
  HEED_INLINE V join(V a, V b) { return (V)((U)a + (U)b); }
  HEED_INLINE V step(V sum, V q, V k) { return (V)((U)sum + (U)smaller((I)q, (I)k)); }
  HEED_INLINE V close(V sum, U totals) { return -__builtin_convertvector((I)(totals - (U)sum - (U)sum), V); }
};

struct Square : Summed {
  HEED_INLINE V step(V sum, V q, V k) { const V d = q - k; return sum + d * d; }
  HEED_INLINE V close(V sum) { return -sum; }
};

struct L2 : Square {
  HEED_INLINE V close(V sum) { return -square_root(sum); }
};

struct Half : Summed {
  HEED_INLINE V step(V sum, V q, V k) { return sum + square_root(absolute(q - k)); }
  HEED_INLINE V close(V sum) { return -(sum * sum); }
};

struct ThreeHalves : Summed {
  HEED_INLINE V step(V sum, V q, V k) { const V d = absolute(q - k); return sum + d * square_root(d); }
  HEED_INLINE V close(V sum) { return -power(sum, Exponent(Real(2) / 3)); }
};

struct Cube : Summed {
  HEED_INLINE V step(V sum, V q, V k) { const V d = q - k; return sum + absolute(d) * (d * d); }
  HEED_INLINE V close(V sum) { return -power(sum, Exponent(Real(1) / 3)); }
};

struct Fourth : Summed {
  HEED_INLINE V step(V sum, V q, V k) { const V d = q - k, d2 = d * d; return sum + d2 * d2; }
  HEED_INLINE V close(V sum) { return -square_root(square_root(sum)); }
};

struct Chebyshev {
  static constexpr bool paired = false, two_adders = false, whole = false;
  static constexpr int stretch = 1 << 30;
  HEED_INLINE V spread(const Real* at) { return splat(*at); }
  HEED_INLINE V step(V top, V q, V k) { return larger_magnitude(top, absolute(q - k)); }
  HEED_INLINE V join(V a, V b) { return larger_magnitude(a, b); }
  HEED_INLINE V close(V top) { return -top; }
};

// The same where q and k are finite: then no difference is NaN, and one instruction may stand for two. It waits for the
// units that add; every other maximum is taken of integers, which any unit compares.
struct FiniteChebyshev : Chebyshev {
  static constexpr bool two_adders = true;
  HEED_INLINE V step(V top, V q, V k) { return larger_of_magnitudes(top, q - k); }
  HEED_INLINE V step(V top, V q, V k, V) { return Chebyshev::step(top, q, k); }
};

struct L21 : Summed {
  static constexpr bool paired = true;
  HEED_INLINE V step(V sum, V square) { return sum + square_root(square); }
  HEED_INLINE V close(V sum) { return -sum; }
};

struct Linf2 : Chebyshev {
  static constexpr bool paired = true;
  HEED_INLINE V step(V top, V square) { return larger_magnitude(top, square); }
  HEED_INLINE V close(V top) { return -square_root(top); }
};

// Rows of q in memory: `stride` apart; the second half of a paired row starts at `half`. kt is [width][kTileKeys].
struct Operands {
  const Real *q, *kt;
  int64_t stride, half;
  int rows, width;
  bool finite;             // q and k hold neither infinities nor NaN
  Real grid;               // q and k are whole numbers of this; 0: they are not
  const Bits* totals;      // of each row of q, and behind the last row of kt of each key, where they are
};

template <class M> HEED_INLINE V step_of(V sum, V q, V k, V one, int place) {
  if constexpr (M::two_adders) {
    return place % 2 ? M::step(sum, q, k, one) : M::step(sum, q, k);
  } else {
    return M::step(sum, q, k);
  }
}

// Coordinates [first, last) of R rows and C vectors of keys; `sums` come in and go out of registers once.
template <class M, int R, int C>
HEED_INLINE void score_stretch(const Operands& x, int row, int column, int first, int last, V (&sums)[R][C]) {
  const Real* q = x.q + row * x.stride;
  const Real* kt = x.kt + first * kTileKeys + column;
  const int64_t second_half = x.width / 2 * kTileKeys;
  const V one = opaque(splat(1));
  for (int d = first; d < last; d++, kt += kTileKeys) {
    V k[C], second[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) {
      k[c] = load(kt + c * kLanes);
      if constexpr (M::paired) second[c] = load(kt + second_half + c * kLanes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const Real* at = q + r * x.stride + d;
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) {
        if constexpr (M::paired) {
          const V a = at[0] - k[c], b = at[x.half] - second[c];
          sums[r][c] = M::step(sums[r][c], a * a + b * b);
        } else {
          sums[r][c] = step_of<M>(sums[r][c], M::spread(at), k[c], one, r + c);
        }
      }
    }
  }
}

// The score of what came together for a row and a vector of keys.
template <class M> HEED_INLINE V score_of(const Operands& x, int row, int column, V sum) {
  if constexpr (M::whole) {
    const Bits* keys = reinterpret_cast<const Bits*>(x.kt + x.width * kTileKeys);
    return M::close(sum, (U)splat_bits(x.totals[row]) + (U)load_bits(keys + column)) * x.grid;
  } else {
    return M::close(sum);
  }
}

// Adds the sums of a stretch to those before it; the last one makes scores of them.
template <class M, int R, int C>
HEED_INLINE void keep_sums(const Operands& x, int row, int column, bool first, bool last, const V (&sums)[R][C],
                           Real* s) {
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) {
      Real* at = s + (row + r) * kTileKeys + column + c * kLanes;
      const V sum = first ? sums[r][c] : M::join(sums[r][c], load(at));
      store(at, last ? score_of<M>(x, row + r, column + c * kLanes, sum) : sum);
    }
  }
}

template <class M, int R, int C> HEED_INLINE void score_block(const Operands& x, int row, int column, Real* s) {
  const int steps = M::paired ? x.width / 2 : x.width;
  int first = 0;
  do {
    const int last = steps - first > M::stretch ? first + M::stretch : steps;
    V sums[R][C] = {};
    score_stretch<M, R, C>(x, row, column, first, last, sums);
    keep_sums<M>(x, row, column, first == 0, last == steps, sums, s);
    first = last;
  } while (first < steps);
}

// Scores of the rows from `row` on.
template <class M> HEED_INLINE void score_rows(const Operands& x, int row, Real* s) {
  for (; row + kBlockRows <= x.rows; row += kBlockRows)
    for (int column = 0; column < kTileKeys; column += kBlockVectors * kLanes)
      score_block<M, kBlockRows, kBlockVectors>(x, row, column, s);
  for (; row < x.rows; row++)
    for (int column = 0; column < kTileKeys; column += kBlockVectors * kLanes)
      score_block<M, 1, kBlockVectors>(x, row, column, s);
}

template <class M> static void score_tile(const Operands& x, Real* s) { score_rows<M>(x, 0, s); }

// What the gradient of a general power needs of each pair, with r = |d| / m and m the largest |d|: m, sum r^p, and
// sum r^p log2 r.
struct Powers {
  Real *tops, *sums, *moments;
};

// Any p > 0 as m * (sum r^p)^(1/p): no term overflows, and the largest is exactly 1. `powers` only where `detailed`.
template <bool detailed> static void power_tile(const Operands& x, Real p, Real* s, const Powers* powers) {
  score_tile<Chebyshev>(x, s);
  constexpr int C = 2;
  const Exponent exponent(p), root(1 / p);
  for (int i = 0; i < x.rows * kTileKeys; i += C * kLanes) {
    const Real *q = x.q + i / kTileKeys * x.stride, *kt = x.kt + i % kTileKeys;
    V top[C], sums[C] = {}, moments[C] = {};
    for (int c = 0; c < C; c++) top[c] = -load(s + i + c * kLanes);
    for (int d = 0; d < x.width; d++, kt += kTileKeys) {
      for (int c = 0; c < C; c++) {
        const V size = absolute(q[d] - load(kt + c * kLanes)), r = size / top[c];
        const Log2 log = log2_parts(r);
        const V term = r < kSmallestNormal ? V{} : power_of(log, exponent);
        sums[c] += term;
        if constexpr (detailed) moments[c] += r < kSmallestNormal ? V{} : term * (log.exponent + log.fraction);
      }
    }
    for (int c = 0; c < C; c++) {
      const int at = i + c * kLanes;
      const V distance = top[c] * power(sums[c], root);
      const V whole = top[c] < kInfinity ? distance : top[c];
      store(s + at, top[c] < kSmallestNormal ? V{} : -whole);
      if constexpr (detailed) {
        store(powers->tops + at, top[c]);
        store(powers->sums + at, sums[c]);
        store(powers->moments + at, moments[c]);
      }
    }
  }
}

}  // namespace HEED_SPACE
