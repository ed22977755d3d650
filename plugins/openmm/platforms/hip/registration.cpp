#include "CommonKMLKernelFactory.h"
#include "openmm/hip/HipPlatform.h"
#include "openmmkml/internal/export.h"

/** OpenMM calls these two when it loads the library. */
extern "C" KML_EXPORT void registerPlatforms() {}

extern "C" KML_EXPORT void registerKernelFactories() {
    OpenMMKML::registerKernelFactory<OpenMM::HipPlatform::PlatformData>("HIP");
}
