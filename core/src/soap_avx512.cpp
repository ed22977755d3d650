// SOAP for avx512.
#if defined(__x86_64__)
#include "target_avx512.h"
#define KML_WIDTH 8
#include "soap_function.h"
#include "target_end.h"
#endif
