#ifndef OPENMMKML_COMMONKMLKERNELFACTORY_H_
#define OPENMMKML_COMMONKMLKERNELFACTORY_H_

#include "CommonKMLKernels.h"
#include "openmm/KernelFactory.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include <string>

namespace OpenMMKML {

/**
 * Makes the kernel for one platform of the common compute layer.
 *
 * PlatformData::contexts holds pointers to the platform's own subclass of ComputeContext, whose header needs the SDK of
 * the device (cuda.h, cl.h, hip). The subclass stays incomplete here. Its only base class is ComputeContext, so the
 * pointers have the same value.
 */
template <class PlatformData>
class CommonKMLKernelFactory : public OpenMM::KernelFactory {
public:
    OpenMM::KernelImpl* createKernelImpl(std::string name, const OpenMM::Platform& platform,
                                         OpenMM::ContextImpl& context) const override {
        if (name != CalcKMLForceKernel::Name())
            throw OpenMM::OpenMMException("KMLForce: there is no kernel of the name '" + name + "'");
        auto& data = *static_cast<PlatformData*>(context.getPlatformData());
        auto& cc = *reinterpret_cast<OpenMM::ComputeContext*>(data.contexts[0]);
        return new CommonCalcKMLForceKernel(name, platform, cc);
    }
};

/** Give the platform its kernel, once; OpenMM may call a library's registration again. */
template <class PlatformData>
void registerKernelFactory(const char* platformName) {
    static bool done = false;
    if (done)
        return;
    for (int i = 0; i < OpenMM::Platform::getNumPlatforms(); i++) {
        OpenMM::Platform& platform = OpenMM::Platform::getPlatform(i);
        if (platform.getName() == platformName) {
            platform.registerKernelFactory(CalcKMLForceKernel::Name(), new CommonKMLKernelFactory<PlatformData>());
            done = true;
        }
    }
}

} // namespace OpenMMKML

#endif
