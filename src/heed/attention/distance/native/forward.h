// The forward pass with an online softmax: a task takes some query tiles of one key-value head over all key tiles.
#pragma once
#include "tile.h"

namespace HEED_SPACE {

constexpr int kChunkTiles = 6;  // query tiles that share one packing of a key tile

struct Tasks {
  Tiling tiling;
  int64_t tiles, chunks;  // tiles of a task; tasks of a key-value head
  explicit Tasks(const Problem& x) : tiling(x) {
    const int64_t heads = x.batch * x.kv_heads, wanted = 4 * x.threads;
    chunks = most((tiling.count + kChunkTiles - 1) / kChunkTiles, least(tiling.count, wanted / most(1, heads)));
    tiles = most(1, (tiling.count + chunks - 1) / most(1, chunks));
    chunks = (tiling.count + tiles - 1) / tiles;
  }
};

// The running state of a query tile: per row the highest logit m so far, and, of weights e = exp(s - m) and in as many
// partial sums as a vector has lanes, their sum, the sum of e * (s - m), and of e * distance where a bias parts the two.
struct Query {
  Rows rows;
  Real *q, *out;
  Real highest[kTileRows], factor[kTileRows];
  V sum[kTileRows], moment[kTileRows], distance[kTileRows];
};

struct ForwardScratch {
  Query* query;
  Real *keys, *columns, *values, *scores;
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
    columns = arena.take<Real>(x.width * kTileKeys);
    values = arena.take<Real>(kTileKeys * value.stride);
    scores = arena.take<Real>(kTileSize);
    bytes = arena.used;
  }
};

// One row of scores becomes weights exp(s - m), and its statistics move on to the new m.
HEED_INLINE void soften_row(const Problem& x, Query& query, int r, const Keys& keys, bool with_bias, Real* s) {
  constexpr int vectors = kTileKeys / kLanes;
  Real bias[kTileKeys];
  V logits[vectors], top = splat(-kInfinity);
  if (with_bias) bias_row(x, query.rows, r, keys, bias);
#pragma GCC unroll 4
  for (int c = 0; c < vectors; c++) {
    const V score = load(s + c * kLanes);
    logits[c] = with_bias ? biased(score, load(bias + c * kLanes)) : score;
    top = larger(top, logits[c]);
  }
  const Real old = query.highest[r], peak = max_of(top), now = old > peak ? old : peak;
  const Real origin = now == -kInfinity ? 0 : now;
  const Real down = old == -kInfinity ? 0 : old - origin, factor = exp_negative(splat(old - origin))[0];
  query.highest[r] = now;
  query.factor[r] = factor;
  V sum = query.sum[r] * factor, moment = (query.moment[r] + query.sum[r] * down) * factor;
  V distance = query.distance[r] * factor;
#pragma GCC unroll 4
  for (int c = 0; c < vectors; c++) {
    const V below = logits[c] - origin, e = exp_negative(below);
    sum += e;
    moment += e * larger(below, splat(kLowestLog));
    if (with_bias) distance -= e == 0 ? V{} : e * load(s + c * kLanes);
    store(s + c * kLanes, e);
  }
  query.sum[r] = sum;
  query.moment[r] = moment;
  query.distance[r] = distance;
}

static void attend_tile(const Problem& x, Query& query, const Keys& keys, const ForwardScratch& at, const Layout& qk,
                        const Layout& value) {
  const Operands operands{query.q, at.columns, qk.stride, qk.half, query.rows.count, int(x.width)};
  scores(metric_of(x, query.rows.head[0]), operands, at.scores);
  const bool with_bias = has_bias(x) || needs_bias(x, query.rows, keys);
  for (int r = 0; r < query.rows.count; r++) {
    Real* s = at.scores + r * kTileKeys;
    soften_row(x, query, r, keys, with_bias, s);
    if (x.dropout_bound > 0) {
      Real kept[kTileKeys];
      kept_row(x, query.rows, r, keys, kept);
      for (int j = 0; j < kTileKeys; j++) s[j] *= kept[j];
    }
  }
  multiply<kTileKeys, 1>({at.scores, at.values, query.factor, query.out, query.rows.count, keys.count, value.stride});
}

// Divides by the sum of weights and writes the row out; a row that saw no key is zero, its lse -infinity.
static void finish_row(const Problem& x, const Query& query, int r, const Layout& value) {
  const int64_t row = query.rows.flat(x, r);
  const Real sum = sum_of(query.sum[r]), top = query.highest[r];
  const bool empty = top == -kInfinity && sum == 0;
  const Real inverse = empty ? 0 : 1 / sum, log = empty ? 0 : Real(kSingle ? __builtin_logf(sum) : __builtin_log(sum));
  const Real moment = sum_of(query.moment[r]) * inverse;
  Real* out = static_cast<Real*>(x.out) + row * x.value_width;
  for (int64_t e = 0; e < x.value_width; e++) out[e] = query.out[r * value.stride + e] * inverse;
  static_cast<Real*>(x.lse)[row] = top + log;
  static_cast<Real*>(x.entropy)[row] = log - moment;
  static_cast<Real*>(x.max_probability)[row] = inverse;
  const Real parted = sum_of(query.distance[r]) * inverse, whole = -(moment + (empty ? 0 : top));
  static_cast<Real*>(x.mean_distance)[row] = has_bias(x) ? parted : whole;
}

static void start_query(Query& query, const Layout& value) {
  for (int r = 0; r < kTileRows; r++) {
    query.highest[r] = -kInfinity;
    query.sum[r] = query.moment[r] = query.distance[r] = V{};
  }
  for (int64_t i = 0; i < kTileRows * value.stride; i++) query.out[i] = 0;
}

static void forward_task(const Problem* problem, int64_t task, char* scratch) {
  const Problem& x = *problem;
  const Tasks tasks(x);
  const Layout qk(x.width, is_paired(x.kernel)), value(x.value_width, false);
  const ForwardScratch at(x, qk, value, tasks.tiles, scratch);
  const int64_t chunk = task % tasks.chunks, kv_head = task / tasks.chunks % x.kv_heads;
  const int64_t b = task / tasks.chunks / x.kv_heads, first = chunk * tasks.tiles;
  const int64_t tiles = least(tasks.tiles, tasks.tiling.count - first);
  int64_t lowest = x.keys, highest = 0;
  for (int64_t t = 0; t < tiles; t++) {
    Query& query = at.query[t];
    query.rows.set(x, tasks.tiling, b, kv_head, first + t);
    start_query(query, value);
    read_rows(x.q, qk, query.rows, query.q);
    lowest = least(lowest, query.rows.lowest);
    highest = most(highest, query.rows.highest);
  }
  Keys keys;
  for (int64_t key = lowest / kTileKeys * kTileKeys; key < highest; key += kTileKeys) {
    keys.set(x, b, key);
    if (!keys.any) continue;
    read_keys(x.k, qk, b, kv_head, keys, at.keys);
    transpose(qk, at.keys, at.columns);
    read_keys(x.v, value, b, kv_head, keys, at.values);
    for (int64_t t = 0; t < tiles; t++)
      if (at.query[t].rows.see(key, keys.count)) attend_tile(x, at.query[t], keys, at, qk, value);
  }
  for (int64_t t = 0; t < tiles; t++)
    for (int r = 0; r < at.query[t].rows.count; r++) finish_row(x, at.query[t], r, value);
}

static int64_t forward_tasks(const Problem* x) { return x->batch * x->kv_heads * Tasks(*x).chunks; }

static int64_t forward_scratch(const Problem* x) {
  const Layout qk(x->width, is_paired(x->kernel)), value(x->value_width, false);
  return ForwardScratch(*x, qk, value, Tasks(*x).tiles, nullptr).bytes;
}

}  // namespace HEED_SPACE
