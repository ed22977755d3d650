// SOAP for baseline.
#define KML_NAME baseline
#define KML_WIDTH 2
#include "soap_function.h"
