// The C interface: chooses the variant this processor can run and shares the tasks among threads.
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "problem.h"

#define HEED_DECLARE(variant)                                                              \
  extern "C" const Pass heed_forward_##variant##_float, heed_forward_##variant##_double,   \
      heed_backward_##variant##_float, heed_backward_##variant##_double,                   \
      heed_decode_##variant##_float, heed_decode_##variant##_double;

HEED_DECLARE(generic)
#if defined(__x86_64__)
HEED_DECLARE(avx2)
HEED_DECLARE(avx512)
#endif

namespace {

struct Variant {
  const char* name;
  const Pass* passes[2][3];  // [double precision][Which]
};

#define HEED_VARIANT_OF(variant)                                                                                  \
  {                                                                                                               \
    #variant, {                                                                                                   \
      {&heed_forward_##variant##_float, &heed_backward_##variant##_float, &heed_decode_##variant##_float},        \
      {&heed_forward_##variant##_double, &heed_backward_##variant##_double, &heed_decode_##variant##_double},     \
    }                                                                                                             \
  }

const Variant kVariants[] = {
#if defined(__x86_64__)
    HEED_VARIANT_OF(avx512), HEED_VARIANT_OF(avx2),
#endif
    HEED_VARIANT_OF(generic)};

bool runs_here(const Variant& variant) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (strcmp(variant.name, "avx512") == 0)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
  if (strcmp(variant.name, "avx2") == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return true;
}

const Variant* variant_of(const char* name) {
  for (const Variant& variant : kVariants)
    if ((*name == '\0' || strcmp(variant.name, name) == 0) && runs_here(variant)) return &variant;
  return nullptr;
}

// Tasks of one call, and where the next thread takes on.
struct Work {
  const Pass& pass;
  const Problem& problem;
  int64_t count;
  char* shared;
  std::atomic<int64_t> next{0};

  void run(char* scratch) {
    for (int64_t task = next++; task < count; task = next++) pass.run(&problem, task, scratch, shared);
  }
};

// OpenMP's GOMP_parallel, of the library that the caller computes with: its threads are awake, and wait in the way of
// others. They do not outlive a fork, so the process counts.
using Parallel = void (*)(void (*function)(void*), void* data, unsigned threads, unsigned flags);
Parallel parallel = nullptr;
int64_t owner = 0;

int64_t process() {
#if defined(__unix__) || defined(__APPLE__)
  return getpid();
#else
  return 0;
#endif
}

struct Crew {
  Work& work;
  char* scratch;
  int64_t each, threads;
  std::atomic<int64_t> next{0};
};

void join_crew(void* data) {
  Crew& crew = *static_cast<Crew*>(data);
  const int64_t member = crew.next++;
  if (member < crew.threads) crew.work.run(crew.scratch + member * crew.each);
}

// Threads of our own live for one call: nothing is left behind that a fork or the end of the process could trip over.
void share(Work& work, char* scratch, int64_t each, int64_t threads) {
  if (threads > 1 && parallel != nullptr && owner == process()) {
    Crew crew{work, scratch, each, threads};
    return parallel(join_crew, &crew, unsigned(threads), 0);
  }
  std::vector<std::thread> others;
  try {
    others.reserve(size_t(threads));
    for (int64_t t = 1; t < threads; t++)
      others.emplace_back([&work, at = scratch + t * each] { work.run(at); });
  } catch (const std::system_error&) {  // no more threads to be had: those that run do all of it
  } catch (const std::bad_alloc&) {
  }
  work.run(scratch);
  for (std::thread& thread : others) thread.join();
}

int64_t whole_pages(int64_t bytes) { return (bytes + 4095) / 4096 * 4096; }

}  // namespace

// What the library shows to the outside; all else is hidden.
#define HEED_PUBLIC extern "C" __attribute__((visibility("default")))

// Size of Problem, so that a caller with another idea of it can be refused.
HEED_PUBLIC int64_t heed_problem_bytes() { return int64_t(sizeof(Problem)); }

// The variant that `name` asks for, or the best one for an empty name; null where this processor cannot run it.
HEED_PUBLIC const char* heed_variant(const char* name) {
  const Variant* variant = variant_of(name);
  return variant == nullptr ? nullptr : variant->name;
}

// Takes OpenMP's threads from now on, in this process; null: threads of its own.
HEED_PUBLIC void heed_share_threads(void* gomp_parallel) {
  parallel = reinterpret_cast<Parallel>(gomp_parallel);
  owner = process();
}

// Runs one pass, of `Which`. 0: done; 1: no such variant here; 2: out of memory.
HEED_PUBLIC int32_t heed_run(const Problem* problem, const char* name, int32_t which) {
  const Variant* variant = variant_of(name);
  if (variant == nullptr) return 1;
  const Pass& pass = *variant->passes[problem->double_precision != 0][which];
  const int64_t count = pass.tasks(problem), each = whole_pages(pass.scratch_bytes(problem));
  const int64_t shared = pass.shared_bytes == nullptr ? 0 : whole_pages(pass.shared_bytes(problem));
  const int64_t threads = count < problem->threads ? count : problem->threads;
  if (threads < 1) return 0;
  char* scratch = static_cast<char*>(std::aligned_alloc(4096, size_t(each * threads + shared)));
  if (scratch == nullptr) return 2;
  memset(scratch + each * threads, 0, size_t(shared));
  Work work{pass, *problem, count, scratch + each * threads};
  share(work, scratch, each, threads);
  if (pass.finish != nullptr) pass.finish(problem, work.shared);
  std::free(scratch);
  return 0;
}
