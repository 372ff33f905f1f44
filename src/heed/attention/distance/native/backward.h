// The backward pass: weights are computed again as the forward pass does, from the highest score of a row. A task takes
// every `parts`-th query tile of one key-value head over all its key tiles, and has gradients of keys and values of its
// own.
#pragma once
#include "forward.h"
#include "gradients.h"

namespace HEED_SPACE {

struct BackwardScratch {
  Real *q, *whole, *grad_out, *grad_q, *keys, *columns, *values, *value_columns, *grad_k, *grad_v;
  Real *distances, *weights, *w, *range[2], *inverses;
  Powers powers;
  int64_t bytes;
  BackwardScratch(const Problem& x, const Layout& qk, const Layout& value, char* base) {
    Arena arena{base};
    q = arena.take<Real>(kTileRows * qk.stride);
    whole = arena.take<Real>(x.kernel == kL1 ? kTileRows * qk.stride : 0);
    grad_q = arena.take<Real>(kTileRows * qk.stride);
    grad_out = arena.take<Real>(kTileRows * value.stride);
    keys = arena.take<Real>(kTileKeys * qk.stride);
    grad_k = arena.take<Real>(kTileKeys * qk.stride);
    columns = arena.take<Real>((x.width + 1) * kTileKeys);
    for (Real*& end : range) end = arena.take<Real>(qk.stride);
    values = arena.take<Real>(kTileKeys * value.stride);
    grad_v = arena.take<Real>(kTileKeys * value.stride);
    value_columns = arena.take<Real>(kTileKeys * x.value_width);
    distances = arena.take<Real>(kTileSize);
    weights = arena.take<Real>(kTileSize);
    w = arena.take<Real>(kTileSize);
    inverses = arena.take<Real>(x.kernel == kCosine ? x.heads / x.kv_heads * x.queries : 0);
    const int64_t size = x.kernel == kLp ? kTileSize : 0;
    powers = {arena.take<Real>(size), arena.take<Real>(size), arena.take<Real>(size)};
    bytes = arena.used;
  }
};

struct Backward {
  const Problem& x;
  Grid* const grids;
  const Layout qk, value;
  const BackwardScratch at;
  Keys keys;
  Rows rows;
  bool keys_finite = false;
  Real grid = 0;   // scores are taken of whole numbers of this; 0: they are not
  Real apart = 0;  // where they are, signs are taken of this times q - k

  Backward(const Problem& problem, char* scratch, char* shared)
      : x(problem), grids(reinterpret_cast<Grid*>(shared)), qk(x.width, is_paired(x.kernel)),
        value(x.value_width, false), at(x, qk, value, scratch) {}

  // From scores s and dP (in w): weights P with dropout, strength * dS = strength * P * (kept * dP - delta) into w,
  // distances -s.
  void soften(int r) {
    const Real strength = Real(x.strength[rows.head[r]]);
    const int64_t row = rows.flat(x, r);
    const Real top = static_cast<const Real*>(x.highest)[row], origin = top == -kInfinity ? 0 : top;
    const Real largest = static_cast<const Real*>(x.max_probability)[row];
    const Real delta = static_cast<const Real*>(x.delta)[row];
    const Real slope = has_bias(x) ? 1 : strength, factor = has_bias(x) ? strength : 1;
    const bool with_bias = needs_bias(x, rows, keys);
    Real bias[kTileKeys], kept[kTileKeys];
    if (with_bias) bias_row(x, rows, r, keys, bias);
    if (x.dropout_bound > 0) kept_row(x, rows, r, keys, kept);
    for (int j = 0; j < kTileKeys; j += kLanes) {
      const int64_t i = r * kTileKeys + j;
      const V score = load(at.distances + i), logit = with_bias ? biased(score * factor, load(bias + j)) : score;
      const V p = exp_negative((logit - origin) * slope) * largest;
      const V scale = x.dropout_bound > 0 ? load(kept + j) : splat(1);
      store(at.weights + i, p * scale);
      store(at.w + i, p == 0 ? V{} : p * strength * (load(at.w + i) * scale - delta));
      store(at.distances + i, -score);
    }
  }

  // What a row adds to the gradient of its strength: sum dS * (mean - distance), around the mean as dS nearly cancels.
  double slope_of_strength(int r) const {
    const Real mean = static_cast<const Real*>(x.mean_distance)[rows.flat(x, r)];
    V sum = {};
    for (int i = r * kTileKeys; i < (r + 1) * kTileKeys; i += kLanes) {
      const V w = load(at.w + i);
      sum += w == 0 ? V{} : w * (mean - load(at.distances + i));
    }
    return double(sum_of(sum)) / x.strength[rows.head[r]];
  }

  void tile(double* grad_strength, double* grad_p) {
    const Metric metric = metric_of(x, rows.head[0]);
    Bits totals[kTileRows];
    if (grid > 0) whole_rows(at.q, qk.stride, rows.count, grid, at.whole, totals);
    const Operands operands{grid > 0 ? at.whole : at.q, at.columns, qk.stride, qk.half, rows.count, int(x.width),
                            keys_finite && all_finite(at.q, rows.count * qk.stride), grid, totals};
    const bool powers = metric.form == kFormPower || (grad_p != nullptr && metric.p < kInfinity);
    const Product grad_weights{at.grad_out, at.value_columns, at.w, rows.count, int(x.value_width), value.stride, 1,
                               kTileKeys, nullptr, 0};
    if (powers) power_tile<true>(operands, metric.p, at.distances, &at.powers);
    if (metric.form == kFormPower) {
      multiply(grad_weights);
    } else {
      scores(metric, operands, at.distances, grad_weights);
    }
    for (int r = 0; r < rows.count; r++) soften(r);
    for (int r = 0; grad_strength != nullptr && r < rows.count; r++) grad_strength[r] = slope_of_strength(r);
    if (grid > 0) set_apart(at.q, rows.count * qk.stride, apart);
    multiply<kKeyRows>(
        {at.weights, at.grad_out, at.grad_v, keys.count, rows.count, 1, kTileKeys, value.stride, nullptr, 1});
    pull(metric, {at.q, at.keys, at.columns, at.grad_q, at.grad_k, at.w, at.distances, grad_p, qk.stride, qk.half,
                  rows.count, keys.count, int(x.width), grid > 0}, at.powers);
  }

  // One query tile against the current key tile; the gradient of its q goes on from what earlier key tiles left.
  void query(int64_t part, const Tiling& tiling, int64_t b, int64_t kv_head, int64_t t) {
    rows.set(x, tiling, b, kv_head, t);
    if (!rows.see(keys.first, keys.count)) return;
    read_queries();
    read_rows(x.grad_out, value, rows, at.grad_out);
    double grad_strength[kTileRows], grad_p[kTileRows] = {};
    tile(x.grad_strength != nullptr ? grad_strength : nullptr, x.grad_p != nullptr ? grad_p : nullptr);
    for (int r = 0; r < rows.count; r++) {
      qk.store_row(at.grad_q + r * qk.stride, grad_q_of(r));
      const int64_t head = (part * x.batch + b) * x.heads + rows.head[r];
      if (x.grad_strength != nullptr) x.grad_strength[head] += grad_strength[r];
      if (x.grad_p != nullptr) x.grad_p[head] += grad_p[r];
    }
  }

  Real* grad_q_of(int r) const { return static_cast<Real*>(x.grad_q) + rows.flat(x, r) * x.width; }

  // Where the cosine keeps what a query is multiplied by.
  Real& inverse_of(int r) const {
    return at.inverses[rows.head[r] % (x.heads / x.kv_heads) * x.queries + rows.index[r]];
  }

  // The rows of q, directions for the cosine, and their gradients so far.
  void read_queries() {
    read_rows(x.q, qk, rows, at.q);
    for (int r = 0; r < rows.count; r++) {
      qk.load_row(grad_q_of(r), at.grad_q + r * qk.stride);
      if (x.kernel == kCosine) scale_row(qk.stride, at.q + r * qk.stride, inverse_of(r));
    }
  }

  void measure_queries(int64_t part, const Tiling& tiling, int64_t b, int64_t kv_head) {
    for (int64_t t = part; t < tiling.count; t += x.parts) {
      rows.set(x, tiling, b, kv_head, t);
      read_rows(x.q, qk, rows, at.q);
      for (int r = 0; r < rows.count; r++) inverse_of(r) = make_unit(qk.stride, at.q + r * qk.stride);
    }
  }

  void pull_queries(int64_t part, const Tiling& tiling, int64_t b, int64_t kv_head) {
    for (int64_t t = part; t < tiling.count; t += x.parts) {
      rows.set(x, tiling, b, kv_head, t);
      read_queries();
      for (int r = 0; r < rows.count; r++) {
        pull_unit(at.q + r * qk.stride, inverse_of(r), qk.stride, at.grad_q + r * qk.stride);
        qk.store_row(at.grad_q + r * qk.stride, grad_q_of(r));
      }
    }
  }

  void run(int64_t task) {
    const Tiling tiling(x);
    const int64_t part = task % x.parts, kv_head = task / x.parts % x.kv_heads, b = task / x.parts / x.kv_heads;
    const Grid found = grid_of(x, qk, b, kv_head, grids, at.range, at.keys);
    grid = found.step;
    if (grid > 0) apart = factor_apart(found.largest);
    const bool directions = x.kernel == kCosine;
    Real of_keys[kTileKeys];
    if (directions) measure_queries(part, tiling, b, kv_head);
    for (int64_t key = 0; key < x.keys; key += kTileKeys) {
      keys.set(x, b, key);
      if (!keys.any) continue;
      read_keys(x.k, qk, b, kv_head, keys, at.keys);
      for (int j = 0; directions && j < keys.count; j++) of_keys[j] = make_unit(qk.stride, at.keys + j * qk.stride);
      keys_finite = all_finite(at.keys, kTileKeys * qk.stride);
      transpose(qk, at.keys, qk.stride, at.columns);
      if (grid > 0) {
        whole_columns(at.columns, x.width, grid);
        set_apart(at.keys, kTileKeys * qk.stride, apart);
      }
      read_keys(x.v, value, b, kv_head, keys, at.values);
      transpose(value, at.values, value.stride, at.value_columns);
      memset(at.grad_k, 0, sizeof(Real) * kTileKeys * qk.stride);
      memset(at.grad_v, 0, sizeof(Real) * kTileKeys * value.stride);
      for (int64_t t = part; t < tiling.count; t += x.parts) query(part, tiling, b, kv_head, t);
      const int64_t first = ((part * x.batch + b) * x.kv_heads + kv_head) * x.keys + key;
      for (int j = 0; j < keys.count; j++) {
        if (directions) pull_unit(at.keys + j * qk.stride, of_keys[j], qk.stride, at.grad_k + j * qk.stride);
        qk.store_row(at.grad_k + j * qk.stride, static_cast<Real*>(x.grad_k) + (first + j) * x.width);
        value.store_row(at.grad_v + j * value.stride, static_cast<Real*>(x.grad_v) + (first + j) * x.value_width);
      }
    }
    if (directions) pull_queries(part, tiling, b, kv_head);
  }
};

static void backward_task(const Problem* x, int64_t task, char* scratch, char* shared) {
  Backward(*x, scratch, shared).run(task);
}

static int64_t backward_tasks(const Problem* x) { return x->batch * x->kv_heads * x->parts; }

static int64_t backward_scratch(const Problem* x) {
  return BackwardScratch(*x, Layout(x->width, is_paired(x->kernel)), Layout(x->value_width, false), nullptr).bytes;
}

}  // namespace HEED_SPACE
