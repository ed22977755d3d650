// SOAP for avx2.
#if defined(__x86_64__)
#include "target_avx2.h"
#define KML_WIDTH 4
#include "soap_function.h"
#include "target_end.h"
#endif
