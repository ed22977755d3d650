// The energy of an environment for avx512.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx2,fma")
#endif
#define KML_NAME avx512
#define KML_WIDTH 4
#define KML_MEMBER_WIDTH 8
#include "environment_function.h"
#include "member_function.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
