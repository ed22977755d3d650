#include "CommonKMLKernelFactory.h"
#include "openmm/cuda/CudaPlatform.h"
#include "openmmkml/internal/export.h"

/** OpenMM calls these two when it loads the library. */
extern "C" KML_EXPORT void registerPlatforms() {}

extern "C" KML_EXPORT void registerKernelFactories() {
    OpenMMKML::registerKernelFactory<OpenMM::CudaPlatform::PlatformData>("CUDA");
}
