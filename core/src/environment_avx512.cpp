// The energy of an environment for avx512.
#if defined(__x86_64__)
#include "target_avx512.h"
#define KML_WIDTH 4
#define KML_MEMBER_WIDTH 8
#include "environment_function.h"
#include "member_function.h"
#include "target_end.h"
#endif
