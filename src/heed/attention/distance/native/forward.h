// The forward pass with an online softmax: a task takes some query tiles of one key-value head over all key tiles.
#pragma once
#include "grid.h"

namespace HEED_SPACE {

constexpr int kChunkTiles = 16;  // query tiles that share one packing of a key tile

struct Tasks {
  Tiling tiling;
  int64_t tiles, chunks;  // tiles of a task; tasks of a key-value head
  explicit Tasks(const Problem& x, bool decode = false) : tiling(x, decode) {
    const int64_t heads = x.batch * x.kv_heads, wanted = 4 * x.threads;
    chunks = most((tiling.count + kChunkTiles - 1) / kChunkTiles, least(tiling.count, wanted / most(1, heads)));
    tiles = most(1, (tiling.count + chunks - 1) / most(1, chunks));
    chunks = (tiling.count + tiles - 1) / tiles;
  }
};

// The running state of a query tile. Scores s are compared, or logits where there is a bias: per row the highest m so
// far, the slope that makes a difference of logits of s - m (the strength, or 1), and, of weights
// e = exp((s - m) * slope), in as many partial sums as a vector has lanes: their sum, that of e * (s - m) * slope, and
// that of e * distance where a bias parts the two.
struct Query {
  Rows rows;
  bool finite;
  Real *q, *out;
  Bits totals[kTileRows];  // of rows of whole numbers
  Real highest[kTileRows], origin[kTileRows], fall[kTileRows], factor[kTileRows];
  Real strength[kTileRows], slope[kTileRows];
  V sum[kTileRows], moment[kTileRows], distance[kTileRows];
};

struct ForwardScratch {
  Query* query;
  Real *keys, *columns, *values[2], *scores[2], *logits, *range[2];
  int64_t bytes;
  ForwardScratch(const Problem& x, const Layout& qk, const Layout& value, int64_t tiles, char* base) {
    Arena arena{base};
    query = arena.take<Query>(tiles);
    for (int64_t t = 0; t < tiles; t++) {
      Real* q = arena.take<Real>(kTileRows * qk.stride);
      Real* out = arena.take<Real>(kTileRows * value.stride);
      if (base != nullptr) query[t].q = q, query[t].out = out;
    }
    keys = arena.take<Real>(kTileKeys * qk.stride);
    columns = arena.take<Real>((x.width + 1) * kTileKeys);
    for (Real*& end : range) end = arena.take<Real>(qk.stride);
    for (Real*& rows : values) rows = arena.take<Real>(kTileKeys * value.stride);
    for (Real*& tile : scores) tile = arena.take<Real>(kTileSize);
    logits = arena.take<Real>(kTileSize);
    bytes = arena.used;
  }
};

// Adds biases, and moves every row on to its new highest logit; `logits` may be `s`.
static void raise(const Problem& x, Query& query, const Keys& keys, const Real* s, Real* logits) {
  Real tops[kTileRows];
  for (int r = 0; r < kTileRows; r++) tops[r] = query.highest[r];
  for (int r = 0; r < query.rows.count; r++) {
    const int first = r * kTileKeys;
    const Real factor = has_bias(x) ? query.strength[r] : 1;
    Real bias[kTileKeys];
    if (logits != s) bias_row(x, query.rows, r, keys, bias);
    V top = splat(-kInfinity);
    for (int j = 0; j < kTileKeys; j += kLanes) {
      V logit = load(s + first + j);
      if (logits != s) store(logits + first + j, logit = biased(logit * factor, load(bias + j)));
      top = larger(top, logit);
    }
    const Real peak = max_of(top);
    tops[r] = tops[r] > peak ? tops[r] : peak;
  }
  for (int r = 0; r < kTileRows; r += kLanes) {
    const V old = load(query.highest + r), top = load(tops + r), origin = top == -kInfinity ? V{} : top;
    const V fall = (old - origin) * load(query.slope + r);
    store(query.highest + r, top);
    store(query.origin + r, origin);
    store(query.fall + r, old == -kInfinity ? V{} : fall);
    store(query.factor + r, exp_negative(fall));
  }
}

// One row becomes weights exp((logit - origin) * slope), in place of its scores, and its statistics move on.
HEED_INLINE void soften_row(Query& query, int r, Real* s, const Real* logits) {
  const Real origin = query.origin[r], slope = query.slope[r], factor = query.factor[r];
  V sum = query.sum[r] * factor, moment = (query.moment[r] + query.sum[r] * query.fall[r]) * factor;
  V distance = query.distance[r] * factor;
#pragma GCC unroll 4
  for (int j = 0; j < kTileKeys; j += kLanes) {
    const V below = (load(logits + j) - origin) * slope, e = exp_negative(below);
    sum += e;
    moment += e * larger(below, splat(kLowestLog));
    if (logits != s) distance -= e == 0 ? V{} : e * load(s + j);
    store(s + j, e);
  }
  query.sum[r] = sum;
  query.moment[r] = moment;
  query.distance[r] = distance;
}

// From scores to weights, with dropout.
static void soften(const Problem& x, Query& query, const Keys& keys, Real* s, Real* spare) {
  Real* logits = needs_bias(x, query.rows, keys) ? spare : s;
  raise(x, query, keys, s, logits);
  for (int r = 0; r < query.rows.count; r++) soften_row(query, r, s + r * kTileKeys, logits + r * kTileKeys);
  for (int r = 0; x.dropout_bound > 0 && r < query.rows.count; r++) {
    Real kept[kTileKeys];
    kept_row(x, query.rows, r, keys, kept);
    for (int j = 0; j < kTileKeys; j++) s[r * kTileKeys + j] *= kept[j];
  }
}

// The state of one row with its lanes summed.
struct Sums {
  Real highest, slope, sum, moment, distance;
};

HEED_INLINE Sums sums_of(const Query& query, int r) {
  return {query.highest[r], query.slope[r], sum_of(query.sum[r]), sum_of(query.moment[r]), sum_of(query.distance[r])};
}

// Divides by the sum of weights and writes the row out; a row that saw no key is zero, its lse -infinity.
static void finish_row(const Problem& x, int64_t row, const Sums& sums, const Real* weighted) {
  const Real sum = sums.sum, slope = sums.slope, top = sums.highest;
  const bool empty = top == -kInfinity && sum == 0;
  const Real inverse = empty ? 0 : 1 / sum, log = empty ? 0 : Real(kSingle ? __builtin_logf(sum) : __builtin_log(sum));
  const Real moment = sums.moment * inverse;
  Real* out = static_cast<Real*>(x.out) + row * x.value_width;
  for (int64_t e = 0; e < x.value_width; e++) out[e] = weighted[e] * inverse;
  static_cast<Real*>(x.lse)[row] = top * slope + log;
  static_cast<Real*>(x.highest)[row] = top;
  static_cast<Real*>(x.entropy)[row] = log - moment;
  static_cast<Real*>(x.max_probability)[row] = inverse;
  const Real parted = sums.distance * inverse, whole = -(moment / slope + (empty ? 0 : top));
  static_cast<Real*>(x.mean_distance)[row] = has_bias(x) ? parted : whole;
}

static void finish_query(const Problem& x, const Query& query, const Layout& value) {
  for (int r = 0; r < query.rows.count; r++)
    finish_row(x, query.rows.flat(x, r), sums_of(query, r), query.out + r * value.stride);
}

static void start_query(const Problem& x, Query& query, const Layout& value) {
  for (int r = 0; r < kTileRows; r++) {
    query.strength[r] = r < query.rows.count ? Real(x.strength[query.rows.head[r]]) : 1;
    query.slope[r] = has_bias(x) ? 1 : query.strength[r];
    query.highest[r] = -kInfinity;
    query.sum[r] = query.moment[r] = query.distance[r] = V{};
  }
  for (int64_t i = 0; i < kTileRows * value.stride; i++) query.out[i] = 0;
}

struct Forward {
  const Problem& x;
  Grid* const grids;
  const Tasks tasks;
  const Layout qk, value;
  const ForwardScratch at;
  int64_t b, kv_head, tiles, lowest, highest;  // of the task; keys from the lowest on, below the highest, are seen
  Real grid;  // queries and keys are whole numbers of this; 0: they are not
  Product weighted{};  // weights times values of the tile before, computed beside the scores of the next one

  Forward(const Problem& problem, char* scratch, char* shared, bool decode = false)
      : x(problem), grids(reinterpret_cast<Grid*>(shared)), tasks(x, decode), qk(x.width, is_paired(x.kernel)),
        value(x.value_width, false), at(x, qk, value, tasks.tiles, scratch) {}

  void start(int64_t task) {
    const int64_t first = task % tasks.chunks * tasks.tiles;
    kv_head = task / tasks.chunks % x.kv_heads;
    b = task / tasks.chunks / x.kv_heads;
    tiles = least(tasks.tiles, tasks.tiling.count - first);
    lowest = x.keys;
    highest = 0;
    for (int64_t t = 0; t < tiles; t++) {
      Query& query = at.query[t];
      query.rows.set(x, tasks.tiling, b, kv_head, first + t);
      start_query(x, query, value);
      read_rows(x.q, qk, query.rows, query.q);
      for (int r = 0; x.kernel == kCosine && r < query.rows.count; r++) make_unit(qk.stride, query.q + r * qk.stride);
      query.finite = all_finite(query.q, query.rows.count * qk.stride);
      lowest = least(lowest, query.rows.lowest);
      highest = most(highest, query.rows.highest);
    }
    grid = grid_of(x, qk, b, kv_head, grids, at.range, at.keys).step;
    for (int64_t t = 0; grid > 0 && t < tiles; t++) {
      Query& query = at.query[t];
      whole_rows(query.q, qk.stride, query.rows.count, grid, query.q, query.totals);
    }
  }

  void key_tile(const Keys& keys) {
    read_keys(x.k, qk, b, kv_head, keys, at.keys);
    for (int j = 0; x.kernel == kCosine && j < keys.count; j++) make_unit(qk.stride, at.keys + j * qk.stride);
    transpose(qk, at.keys, qk.stride, at.columns);
    const bool finite = all_finite(at.keys, kTileKeys * qk.stride);
    if (grid > 0) whole_columns(at.columns, x.width, grid);
    Real* values = at.values[weighted.b == at.values[0] ? 1 : 0];
    read_keys(x.v, value, b, kv_head, keys, values);
    for (int64_t t = 0; t < tiles; t++) {
      Query& query = at.query[t];
      if (!query.rows.see(keys.first, keys.count)) continue;
      Real* s = at.scores[weighted.a == at.scores[0] ? 1 : 0];
      const int rows = query.rows.count;
      scores(metric_of(x, query.rows.head[0]),
             {query.q, at.columns, qk.stride, qk.half, rows, int(x.width), query.finite && finite, grid,
              query.totals},
             s, weighted);
      soften(x, query, keys, s, at.logits);
      weighted = {s, values, query.out, rows, keys.count, kTileKeys, 1, value.stride, query.factor, 1};
    }
  }

  void run(int64_t task) {
    start(task);
    Keys keys;
    for (int64_t key = lowest / kTileKeys * kTileKeys; key < highest; key += kTileKeys) {
      keys.set(x, b, key);
      if (keys.any) key_tile(keys);
    }
    multiply(weighted);
    for (int64_t t = 0; t < tiles; t++) finish_query(x, at.query[t], value);
  }
};

static void forward_task(const Problem* x, int64_t task, char* scratch, char* shared) {
  Forward(*x, scratch, shared).run(task);
}

static int64_t forward_tasks(const Problem* x) { return x->batch * x->kv_heads * Tasks(*x).chunks; }

static int64_t forward_scratch(const Problem* x) {
  const Layout qk(x->width, is_paired(x->kernel)), value(x->value_width, false);
  return ForwardScratch(*x, qk, value, Tasks(*x).tiles, nullptr).bytes;
}

}  // namespace HEED_SPACE
