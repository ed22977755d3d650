// The energy of an environment for baseline.
#define KML_NAME baseline
#define KML_WIDTH 2
#define KML_MEMBER_WIDTH 2
#include "environment_function.h"
#include "member_function.h"
