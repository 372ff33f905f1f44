// L1 distances in whole numbers: |a - b| = a + b - 2 min(a, b), summed modulo 2^32. Every vector unit takes the smaller
// of two integers and adds them; differences and sums of floats wait for those units that add.
#pragma once
#include "tile.h"

namespace HEED_SPACE {

constexpr int kFewRows = 24;  // queries that are not worth looking at all keys first
constexpr int64_t kHighest = 0x7fffff00;  // below 2^31

// The range of each coordinate, and how far consecutive rows lie apart, of rows that are written to `next()`.
struct Extent {
  Real *low, *high, *rows;  // [stride], [stride], [kTileKeys][stride]
  int64_t stride, count = 0, moves = 0;
  V moved{}, nothing{};  // sums of |difference| of consecutive rows, and of 0 for every finite number

  Extent(Real* low, Real* high, Real* rows, int64_t stride) : low(low), high(high), rows(rows), stride(stride) {
    for (int64_t i = 0; i < stride; i++) low[i] = kInfinity, high[i] = -kInfinity;
  }

  Real* next() {
    if (count == kTileKeys) take_in();
    return rows + count++ * stride;
  }

  void take_in() {
    for (int64_t i = 0; i < stride && count > 0; i += kLanes) {
      V least = load(low + i), most = load(high + i), before = load(rows + i);
      for (const Real* at = rows + i; at < rows + count * stride; at += stride) {
        const V x = load(at);
        least = -larger(-least, -x);
        most = larger(most, x);
        moved += absolute(x - before);
        nothing += x - x;
        before = x;
      }
      store(low + i, least);
      store(high + i, most);
    }
    moves += count > 0 ? count - 1 : 0;
    count = 0;
  }

  // The step of the finest grid, a power of two, on which every distance fits 31 bits; 0 where it is too coarse: the
  // rounding of all coordinates together must stay near that of a float as large as a distance between two rows.
  Real step() const {
    double reach = 0, found = 0x1p-120;
    for (int64_t i = 0; i < stride; i++) reach += double(high[i]) - double(low[i]);
    if (sum_of(nothing) != 0 || !(reach > 0) || reach > 0x1p120) return 0;
    while (found * double(kHighest - 2 * stride) < reach) found *= 2;
    const double distance = double(sum_of(moved)) / double(moves > 0 ? moves : 1);
    const bool fine = found * found * double(stride) <= distance * distance * 0x1p-44;
    return fine && double(largest()) < found * double(kHighest) ? Real(found) : 0;
  }

  Real largest() const {
    Real found = 0;
    for (int64_t i = 0; i < stride; i++) {
      const Real size = high[i] > -low[i] ? high[i] : -low[i];
      found = found > size ? found : size;
    }
    return found;
  }
};

// Rows to whole numbers of `grid`, which may stay where they are, and their totals.
static void whole_rows(const Real* from, int64_t stride, int rows, Real grid, Real* to, Bits* totals) {
  const Real inverse = 1 / grid;
  for (int r = 0; r < rows; r++) {
    U total = {};
    for (int64_t i = r * stride; i < (r + 1) * stride; i += kLanes) {
      const I whole = rounded(load(from + i) * inverse);
      total += (U)whole;
      store(to + i, (V)whole);
    }
    UnsignedBits sum = 0;
    for (int lane = 0; lane < kLanes; lane++) sum += total[lane];
    totals[r] = Bits(sum);
  }
}

// The same for columns of keys; totals go behind the last.
static void whole_columns(Real* columns, int64_t width, Real grid) {
  const Real inverse = 1 / grid;
  for (int j = 0; j < kTileKeys; j += kLanes) {
    U total = {};
    Real* at = columns + j;
    for (int64_t d = 0; d < width; d++, at += kTileKeys) {
      const I whole = rounded(load(at) * inverse);
      total += (U)whole;
      store(at, (V)whole);
    }
    store(at, (V)total);
  }
}

// Takes in all queries and keys of a key-value head.
static void take_in_head(const Problem& x, const Layout& layout, int64_t b, int64_t kv_head, Extent& extent) {
  const int64_t group = x.heads / x.kv_heads;
  for (int64_t row = 0; row < group * x.queries; row++) {
    const int64_t head = kv_head * group + row / x.queries;
    const int64_t offset = b * x.q.strides[0] + head * x.q.strides[1] + row % x.queries * x.q.strides[2];
    layout.read_row(x.q, offset, extent.next());
  }
  extent.take_in();
  Keys keys;
  for (int64_t key = 0; key < x.keys; key += kTileKeys) {
    keys.set(x, b, key);
    for (int j = 0; j < keys.count; j++) {
      const int64_t offset = b * x.k.strides[0] + kv_head * x.k.strides[1] + (key + j) * x.k.strides[2];
      if (keys.real[j]) layout.read_row(x.k, offset, extent.next());
    }
  }
  extent.take_in();
}

// What the tasks of a key-value head share, zero at first. It depends on nothing but q, k and the key mask, so the
// backward pass finds the grid, and thereby the very scores, of the forward pass.
struct Grid {
  Real step, largest;  // queries and keys are whole numbers of the step, 0: they are not; the largest |number|
  int32_t known;
};

HEED_INLINE bool may_be_whole(const Problem& x) { return kWhole && x.kernel == kL1 && x.queries >= kFewRows; }

static int64_t grid_bytes(const Problem* x) {
  return may_be_whole(*x) ? x->batch * x->kv_heads * int64_t(sizeof(Grid)) : 0;
}

// Found by the first task that asks; others that ask meanwhile find the same. `range`: two rows, `rows`: a tile.
static Grid grid_of(const Problem& x, const Layout& layout, int64_t b, int64_t kv_head, Grid* grids, Real* const* range,
                    Real* rows) {
  if (!may_be_whole(x)) return {};
  Grid& shared = grids[b * x.kv_heads + kv_head];
  Grid found{0, 0, __atomic_load_n(&shared.known, __ATOMIC_ACQUIRE)};
  if (found.known) {
    __atomic_load(&shared.step, &found.step, __ATOMIC_RELAXED);
    __atomic_load(&shared.largest, &found.largest, __ATOMIC_RELAXED);
    return found;
  }
  Extent extent(range[0], range[1], rows, layout.stride);
  take_in_head(x, layout, b, kv_head, extent);
  found = {extent.step(), extent.largest(), 1};
  __atomic_store(&shared.step, &found.step, __ATOMIC_RELAXED);
  __atomic_store(&shared.largest, &found.largest, __ATOMIC_RELAXED);
  __atomic_store_n(&shared.known, 1, __ATOMIC_RELEASE);
  return found;
}

}  // namespace HEED_SPACE
