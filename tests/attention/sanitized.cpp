// One variant of the kernel under the sanitizers, or under an emulator: every kernel with every kind of mask on buffers
// of exactly the sizes it may touch, its values against plain loops in double precision. Exits 0 where all is well.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "variant.cpp"

#define HEED_FORWARD HEED_JOIN(heed_forward, HEED_VARIANT, HEED_REAL)
#define HEED_BACKWARD HEED_JOIN(heed_backward, HEED_VARIANT, HEED_REAL)
#define HEED_DECODE HEED_JOIN(heed_decode, HEED_VARIANT, HEED_REAL)

using Real = HEED_REAL;

struct Sizes {
  int64_t batch, heads, kv_heads, queries, keys, width, value_width;
};

struct Case {
  Sizes n;
  int64_t kernel;
  double p;
  bool causal, biased, dropped;
  int64_t window;
  double strength = 0.5;
  std::vector<Real> q, k, v, grad_out, mask, out, lse, entropy, top, mean, highest, delta, grad_q, grad_k, grad_v;
  std::vector<uint8_t> key_mask;
  std::vector<double> powers, slopes, strengths, grad_strength, grad_p;
  Problem problem{};
};

static double random_number() { return std::rand() / (RAND_MAX + 1.0) - 0.5; }

static void fill(std::vector<Real>& x, int64_t count) {
  x.resize(size_t(count));
  for (Real& value : x) value = Real(2 * random_number());
}

static Array array(const void* data, int64_t dtype, int64_t heads, int64_t rows, int64_t width) {
  return {data, {heads * rows * width, rows * width, width, 1}, dtype};
}

static void prepare(Case& c) {
  const Sizes& n = c.n;
  const int64_t rows = n.batch * n.heads * n.queries, keys = n.batch * n.kv_heads * n.keys;
  const int64_t dtype = sizeof(Real) == 4 ? kFloat32 : kFloat64;
  fill(c.q, rows * n.width), fill(c.k, keys * n.width), fill(c.v, keys * n.value_width);
  fill(c.grad_out, rows * n.value_width), fill(c.mask, rows * n.keys);
  for (auto* x : {&c.lse, &c.entropy, &c.top, &c.mean, &c.highest, &c.delta}) x->assign(size_t(rows), 0);
  c.out.assign(c.grad_out.size(), 0);
  c.grad_q.assign(c.q.size(), 0), c.grad_k.assign(c.k.size(), 0), c.grad_v.assign(c.v.size(), 0);
  c.powers.assign(size_t(n.heads), c.p), c.slopes.assign(size_t(n.heads), 0.1);
  c.strengths.assign(size_t(n.heads), c.strength), c.grad_strength.assign(size_t(n.batch * n.heads), 0);
  c.grad_p.assign(size_t(n.batch * n.heads), 0), c.key_mask.assign(size_t(n.batch * n.keys), 1);
  c.key_mask.back() = 0;
  Problem& x = c.problem;
  x.q = array(c.q.data(), dtype, n.heads, n.queries, n.width);
  x.k = array(c.k.data(), dtype, n.kv_heads, n.keys, n.width);
  x.v = array(c.v.data(), dtype, n.kv_heads, n.keys, n.value_width);
  x.grad_out = array(c.grad_out.data(), dtype, n.heads, n.queries, n.value_width);
  if (c.biased) {
    x.mask = array(c.mask.data(), dtype, n.heads, n.queries, n.keys);
    x.key_mask = {c.key_mask.data(), {n.keys, 1, 0, 0}, kBool};
    x.slopes = c.slopes.data();
  }
  x.p = c.powers.data(), x.out = c.out.data(), x.lse = c.lse.data(), x.entropy = c.entropy.data();
  x.max_probability = c.top.data(), x.mean_distance = c.mean.data(), x.highest = c.highest.data();
  x.delta = c.delta.data();
  x.grad_q = c.grad_q.data(), x.grad_k = c.grad_k.data(), x.grad_v = c.grad_v.data();
  x.strength = c.strengths.data(), x.grad_strength = c.grad_strength.data();
  x.grad_p = c.kernel == kLp ? c.grad_p.data() : nullptr;
  x.batch = n.batch, x.heads = n.heads, x.kv_heads = n.kv_heads, x.queries = n.queries, x.keys = n.keys;
  x.width = n.width, x.value_width = n.value_width, x.kernel = c.kernel, x.causal = c.causal, x.window = c.window;
  x.q_offset = n.keys - n.queries, x.double_precision = sizeof(Real) == 8, x.threads = x.parts = 1;
  x.seed = 7, x.dropout_bound = c.dropped ? 1 << 22 : 0, x.kept_scale = c.dropped ? 4.0 / 3 : 1;
}

static void run(const Pass& pass, const Problem& problem) {
  const int64_t shared_bytes = pass.shared_bytes == nullptr ? 0 : pass.shared_bytes(&problem);
  char* scratch = static_cast<char*>(std::aligned_alloc(64, size_t(pass.scratch_bytes(&problem))));
  char* shared = static_cast<char*>(std::aligned_alloc(64, size_t(shared_bytes + 63) / 64 * 64));
  std::memset(shared, 0, size_t(shared_bytes));
  for (int64_t task = 0; task < pass.tasks(&problem); task++) pass.run(&problem, task, scratch, shared);
  if (pass.finish != nullptr) pass.finish(&problem, shared);
  std::free(scratch), std::free(shared);
}

static double distance(const Case& c, const Real* q, const Real* k) {
  const int64_t half = c.n.width / 2;
  double sum = 0, top = 0, lengths[2] = {};
  for (int64_t d = 0; d < c.n.width; d++) {
    const double size = std::fabs(double(q[d]) - k[d]);
    const double pair = d < half ? std::hypot(size, double(q[d + half]) - k[d + half]) : 0;
    switch (c.kernel) {
      case kDot: sum -= double(q[d]) * k[d]; break;
      case kCosine: sum -= double(q[d]) * k[d], lengths[0] += q[d] * q[d], lengths[1] += k[d] * k[d]; break;
      case kL1: sum += size; break;
      case kL2: case kSqeuclidean: sum += size * size; break;
      case kLp: sum += std::pow(size, c.p); break;
      case kChebyshev: top = std::fmax(top, size); break;
      case kL21: sum += pair; break;
      case kLinf2: top = std::fmax(top, pair); break;
    }
  }
  if (c.kernel == kCosine) return sum / std::sqrt((lengths[0] + 1e-8) * (lengths[1] + 1e-8));
  return top + (c.kernel == kL2 ? std::sqrt(sum) : c.kernel == kLp ? std::pow(sum, 1 / c.p) : sum);
}

// sum(out * grad_out) by plain loops, without dropout.
static double plain_loss(const Case& c) {
  const Sizes& n = c.n;
  double loss = 0;
  for (int64_t row = 0; row < n.batch * n.heads * n.queries; row++) {
    const int64_t i = row % n.queries, head = row / n.queries % n.heads, b = row / n.queries / n.heads;
    const int64_t first = (b * n.kv_heads + head * n.kv_heads / n.heads) * n.keys, position = i + n.keys - n.queries;
    double total = 0, product = 0;
    for (int64_t j = 0; j < n.keys; j++) {
      const int64_t back = position - j;
      if ((c.causal && back < 0) || (c.window && std::llabs(back) >= c.window)) continue;
      double s = -c.strength * distance(c, &c.q[size_t(row * n.width)], &c.k[size_t((first + j) * n.width)]);
      if (c.biased && !c.key_mask[size_t(b * n.keys + j)]) continue;
      if (c.biased) s += c.mask[size_t(row * n.keys + j)] - 0.1 * double(std::llabs(back));
      const double e = std::exp(s);
      total += e;
      for (int64_t d = 0; d < n.value_width; d++)
        product += e * c.v[size_t((first + j) * n.value_width + d)] * c.grad_out[size_t(row * n.value_width + d)];
    }
    loss += total > 0 ? product / total : 0;
  }
  return loss;
}

static bool near(const char* what, const Case& c, double got, double wanted) {
  const bool fine = std::fabs(got - wanted) <= 2e-3 * (1 + std::fabs(wanted));
  if (!fine) std::printf("kernel %d, p %g: %s is %g, expected %g\n", int(c.kernel), c.p, what, got, wanted);
  return fine;
}

template <class T> static double slope(Case& c, T& x) {
  const T kept = x, step = T(1e-3);
  x = kept + step;
  const double up = plain_loss(c), width = double(x) - kept;
  x = kept - step;
  const double down = plain_loss(c), total = width + (double(kept) - x);
  x = kept;
  return (up - down) / total;
}

static double loss_of(const Case& c) {
  double loss = 0;
  for (size_t i = 0; i < c.out.size(); i++) loss += double(c.out[i]) * c.grad_out[i];
  return loss;
}

// Few queries, with keys as they lie, in one part and in several.
static bool check_decoding(Case& c) {
  prepare(c);
  bool fine = true;
  for (int64_t threads : {1, 2}) {
    c.problem.threads = threads;
    c.out.assign(c.out.size(), 0);
    run(HEED_DECODE, c.problem);
    fine &= c.dropped ? bool(std::isfinite(loss_of(c))) : near("decoded loss", c, loss_of(c), plain_loss(c));
  }
  return fine;
}

static bool check(Case& c) {
  prepare(c);
  run(HEED_FORWARD, c.problem);
  const double loss = loss_of(c);
  for (size_t i = 0; i < c.out.size(); i++) c.delta[i / size_t(c.n.value_width)] += c.out[i] * c.grad_out[i];
  run(HEED_BACKWARD, c.problem);
  if (c.dropped) return std::isfinite(loss);
  bool fine = near("loss", c, loss, plain_loss(c));
  for (auto [x, grad] : {std::pair{&c.q, &c.grad_q}, {&c.k, &c.grad_k}, {&c.v, &c.grad_v}})
    for (size_t at : {size_t(0), x->size() / 2, x->size() - 1})
      fine &= near("slope", c, (*grad)[at], slope(c, (*x)[at]));
  double of_strength = 0;
  for (double part : c.grad_strength) of_strength += part;
  fine &= near("slope of the strength", c, of_strength, slope(c, c.strength));
  return fine;
}

static std::vector<double> powers_of(int64_t kernel) {
  return kernel == kLp ? std::vector<double>{1, 1.5, 2, 2.5, 3, 4} : std::vector<double>{0};
}

int main() {
  bool fine = true;
  for (int64_t kernel = kDot; kernel <= kCosine; kernel++) {
    for (double p : powers_of(kernel)) {
      std::vector<Case> cases;
      cases.push_back({{1, 2, 1, 3, 65, 6, 5}, kernel, p, false, false, false, 0});
      cases.push_back({{2, 2, 2, 49, 50, 18, 17}, kernel, p, true, false, false, 9});
      cases.push_back({{1, 1, 1, 1, 1, 2, 1}, kernel, p, true, false, true, 0});
      cases.push_back({{1, 4, 2, 7, 9, 2, 3}, kernel, p, false, true, false, 0});
      for (Case& c : cases) fine &= check(c);
    }
  }
  for (int64_t kernel = kDot; kernel <= kCosine; kernel++) {
    for (double p : powers_of(kernel)) {
      std::vector<Case> cases;
      cases.push_back({{1, 2, 1, 3, 65, 6, 5}, kernel, p, false, false, true, 0});
      cases.push_back({{1, 4, 2, 2, 1100, 18, 17}, kernel, p, true, false, false, 0});
      cases.push_back({{2, 3, 1, 1, 1100, 32, 32}, kernel, p, false, true, false, 900});
      cases.push_back({{1, 1, 1, 8, 9, 2, 3}, kernel, p, true, true, false, 0});
      for (Case& c : cases) fine &= check_decoding(c);
    }
  }
  return fine ? 0 : 1;
}
