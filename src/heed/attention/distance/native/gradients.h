// Gradients of a tile's distances: dq_r -= sum_j t_rj and dk_j += sum_r t_rj, with w = strength * dS and t_rj = w_rj
// times the gradient of dist(q_r, k_j) in q_r; for the dot product dq_r += sum_j w_rj k_j and dk_j += sum_r w_rj q_r.
// Vectors run along the width.
#pragma once
#include "products.h"

namespace HEED_SPACE {

// Rows of q, k and their gradients, `stride` apart; tiles of w and of distances.
struct Pull {
  const Real *q, *k, *kt;
  Real *grad_q, *grad_k, *w, *distances;
  double* grad_p;  // [rows]; null where it is not wanted
  int64_t stride, half;
  int rows, keys, width;
  bool apart;  // differences of q and k are 0 or at least 1 (`set_apart`)
};

HEED_INLINE V where_nonzero(V d, V x) { return d == 0 ? V{} : x; }

// A power of the distance that is subnormal counts as 0, and so does the gradient.
HEED_INLINE V over(V w, V power) { return power < kSmallestNormal ? V{} : w / power; }

// `weigh` turns w and the distance of a pair into the factor of `term`, which gives t for the difference d = q - k.
struct PullSquare : Summed {
  HEED_INLINE V weigh(V w, V) { return w + w; }
  HEED_INLINE V term(V d, V w) { return d * w; }
};

struct PullL1 : L1 {
  HEED_INLINE V weigh(V w, V) { return w; }
  HEED_INLINE V term(V d, V w) { return directed(w, d); }
};

// Where only the sign of a difference counts, rows may be multiplied by a power of two so large that no difference lies
// between 0 and 1, and so small that none overflows. Only those below 2^-120, or 2^-124 of the largest number, could.
struct PullApart : Summed {
  HEED_INLINE V weigh(V w, V) { return w; }
  HEED_INLINE V term(V d, V w) { return sign_of(d) * w; }
};

HEED_INLINE Real factor_apart(Real largest) {
  Real factor = Real(0x1p120);
  while (largest * factor > Real(0x1p124)) factor /= 2;
  return factor;
}

HEED_INLINE void set_apart(Real* rows, int64_t count, Real factor) {
  for (int64_t i = 0; i < count; i += kLanes) store(rows + i, load(rows + i) * factor);
}

struct PullL2 : PullSquare {
  HEED_INLINE V weigh(V w, V distance) { return where_nonzero(distance, w / distance); }
};

struct PullHalf : Summed {
  HEED_INLINE V weigh(V w, V distance) { return w * square_root(distance); }
  HEED_INLINE V term(V d, V w) { return where_nonzero(d, directed(w / square_root(absolute(d)), d)); }
};

struct PullThreeHalves : Summed {
  HEED_INLINE V weigh(V w, V distance) { return where_nonzero(distance, w / square_root(distance)); }
  HEED_INLINE V term(V d, V w) { return directed(square_root(absolute(d)) * w, d); }
};

struct PullCube : Summed {
  HEED_INLINE V weigh(V w, V distance) { return over(w, distance * distance); }
  HEED_INLINE V term(V d, V w) { return absolute(d) * d * w; }
};

struct PullFourth : Summed {
  HEED_INLINE V weigh(V w, V distance) { return over(w, distance * distance * distance); }
  HEED_INLINE V term(V d, V w) { return d * d * d * w; }
};

// R rows of q and C vectors of the width in registers, keys one after the other.
template <class M, int R, int C> HEED_INLINE void pull_block(const Pull& x, int row, int64_t column) {
  V q[R][C], grad_q[R][C];
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) {
      q[r][c] = load(x.q + (row + r) * x.stride + column + c * kLanes);
      grad_q[r][c] = load(x.grad_q + (row + r) * x.stride + column + c * kLanes);
    }
  }
  const V one = opaque(splat(1));
  for (int j = 0; j < x.keys; j++) {
    const Real* w = x.w + row * kTileKeys + j;
    V k[C], grad_k[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) {
      k[c] = opaque(load(x.k + j * x.stride + column + c * kLanes));
      grad_k[c] = load(x.grad_k + j * x.stride + column + c * kLanes);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      const V factor = opaque(splat(w[r * kTileKeys]));
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) {
        const V t = M::term(q[r][c] - k[c], factor);
        grad_q[r][c] -= t;
        grad_k[c] += M::two_adders ? t * one : t;  // as in the scores
      }
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) store(x.grad_k + j * x.stride + column + c * kLanes, grad_k[c]);
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; r++) {
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) store(x.grad_q + (row + r) * x.stride + column + c * kLanes, grad_q[r][c]);
  }
}

constexpr int kPullRows = 4, kPullVectors = kRegisters == 32 ? 2 : 1;

template <class M, int C> HEED_INLINE void pull_columns(const Pull& x, int64_t column) {
  int row = 0;
  for (; row + kPullRows <= x.rows; row += kPullRows) pull_block<M, kPullRows, C>(x, row, column);
  for (; row < x.rows; row++) pull_block<M, 1, C>(x, row, column);
}

template <class M> static void pull_tile(const Pull& x) {
  for (int i = 0; i < x.rows * kTileKeys; i += kLanes)
    store(x.w + i, M::weigh(load(x.w + i), load(x.distances + i)));
  int64_t column = 0;
  for (; column + kPullVectors * kLanes <= x.stride; column += kPullVectors * kLanes)
    pull_columns<M, kPullVectors>(x, column);
  for (; column < x.stride; column += kLanes) pull_columns<M, 1>(x, column);
}

// From the gradient of a direction to that of the row that has it, which was multiplied by `inverse`.
HEED_INLINE void pull_unit(const Real* unit, Real inverse, int64_t stride, Real* grad) {
  V sum = {};
  for (int64_t d = 0; d < stride; d += kLanes) sum += load(unit + d) * load(grad + d);
  const Real along = sum_of(sum);
  for (int64_t d = 0; d < stride; d += kLanes) store(grad + d, (load(grad + d) - load(unit + d) * along) * inverse);
}

// q.k: two matrix products.
static void pull_dot(const Pull& x) {
  multiply({x.w, x.k, x.grad_q, x.rows, x.keys, kTileKeys, 1, x.stride, nullptr, 1});
  multiply<kKeyRows>({x.w, x.q, x.grad_k, x.keys, x.rows, 1, kTileKeys, x.stride, nullptr, 1});
}

// Of the power mean: d dist / d p = dist (sum r^p ln r / (p sum r^p) - ln(sum r^p / width) / p^2).
static void add_grad_p(const Pull& x, const Powers& powers, Real p) {
  const Real share = 1 / Real(x.width);
  for (int r = 0; r < x.rows; r++) {
    V sum = {};
    for (int i = r * kTileKeys; i < (r + 1) * kTileKeys; i += kLanes) {
      const V total = load(powers.sums + i), slope = load(powers.moments + i) / total - log2_of(total * share) / p;
      sum += load(powers.tops + i) < kSmallestNormal ? V{} : load(x.w + i) * load(x.distances + i) * slope;
    }
    x.grad_p[r] -= double(sum_of(sum)) * double(kLn2) / double(p);
  }
}

// Any p: d dist / d|d| = (sum r^p)^(1/p - 1) r^(p-1).
static void pull_power(const Pull& x, const Powers& powers, Real p) {
  const Exponent exponent(p - 1), root(1 - 1 / p);
  for (int i = 0; i < x.rows * kTileKeys; i += kLanes) {
    const V w = load(x.w + i) / power_of(log2_parts(load(powers.sums + i)), root);
    store(x.w + i, load(powers.tops + i) < kSmallestNormal ? V{} : w);
  }
  for (int r = 0; r < x.rows; r++) {
    for (int64_t column = 0; column < x.stride; column += kLanes) {
      const V q = load(x.q + r * x.stride + column);
      V grad_q = load(x.grad_q + r * x.stride + column);
      for (int j = 0; j < x.keys; j++) {
        const Real w = x.w[r * kTileKeys + j], top = powers.tops[r * kTileKeys + j];
        if (w == 0) continue;
        Real* grad_k = x.grad_k + j * x.stride + column;
        const V d = q - load(x.k + j * x.stride + column), ratio = absolute(d) / top;
        const V t = ratio < kSmallestNormal ? V{} : directed(power_of(log2_parts(ratio), exponent) * w, d);
        grad_q -= t;
        store(grad_k, load(grad_k) + t);
      }
      store(x.grad_q + r * x.stride + column, grad_q);
    }
  }
}

// Sum over pairs of their 2-norms n: both coordinates of a pair get w / n times their difference.
static void pull_pairs(const Pull& x) {
  for (int r = 0; r < x.rows; r++) {
    for (int64_t column = 0; column < x.half; column += kLanes) {
      const Real *q = x.q + r * x.stride + column, *w = x.w + r * kTileKeys;
      Real* grad_q = x.grad_q + r * x.stride + column;
      V first = load(grad_q), second = load(grad_q + x.half);
      for (int j = 0; j < x.keys; j++) {
        const Real* k = x.k + j * x.stride + column;
        Real* grad_k = x.grad_k + j * x.stride + column;
        const V a = load(q) - load(k), b = load(q + x.half) - load(k + x.half), norm = square_root(a * a + b * b);
        const V scale = where_nonzero(norm, w[j] / norm);
        first -= a * scale;
        second -= b * scale;
        store(grad_k, load(grad_k) + a * scale);
        store(grad_k + x.half, load(grad_k + x.half) + b * scale);
      }
      store(grad_q, first);
      store(grad_q + x.half, second);
    }
  }
}

// Where the maximum over coordinates (or pairs) is reached, first index if several do: integers put into `distances`.
template <bool paired, int R, int C> HEED_INLINE void search_block(const Pull& x, int row, int column) {
  V best[R][C];
  I index[R][C] = {};
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) best[r][c] = splat(-1);
  const int steps = paired ? x.width / 2 : x.width;
  for (int d = 0; d < steps; d++) {
    const Real* k = x.kt + d * kTileKeys + column;
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) {
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const Real* q = x.q + (row + r) * x.stride + d;
        const V a = q[0] - load(k + c * kLanes);
        V size = absolute(a);
        if constexpr (paired) {
          const V b = q[x.half] - load(k + steps * kTileKeys + c * kLanes);
          size = a * a + b * b;
        }
        index[r][c] = size > best[r][c] ? I{} + Bits(d) : index[r][c];
        best[r][c] = size > best[r][c] ? size : best[r][c];
      }
    }
  }
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) store(x.distances + (row + r) * kTileKeys + column + c * kLanes, (V)index[r][c]);
}

template <bool paired> static void search_tile(const Pull& x) {
  constexpr int rows = kRegisters == 32 ? 3 : 2, vectors = kRegisters == 32 ? 4 : 2;  // two values for each pair
  for (int column = 0; column < kTileKeys; column += vectors * kLanes) {
    int row = 0;
    for (; row + rows <= x.rows; row += rows) search_block<paired, rows, vectors>(x, row, column);
    for (; row < x.rows; row++) search_block<paired, 1, vectors>(x, row, column);
  }
}

HEED_INLINE Bits bits_of(const Real* at) {
  Bits bits;
  memcpy(&bits, at, sizeof bits);
  return bits;
}

// w with the sign of a, 0 where a is; the sign is anyone's guess, so this must not be a branch.
HEED_INLINE Real directed_one(Real w, Real a) {
  const Bits bits = bits_of(&w) ^ (bits_of(&a) & kSignBit);
  Real t;
  memcpy(&t, &bits, sizeof t);
  return a == 0 ? 0 : t;
}

// A maximum pulls on one coordinate, or one pair, of each q and k.
template <bool paired> static void pull_maximum(const Pull& x) {
  search_tile<paired>(x);
  for (int r = 0; r < x.rows; r++) {
    const Real *q = x.q + r * x.stride, *w = x.w + r * kTileKeys, *k = x.k;
    Real *grad_q = x.grad_q + r * x.stride, *grad_k = x.grad_k;
    for (int j = 0; j < x.keys; j++, k += x.stride, grad_k += x.stride) {
      const Bits d = bits_of(x.distances + r * kTileKeys + j);
      if constexpr (paired) {
        const Real a = q[d] - k[d], b = q[d + x.half] - k[d + x.half], square = a * a + b * b;
        const Real norm = kSingle ? __builtin_sqrtf(square) : __builtin_sqrt(square);
        const Real scale = norm == 0 ? 0 : w[j] / norm;
        grad_q[d] -= a * scale;
        grad_k[d] += a * scale;
        grad_q[d + x.half] -= b * scale;
        grad_k[d + x.half] += b * scale;
      } else {
        const Real t = directed_one(w[j], q[d] - k[d]);
        grad_q[d] -= t;
        grad_k[d] += t;
      }
    }
  }
}

// Overwrites w and distances; `powers` belongs to the form of a general power, and to the gradient of p.
static void pull(const Metric& metric, const Pull& x, const Powers& powers) {
  if (x.grad_p != nullptr && metric.p < kInfinity) add_grad_p(x, powers, metric.p);
  switch (metric.form) {
    case kFormDot:
    case kFormCosine: return pull_dot(x);
    case kFormL1: return x.apart ? pull_tile<PullApart>(x) : pull_tile<PullL1>(x);
    case kFormL2: return pull_tile<PullL2>(x);
    case kFormSquare: return pull_tile<PullSquare>(x);
    case kFormHalf: return pull_tile<PullHalf>(x);
    case kFormThreeHalves: return pull_tile<PullThreeHalves>(x);
    case kFormCube: return pull_tile<PullCube>(x);
    case kFormFourth: return pull_tile<PullFourth>(x);
    case kFormPower: return pull_power(x, powers, metric.p);
    case kFormChebyshev: return pull_maximum<false>(x);
    case kFormL21: return pull_pairs(x);
    case kFormLinf2: return pull_maximum<true>(x);
  }
}

}  // namespace HEED_SPACE
