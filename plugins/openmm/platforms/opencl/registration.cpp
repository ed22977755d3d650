#include "CommonKMLKernelFactory.h"
#include "openmm/opencl/OpenCLPlatform.h"
#include "openmmkml/internal/export.h"

/** OpenMM calls these two when it loads the library. */
extern "C" KML_EXPORT void registerPlatforms() {}

extern "C" KML_EXPORT void registerKernelFactories() {
    OpenMMKML::registerKernelFactory<OpenMM::OpenCLPlatform::PlatformData>("OpenCL");
}
