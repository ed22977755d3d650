// The energy of an environment for avx2.
#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define KML_NAME avx2
#define KML_WIDTH 4
#define KML_MEMBER_WIDTH 4
#include "environment_function.h"
#include "member_function.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
