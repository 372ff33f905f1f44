// Gradients of a tile's distances: dq_r -= sum_j t_rj and dk_j += sum_r t_rj, with t_rj = w_rj * d dist(q_r, k_j) / d q_r
// and w = dS; for the dot product dq_r += sum_j w_rj k_j and dk_j += sum_r w_rj q_r. Vectors run along the width.
#pragma once
#include "products.h"

namespace HEED_SPACE {

// Rows of q, k and their gradients, `stride` apart; tiles of weights w, of distances, and room for what is made of them.
struct Pull {
  const Real *q, *k, *kt;
  Real *grad_q, *grad_k, *w, *distances;
  double* grad_p;  // [rows]; null where it is not wanted
  int64_t stride, half;
  int rows, keys, width;
};

HEED_INLINE V with_sign_of(V x, V d) { return (V)((I)x ^ ((I)d & kSignBit)); }
HEED_INLINE V where_nonzero(V d, V x) { return d == 0 ? V{} : x; }

// `weigh` turns w and the distance of a pair into what `pull` multiplies; `pull` gives t for differences d = q - k.
struct PullSquare {
  HEED_INLINE V weigh(V w, V&) { return w + w; }
  HEED_INLINE V pull(V d, Real w) { return d * w; }
};

struct PullL1 {
  HEED_INLINE V weigh(V w, V&) { return w; }
  HEED_INLINE V pull(V d, Real w) { return where_nonzero(d, with_sign_of(splat(w), d)); }
};

struct PullL2 : PullSquare {
  HEED_INLINE V weigh(V w, V& distance) { return where_nonzero(distance, w / distance); }
};

struct PullHalf {
  HEED_INLINE V weigh(V w, V& distance) { return w * square_root(distance); }
  HEED_INLINE V pull(V d, Real w) { return where_nonzero(d, with_sign_of(w / square_root(absolute(d)), d)); }
};

struct PullThreeHalves {
  HEED_INLINE V weigh(V w, V& distance) { return where_nonzero(distance, w / square_root(distance)); }
  HEED_INLINE V pull(V d, Real w) { return with_sign_of(square_root(absolute(d)) * w, d); }
};

// A power of the distance that is subnormal counts as 0, and so does the gradient.
HEED_INLINE V over(V w, V power) { return power < kSmallestNormal ? V{} : w / power; }

struct PullCube {
  HEED_INLINE V weigh(V w, V& distance) { return over(w, distance * distance); }
  HEED_INLINE V pull(V d, Real w) { return absolute(d) * (d * w); }
};

struct PullFourth {
  HEED_INLINE V weigh(V w, V& distance) { return over(w, distance * distance * distance); }
  HEED_INLINE V pull(V d, Real w) { return (d * d) * (d * w); }
};

template <class M, int R> HEED_INLINE void pull_block(const Pull& x, int row, int64_t column) {
  V q[R], grad_q[R];
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) {
    q[r] = load(x.q + (row + r) * x.stride + column);
    grad_q[r] = load(x.grad_q + (row + r) * x.stride + column);
  }
  for (int j = 0; j < x.keys; j++) {
    const V k = load(x.k + j * x.stride + column);
    const Real* w = x.w + row * kTileKeys + j;
    V grad_k = load(x.grad_k + j * x.stride + column);
#pragma GCC unroll 16
    for (int r = 0; r < R; r++) {
      const V t = M::pull(q[r] - k, w[r * kTileKeys]);
      grad_q[r] -= t;
      grad_k += t;
    }
    store(x.grad_k + j * x.stride + column, grad_k);
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; r++) store(x.grad_q + (row + r) * x.stride + column, grad_q[r]);
}

constexpr int kPullRows = kRegisters == 32 ? 12 : 4;

template <class M> static void pull_tile(const Pull& x) {
  for (int i = 0; i < x.rows * kTileKeys; i += kLanes) {
    V distance = load(x.distances + i);
    store(x.w + i, M::weigh(load(x.w + i), distance));
  }
  for (int64_t column = 0; column < x.stride; column += kLanes) {
    int row = 0;
    for (; row + kPullRows <= x.rows; row += kPullRows) pull_block<M, kPullRows>(x, row, column);
    for (; row < x.rows; row++) pull_block<M, 1>(x, row, column);
  }
}

// q.k: two matrix products, of which this is the one along rows; the other is `multiply`.
static void pull_dot(const Pull& x) {
  multiply<kTileKeys, 1>({x.w, x.k, nullptr, x.grad_q, x.rows, x.keys, x.stride});
  multiply<1, kTileKeys>({x.w, x.q, nullptr, x.grad_k, x.keys, x.rows, x.stride});
}

// d dist / d p = dist (sum r^p ln r / (p sum r^p) - ln(sum r^p) / p^2).
static void add_grad_p(const Pull& x, const Powers& powers, Real p) {
  for (int r = 0; r < x.rows; r++) {
    V sum = {};
    for (int i = r * kTileKeys; i < (r + 1) * kTileKeys; i += kLanes) {
      const V total = load(powers.sums + i), slope = load(powers.moments + i) / total - log2_of(total) / p;
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
        const V t = ratio < kSmallestNormal ? V{} : with_sign_of(power_of(log2_parts(ratio), exponent) * w, d);
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

// Where the maximum over coordinates (or pairs) is reached, the first index if several do; written into `distances`.
template <bool paired, int R, int C> HEED_INLINE void search_block(const Pull& x, int row, int column) {
  V best[R][C], index[R][C] = {};
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) best[r][c] = splat(-1);
  const int steps = paired ? x.width / 2 : x.width;
  for (int d = 0; d < steps; d++) {
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) {
      const Real* k = x.kt + d * kTileKeys + column + c * kLanes;
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        const Real* q = x.q + (row + r) * x.stride + d;
        const V a = q[0] - load(k);
        V size = absolute(a);
        if constexpr (paired) {
          const V b = q[x.half] - load(k + steps * kTileKeys);
          size = a * a + b * b;
        }
        index[r][c] = size > best[r][c] ? splat(Real(d)) : index[r][c];
        best[r][c] = size > best[r][c] ? size : best[r][c];
      }
    }
  }
  for (int r = 0; r < R; r++)
    for (int c = 0; c < C; c++) store(x.distances + (row + r) * kTileKeys + column + c * kLanes, index[r][c]);
}

template <bool paired> static void search_tile(const Pull& x) {
  constexpr int rows = 2, step = kBlockVectors * kLanes;
  for (int column = 0; column < kTileKeys; column += step) {
    int row = 0;
    for (; row + rows <= x.rows; row += rows) search_block<paired, rows, kBlockVectors>(x, row, column);
    for (; row < x.rows; row++) search_block<paired, 1, kBlockVectors>(x, row, column);
  }
}

// A maximum pulls on one coordinate, or one pair, of each q and k.
template <bool paired> static void pull_maximum(const Pull& x) {
  search_tile<paired>(x);
  for (int r = 0; r < x.rows; r++) {
    for (int j = 0; j < x.keys; j++) {
      const Real w = x.w[r * kTileKeys + j];
      const int64_t at = int64_t(x.distances[r * kTileKeys + j]), iq = r * x.stride + at, ik = j * x.stride + at;
      const Real a = x.q[iq] - x.k[ik];
      if constexpr (paired) {
        const Real b = x.q[iq + x.half] - x.k[ik + x.half], square = a * a + b * b;
        const Real norm = kSingle ? __builtin_sqrtf(square) : __builtin_sqrt(square);
        const Real scale = norm == 0 ? 0 : w / norm;
        x.grad_q[iq] -= a * scale;
        x.grad_k[ik] += a * scale;
        x.grad_q[iq + x.half] -= b * scale;
        x.grad_k[ik + x.half] += b * scale;
      } else {
        const Real t = a == 0 ? 0 : a < 0 ? -w : w;
        x.grad_q[iq] -= t;
        x.grad_k[ik] += t;
      }
    }
  }
}

// Overwrites w and distances; `powers` belongs to the form of a general power, and to the gradient of p.
static void pull(const Metric& metric, const Pull& x, const Powers& powers) {
  if (x.grad_p != nullptr) add_grad_p(x, powers, metric.p);
  switch (metric.form) {
    case kFormDot: return pull_dot(x);
    case kFormL1: return pull_tile<PullL1>(x);
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
