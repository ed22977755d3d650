#ifndef OPENMMKML_HOSTKMLKERNELS_H_
#define OPENMMKML_HOSTKMLKERNELS_H_

#include "openmm/KernelFactory.h"
#include "openmmkml/internal/Engine.h"
#include "openmmkml/internal/KMLKernels.h"
#include <memory>
#include <string>

namespace OpenMMKML {

/** KMLForce on every platform that keeps its positions in ReferencePlatform::PlatformData: Reference and CPU. */
class HostCalcKMLForceKernel : public CalcKMLForceKernel {
public:
    using CalcKMLForceKernel::CalcKMLForceKernel;
    void initialize(const OpenMM::System& system, const KMLForce& force) override;
    bool computesUncertainty() const override { return true; }
    double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) override;
    void copyParametersToContext(OpenMM::ContextImpl& context, const KMLForce& force) override;
    std::vector<std::pair<int, int>> getBonds() const override;

private:
    std::unique_ptr<Evaluator> evaluator;
    std::string scaleParameter;
    bool scaleDerivative = false;
};

class HostKernelFactory : public OpenMM::KernelFactory {
public:
    OpenMM::KernelImpl* createKernelImpl(std::string name, const OpenMM::Platform& platform,
                                         OpenMM::ContextImpl& context) const override;
};

} // namespace OpenMMKML

#endif
