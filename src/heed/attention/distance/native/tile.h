// What every tile needs: rows read from strided tensors of any type, which keys a row sees, biases, dropout.
#pragma once
#include "products.h"

namespace HEED_SPACE {

HEED_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
HEED_INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
HEED_INLINE int64_t rounded_up(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

// Consecutive pieces of one aligned block of memory; with a null base it only counts.
struct Arena {
  char* base;
  int64_t used = 0;
  template <class T> T* take(int64_t count) {
    char* at = base + used;
    used += rounded_up(count * int64_t(sizeof(T)), 64);
    return reinterpret_cast<T*>(base == nullptr ? nullptr : at);
  }
};

HEED_INLINE float from_bfloat16(uint16_t bits) {
  const uint32_t wide = uint32_t(bits) << 16;
  float x;
  memcpy(&x, &wide, 4);
  return x;
}

HEED_INLINE float from_float16(uint16_t bits) {
  const uint32_t wide = uint32_t(bits & 0x7fff) << 13;
  float x;
  memcpy(&x, &wide, 4);
  x *= 0x1p112f;  // from bias 15 to bias 127; right for subnormal numbers too
  uint32_t out;
  memcpy(&out, &x, 4);
  out |= (out >= 0x47800000u ? 0x7f800000u : 0u) | uint32_t(bits & 0x8000) << 16;  // 65536 and above: infinity, NaN
  memcpy(&x, &out, 4);
  return x;
}

template <class T> HEED_INLINE Real converted(T x) { return Real(x); }
struct Bfloat16 { uint16_t bits; };
struct Float16 { uint16_t bits; };
HEED_INLINE Real converted(Bfloat16 x) { return Real(from_bfloat16(x.bits)); }
HEED_INLINE Real converted(Float16 x) { return Real(from_float16(x.bits)); }

template <class T> HEED_INLINE void copy_as(const T* from, int64_t step, int64_t count, Real* to) {
  if (step == 1) {
    for (int64_t i = 0; i < count; i++) to[i] = converted(from[i]);
  } else {
    for (int64_t i = 0; i < count; i++) to[i] = converted(from[i * step]);
  }
}

static void read(const Array& x, int64_t offset, int64_t step, int64_t count, Real* to) {
  switch (x.dtype) {
    case kFloat32: return copy_as(static_cast<const float*>(x.data) + offset, step, count, to);
    case kFloat64: return copy_as(static_cast<const double*>(x.data) + offset, step, count, to);
    case kBfloat16: return copy_as(static_cast<const Bfloat16*>(x.data) + offset, step, count, to);
    case kFloat16: return copy_as(static_cast<const Float16*>(x.data) + offset, step, count, to);
  }
}

HEED_INLINE void copy(const Real* from, int64_t count, Real* to) {
  for (int64_t i = 0; i < count; i++) to[i] = from[i];
}

HEED_INLINE void clear(Real* from, Real* to) {
  for (; from < to; from++) *from = 0;
}

// How rows of a width lie in a tile: padded with zeros to whole vectors; in two halves, each padded for itself, where
// pairs are taken (elsewhere `half` is the whole row).
struct Layout {
  int64_t width, first, half, stride;
  Layout(int64_t width, bool paired)
      : width(width), first(paired ? width / 2 : width), half(rounded_up(first, kLanes)),
        stride(paired ? 2 * half : half) {}
  void read_row(const Array& x, int64_t offset, Real* to) const {
    const int64_t step = x.strides[3];
    read(x, offset, step, first, to);
    clear(to + first, to + half);
    if (first == width) return;
    read(x, offset + first * step, step, width - first, to + half);
    clear(to + half + width - first, to + stride);
  }
  void load_row(const Real* row, Real* to) const {
    copy(row, first, to);
    clear(to + first, to + half);
    if (first == width) return;
    copy(row + first, width - first, to + half);
    clear(to + half + width - first, to + stride);
  }
  void store_row(const Real* from, Real* row) const {
    copy(from, first, row);
    copy(from + half, width - first, row + first);
  }
  int64_t place(int64_t d) const { return d < first ? d : d - first + half; }
};

// Rows of one key-value head, query head after query head, cut into tiles. Few queries share a tile across the group.
struct Tiling {
  int64_t group, queries, per_head, count;
  bool merged;
  explicit Tiling(const Problem& x, bool decode = false) : group(x.heads / x.kv_heads), queries(x.queries) {
    merged = queries <= kTileRows / 2 && group > 1;
    for (int64_t head = 0; merged && x.kernel == kLp && !decode && head < x.heads; head++) merged = x.p[head] == x.p[0];
    per_head = (queries + kTileRows - 1) / kTileRows;
    count = merged ? (group * queries + kTileRows - 1) / kTileRows : group * per_head;
  }
  int64_t first(int64_t tile) const {
    return merged ? tile * kTileRows : tile / per_head * queries + tile % per_head * kTileRows;
  }
  int rows(int64_t tile) const {
    const int64_t left = merged ? group * queries - tile * kTileRows : queries - tile % per_head * kTileRows;
    return int(least(left, kTileRows));
  }
};

// The rows of a query tile: their head and index, and the keys [low, high) that causality and window let each see.
struct Rows {
  int count;
  int64_t batch, head[kTileRows], index[kTileRows], low[kTileRows], high[kTileRows];
  int64_t lowest, highest;   // some row sees keys between these
  int64_t shared, shared_end;  // every row sees the keys between these

  void set(const Problem& x, const Tiling& tiling, int64_t b, int64_t kv_head, int64_t tile) {
    batch = b;
    count = tiling.rows(tile);
    lowest = shared_end = x.keys;
    highest = shared = 0;
    for (int r = 0; r < count; r++) {
      const int64_t flat = tiling.first(tile) + r;
      head[r] = kv_head * tiling.group + flat / x.queries;
      index[r] = flat % x.queries;
      const int64_t position = index[r] + x.q_offset;
      const int64_t end = x.causal ? position + 1 : x.window ? position + x.window : x.keys;
      low[r] = x.window ? most(0, position - x.window + 1) : 0;
      high[r] = most(low[r], least(x.keys, end));
      if (high[r] > low[r]) {
        lowest = least(lowest, low[r]);
        highest = most(highest, high[r]);
      }
      shared = most(shared, low[r]);
      shared_end = least(shared_end, high[r]);
    }
  }
  int64_t flat(const Problem& x, int r) const { return (batch * x.heads + head[r]) * x.queries + index[r]; }
  bool see(int64_t key, int64_t keys) const { return lowest < key + keys && highest > key; }
};

// The keys of a tile: the first, how many, and which of them `key_mask` leaves.
struct Keys {
  int64_t first;
  int count;
  bool whole, any;
  uint8_t real[kTileKeys];

  void set(const Problem& x, int64_t b, int64_t at) {
    first = at;
    count = int(least(x.keys - at, kTileKeys));
    whole = count == kTileKeys;
    any = x.key_mask.data == nullptr;
    const uint8_t* mask = static_cast<const uint8_t*>(x.key_mask.data);
    for (int j = 0; j < kTileKeys; j++) {
      real[j] = j < count;
      if (mask != nullptr && j < count) {
        real[j] = mask[b * x.key_mask.strides[0] + (at + j) * x.key_mask.strides[1]] != 0;
        any |= real[j] != 0;
        whole &= real[j] != 0;
      }
    }
  }
};

HEED_INLINE bool has_bias(const Problem& x) { return x.mask.data != nullptr || x.slopes != nullptr; }

// True where some pair of the tiles is hidden or has a bias, so that `bias_row` has something to say.
HEED_INLINE bool needs_bias(const Problem& x, const Rows& rows, const Keys& keys) {
  return has_bias(x) || !keys.whole || rows.shared > keys.first || rows.shared_end < keys.first + kTileKeys;
}

// What is added to the scores of one row: -infinity where a key is hidden, else mask and ALiBi.
static void bias_row(const Problem& x, const Rows& rows, int r, const Keys& keys, Real* bias) {
  const int64_t low = rows.low[r] - keys.first, high = rows.high[r] - keys.first;
  const int64_t offset = rows.batch * x.mask.strides[0] + rows.head[r] * x.mask.strides[1] +
                         rows.index[r] * x.mask.strides[2] + keys.first * x.mask.strides[3];
  for (int j = 0; j < kTileKeys; j++) bias[j] = 0;
  if (x.mask.data != nullptr && x.mask.dtype != kBool) read(x.mask, offset, x.mask.strides[3], keys.count, bias);
  if (x.slopes != nullptr) {
    const Real slope = Real(x.slopes[rows.head[r]]);
    const int64_t distance = rows.index[r] + x.q_offset - keys.first;
    for (int j = 0; j < kTileKeys; j++) bias[j] -= slope * Real(distance > j ? distance - j : j - distance);
  }
  for (int j = 0; j < kTileKeys; j++) bias[j] = keys.real[j] && j >= low && j < high ? bias[j] : -kInfinity;
  if (x.mask.data != nullptr && x.mask.dtype == kBool) {
    const uint8_t* seen = static_cast<const uint8_t*>(x.mask.data) + offset;
    for (int j = 0; j < keys.count; j++) bias[j] = seen[j * x.mask.strides[3]] ? bias[j] : -kInfinity;
  }
}

// Adds the bias of a row; a hidden pair is -infinity whatever its score.
HEED_INLINE V biased(V score, V bias) { return bias == -kInfinity ? bias : score + bias; }

// What dropout leaves of each weight of a row, 0 or 1 / (1 - probability): splitmix64 of seed, head and positions.
static void kept_row(const Problem& x, const Rows& rows, int r, const Keys& keys, Real* kept) {
  const uint64_t head = uint64_t(rows.batch * x.heads + rows.head[r]);
  const uint64_t row = head << 40 ^ uint64_t(rows.index[r]) << 20;
  const Real scale = Real(x.kept_scale);
  for (int j = 0; j < kTileKeys; j++) {
    uint64_t z = x.seed + 0x9E3779B97F4A7C15u * (1 + (row ^ uint64_t(keys.first + j)));
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    kept[j] = z >> 40 >= x.dropout_bound ? scale : 0;
  }
}

// Rows of keys or values from key `keys.first` on; zero where `key_mask` hides them or the tile has no more.
static void read_keys(const Array& from, const Layout& layout, int64_t b, int64_t kv_head, const Keys& keys, Real* to) {
  for (int j = 0; j < kTileKeys; j++, to += layout.stride) {
    const int64_t offset = b * from.strides[0] + kv_head * from.strides[1] + (keys.first + j) * from.strides[2];
    if (keys.real[j]) {
      layout.read_row(from, offset, to);
    } else {
      for (int64_t i = 0; i < layout.stride; i++) to[i] = 0;
    }
  }
}

// [kTileKeys][width], rows `stride` apart, to [width][kTileKeys], in the order of the coordinates.
static void transpose(const Layout& layout, const Real* rows, int64_t stride, Real* columns) {
  for (int j = 0; j < kTileKeys; j += kLanes) {
    for (int64_t base = 0; base < layout.stride; base += kLanes) {
      V block[kLanes];
#pragma GCC unroll 16
      for (int lane = 0; lane < kLanes; lane++) block[lane] = load(rows + (j + lane) * stride + base);
      transpose_block(block);
      const bool second = base >= layout.half;
      const int64_t start = second ? base - layout.half + layout.first : base;
      const int64_t count = (second ? layout.width : layout.first) - start;
#pragma GCC unroll 16
      for (int lane = 0; lane < kLanes; lane++)
        if (lane < count) store(columns + (start + lane) * kTileKeys + j, block[lane]);
    }
  }
}

// The squared length of a row, and what it is multiplied by to have length one: `unit` of metric.py.
struct Inverse : Summed {
  HEED_INLINE V step(V sum, V, V k) { return sum + k * k; }
  HEED_INLINE V close(V sum) { return 1 / square_root(sum + Real(1e-8)); }
};

HEED_INLINE void scale_row(int64_t stride, Real* row, Real factor) {
  for (int64_t d = 0; d < stride; d += kLanes) store(row + d, load(row + d) * factor);
}

// A row becomes the direction it has; what it was multiplied by.
HEED_INLINE Real make_unit(int64_t stride, Real* row) {
  V sum = {};
  for (int64_t d = 0; d < stride; d += kLanes) sum = Inverse::step(sum, sum, load(row + d));
  const Real inverse = Inverse::close(splat(sum_of(sum)))[0];
  scale_row(stride, row, inverse);
  return inverse;
}

static void read_rows(const Array& from, const Layout& layout, const Rows& rows, Real* to) {
  const int64_t* strides = from.strides;
  for (int r = 0; r < rows.count; r++, to += layout.stride)
    layout.read_row(from, rows.batch * strides[0] + rows.head[r] * strides[1] + rows.index[r] * strides[2], to);
}

}  // namespace HEED_SPACE
