// The energy of an environment for baseline.
#define KML_NAME baseline
#define KML_WIDTH 2
#include "environment_function.h"
