// The block kernel for baseline.
#define KML_NAME baseline
#define KML_WIDTH 2
#include "gdml_instructions.h"
