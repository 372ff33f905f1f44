// The plain C interface: one call of distance attention as numbers and pointers. Mirrored field by field in native.py.
#pragma once
#include <cstdint>

enum Dtype : int64_t { kFloat32, kFloat64, kBfloat16, kFloat16, kBool };

enum Kernel : int64_t { kDot, kL1, kL2, kSqeuclidean, kLp, kChebyshev, kL21, kLinf2, kCosine };

enum Which : int32_t { kForward, kBackward, kDecode };

// A strided array of up to four axes; strides count elements. data is null where the argument was not given.
struct Array {
  const void* data;
  int64_t strides[4];
  int64_t dtype;
};

struct Problem {
  Array q, k, v;           // [B, H, Q, D], [B, K, T, D], [B, K, T, E]
  Array mask;              // [B, H, Q, T], bool (true: may be seen) or added to the logits
  Array key_mask;          // [B, T], bool (true: a real key)
  Array grad_out;          // [B, H, Q, E], backward only
  const double* p;         // [H], kLp only
  const double* slopes;    // [H], ALiBi
  const double* strength;  // [H], what distances are multiplied by
  void *out, *lse, *entropy, *max_probability, *mean_distance, *highest;  // [B, H, Q, E] and [B, H, Q], contiguous
  const void* delta;  // [B, H, Q], backward only, which reads the three before it
  void *grad_q, *grad_k, *grad_v;  // [B, H, Q, D] zeroed; [parts, B, K, T, D], [parts, B, K, T, E] zeroed
  double *grad_strength, *grad_p;  // [parts, B, H] zeroed, or null where they are not wanted
  int64_t batch, heads, kv_heads, queries, keys, width, value_width;
  int64_t kernel;
  int64_t causal, q_offset, window;  // window 0: none
  int64_t double_precision, threads, parts;
  uint64_t seed, dropout_bound;  // a pair is dropped where 24 hashed bits fall below the bound
  double kept_scale;             // 1 / (1 - dropout probability)
};

// What one compiled variant offers for one pass. Tasks are independent of one another and may run in any order.
// `shared` is memory of the call that all of them see, zero at first; `finish`, where it is not null, makes the result
// of what they left there.
struct Pass {
  int64_t (*tasks)(const Problem*);
  int64_t (*scratch_bytes)(const Problem*);
  int64_t (*shared_bytes)(const Problem*);
  void (*run)(const Problem*, int64_t task, char* scratch, char* shared);
  void (*finish)(const Problem*, char* shared);
};
