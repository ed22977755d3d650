/**
 * All that follows is compiled for AVX-512, up to target_end.h. Include it before anything else; why, says
 * gdml_instructions.h.
 */
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx2,fma")
#endif
#define KML_NAME avx512
