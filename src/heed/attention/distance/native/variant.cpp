// One variant of the kernel: compiled once for each instruction set (HEED_VARIANT) and real type (HEED_REAL).
#define HEED_JOIN2(a, b, c) a##_##b##_##c
#define HEED_JOIN(a, b, c) HEED_JOIN2(a, b, c)
#define HEED_SPACE HEED_JOIN(heed, HEED_VARIANT, HEED_REAL)
#include "backward.h"
#include "decode.h"

extern "C" const Pass HEED_JOIN(heed_forward, HEED_VARIANT, HEED_REAL) = {
    HEED_SPACE::forward_tasks, HEED_SPACE::forward_scratch, HEED_SPACE::grid_bytes, HEED_SPACE::forward_task, nullptr};
extern "C" const Pass HEED_JOIN(heed_backward, HEED_VARIANT, HEED_REAL) = {
    HEED_SPACE::backward_tasks, HEED_SPACE::backward_scratch, HEED_SPACE::grid_bytes, HEED_SPACE::backward_task,
    nullptr};
extern "C" const Pass HEED_JOIN(heed_decode, HEED_VARIANT, HEED_REAL) = {
    HEED_SPACE::decode_tasks, HEED_SPACE::decode_scratch, HEED_SPACE::decode_shared, HEED_SPACE::decode_task,
    HEED_SPACE::decode_finish};
