#ifndef OPENMMKML_KMLKERNELSOURCES_H_
#define OPENMMKML_KMLKERNELSOURCES_H_

namespace OpenMMKML {

/** Source text of the compute kernels, put into the library by CMake. */
extern const char *const REPULSION_KERNEL_SOURCE,
    *const WALLS_KERNEL_SOURCE, *const GDML_KERNEL_SOURCE, *const NEIGHBORS_KERNEL_SOURCE, *const LOCAL_KERNEL_SOURCE;

} // namespace OpenMMKML

#endif
