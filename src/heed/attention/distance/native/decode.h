// The forward pass of few queries on many keys, as when a text is generated. Reading the keys is most of the work, so
// they are used where they lie: vectors run along the width, and their lanes are joined at the end, a vector of keys at
// a time. A task takes all query rows of one key-value head, one tile of them, on a part of its keys; parts are joined
// when all are done (flash-decoding).
#pragma once
#include "forward.h"

namespace HEED_SPACE {

constexpr int64_t kPartTiles = 8;    // fewest tiles of keys that are worth a part
constexpr int64_t kThreadTasks = 8;  // tasks for each thread, where the keys have so many parts

HEED_INLINE int64_t parts_of(const Problem& x) {
  const int64_t heads = most(1, x.batch * x.kv_heads), wanted = x.threads > 1 ? kThreadTasks * x.threads : 1;
  return most(1, least(x.keys / (kTileKeys * kPartTiles), (wanted + heads - 1) / heads));
}

// The rows of a tile of keys or values, `stride` apart.
struct Lying {
  const Real* rows;
  int64_t stride;
};

// In the caller's memory where the tile is full and vectors fit, else copied to `spare`.
static Lying lying(const Array& from, const Layout& layout, int64_t b, int64_t kv_head, const Keys& keys, Real* spare) {
  const bool fits = layout.stride == layout.width && from.strides[3] == 1;
  if (keys.whole && fits && from.dtype == (kSingle ? kFloat32 : kFloat64)) {
    const int64_t offset = b * from.strides[0] + kv_head * from.strides[1] + keys.first * from.strides[2];
    return {static_cast<const Real*>(from.data) + offset, from.strides[2]};
  }
  read_keys(from, layout, b, kv_head, keys, spare);
  return {spare, layout.stride};
}

// One row of q with C keys from `k` on; lanes are not yet joined.
template <class M, int C>
HEED_INLINE void sum_along(const Layout& layout, const Real* q, const Real* k, int64_t stride, V* sums) {
  V near[C] = {};
  const V one = opaque(splat(1));
  for (int64_t d = 0; d < layout.half; d += kLanes) {
    const V first = load(q + d);
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) {
      const Real* at = k + c * stride + d;
      if constexpr (M::paired) {
        const V a = first - load(at), b = load(q + layout.half + d) - load(at + layout.half);
        near[c] = M::step(near[c], a * a + b * b);
      } else {
        near[c] = step_of<M>(near[c], first, load(at), one, c);
      }
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < C; c++) sums[c] = near[c];
}

// Scores of one row of q on a tile of keys.
template <class M> static void score_along(const Layout& layout, const Real* q, const Lying& k, Real* s) {
  constexpr int C = kLanes < 4 ? kLanes : 4;
  for (int j = 0; j < kTileKeys; j += kLanes) {
    V sums[kLanes];
    for (int lane = 0; lane < kLanes; lane += C)
      sum_along<M, C>(layout, q, k.rows + (j + lane) * k.stride, k.stride, sums + lane);
    store(s + j, M::close(joined<M>(sums)));
  }
}

// Weights of a row on a tile, what becomes of the row's output so far, and that output.
struct Weighing {
  const Real* weights;
  Real factor;
  Real* out;
};

// out = factor * out + sum_j weights[j] * values[j], C vectors at a time.
template <int C = 8> static void weigh(const Weighing& x, const Lying& v, int64_t width, int64_t column = 0) {
  for (; column + C * kLanes <= width; column += C * kLanes) {
    V sums[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) sums[c] = x.factor == 0 ? V{} : load(x.out + column + c * kLanes) * x.factor;
    const Real* at = v.rows + column;
    for (int j = 0; j < kTileKeys; j++, at += v.stride) {
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) sums[c] += x.weights[j] * load(at + c * kLanes);
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) store(x.out + column + c * kLanes, sums[c]);
  }
  if constexpr (C > 1) weigh<C / 2>(x, v, width, column);
}

// The sums of a row once its highest logit is `top`; `factor` is what its weights are multiplied by.
HEED_INLINE Sums raised(const Sums& x, Real top, Real& factor) {
  const Real origin = top == -kInfinity ? 0 : top, fall = x.highest == -kInfinity ? 0 : x.highest - origin;
  factor = exp_negative(splat((x.highest - origin) * x.slope))[0];
  return {top, x.slope, x.sum * factor, (x.moment + x.sum * fall * x.slope) * factor, x.distance * factor};
}

// Another part of its keys joins a row.
static void join_rows(Sums& row, Real* out, const Sums& other, const Real* more, int64_t width) {
  const Real top = row.highest > other.highest ? row.highest : other.highest;
  Real kept, joining;
  const Sums a = raised(row, top, kept), b = raised(other, top, joining);
  row = {top, row.slope, a.sum + b.sum, a.moment + b.moment, a.distance + b.distance};
  for (int64_t e = 0; e < width; e++) out[e] = out[e] * kept + more[e] * joining;
}

// Rows on a part of their keys, as they are left for `decode_finish`: part after part.
struct Partial {
  Sums* sums;  // [parts, B, H, Q]
  Real* out;   // [parts, B, H, Q, E]
  int64_t rows, bytes;
  Partial(const Problem& x, int64_t parts, char* shared) : rows(x.batch * x.heads * x.queries) {
    Arena arena{shared};
    sums = arena.take<Sums>(parts * rows);
    out = arena.take<Real>(parts * rows * x.value_width);
    bytes = arena.used;
  }
};

struct Decode : Forward {
  const int64_t parts;
  const Partial partial;

  Decode(const Problem& problem, char* scratch, char* shared)
      : Forward(problem, scratch, nullptr, true), parts(parts_of(problem)), partial(problem, parts, shared) {}

  // Scores of one row on a tile; a general power takes so long that transposed keys cost little beside it.
  void score(const Metric& metric, const Real* q, const Lying& k, Real* s) {
    switch (metric.form) {
      case kFormDot:
      case kFormCosine: return score_along<Dot>(qk, q, k, s);
      case kFormL1: return score_along<L1>(qk, q, k, s);
      case kFormL2: return score_along<L2>(qk, q, k, s);
      case kFormSquare: return score_along<Square>(qk, q, k, s);
      case kFormHalf: return score_along<Half>(qk, q, k, s);
      case kFormThreeHalves: return score_along<ThreeHalves>(qk, q, k, s);
      case kFormCube: return score_along<Cube>(qk, q, k, s);
      case kFormFourth: return score_along<Fourth>(qk, q, k, s);
      case kFormPower:
        transpose(qk, k.rows, k.stride, at.columns);
        return power_tile<false>({q, at.columns, qk.stride, qk.half, 1, int(x.width), false}, metric.p, s, nullptr);
      case kFormChebyshev: return score_along<Chebyshev>(qk, q, k, s);
      case kFormL21: return score_along<L21>(qk, q, k, s);
      case kFormLinf2: return score_along<Linf2>(qk, q, k, s);
    }
  }

  void key_tile(const Keys& keys) {
    Query& query = at.query[0];
    Real* inverse = at.scores[1];
    const Lying k = lying(x.k, qk, b, kv_head, keys, at.keys);
    if (x.kernel == kCosine) score_along<Inverse>(qk, query.q, k, inverse);
    for (int r = 0; r < query.rows.count; r++) {
      Real* s = at.scores[0] + r * kTileKeys;
      score(metric_of(x, query.rows.head[r]), query.q + r * qk.stride, k, s);
      for (int j = 0; x.kernel == kCosine && j < kTileKeys; j += kLanes) store(s + j, load(s + j) * load(inverse + j));
    }
    soften(x, query, keys, at.scores[0], at.logits);
    const Lying v = lying(x.v, value, b, kv_head, keys, at.values[0]);
    for (int r = 0; r < query.rows.count; r++)
      weigh({at.scores[0] + r * kTileKeys, query.factor[r], query.out + r * value.stride}, v, value.stride);
  }

  // What is left of a part where the keys have several.
  void keep(int64_t part) {
    const Query& query = at.query[0];
    for (int r = 0; r < query.rows.count; r++) {
      const int64_t row = part * partial.rows + query.rows.flat(x, r);
      partial.sums[row] = sums_of(query, r);
      copy(query.out + r * value.stride, x.value_width, partial.out + row * x.value_width);
    }
  }

  void run(int64_t task) {
    start(task / parts);
    const int64_t first = lowest / kTileKeys, tiles = most(0, (highest + kTileKeys - 1) / kTileKeys - first);
    const int64_t part = task % parts, end = first + tiles * (part + 1) / parts;
    Keys keys;
    for (int64_t tile = first + tiles * part / parts; tile < end; tile++) {
      keys.set(x, b, tile * kTileKeys);
      if (keys.any) key_tile(keys);
    }
    if (parts > 1) return keep(part);
    finish_query(x, at.query[0], value);
  }
};

static void decode_task(const Problem* x, int64_t task, char* scratch, char* shared) {
  Decode(*x, scratch, shared).run(task);
}

static void decode_finish(const Problem* x, char* shared) {
  const int64_t parts = parts_of(*x), width = x->value_width;
  const Partial partial(*x, parts, shared);
  for (int64_t row = 0; parts > 1 && row < partial.rows; row++) {
    for (int64_t i = row + partial.rows; i < parts * partial.rows; i += partial.rows)
      join_rows(partial.sums[row], partial.out + row * width, partial.sums[i], partial.out + i * width, width);
    finish_row(*x, row, partial.sums[row], partial.out + row * width);
  }
}

static int64_t decode_tasks(const Problem* x) {
  return x->batch * x->kv_heads * Tasks(*x, true).chunks * parts_of(*x);
}

static int64_t decode_shared(const Problem* x) {
  const int64_t parts = parts_of(*x);
  return parts > 1 ? Partial(*x, parts, nullptr).bytes : 0;
}

static int64_t decode_scratch(const Problem* x) {
  const Layout qk(x->width, is_paired(x->kernel)), value(x->value_width, false);
  return ForwardScratch(*x, qk, value, 1, nullptr).bytes;
}

}  // namespace HEED_SPACE
