// The block kernel for avx512.
#if defined(__x86_64__)
#include "target_avx512.h"
#define KML_WIDTH 8
#include "gdml_instructions.h"
#include "target_end.h"
#endif
