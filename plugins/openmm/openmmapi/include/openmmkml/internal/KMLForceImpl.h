#ifndef OPENMMKML_KMLFORCEIMPL_H_
#define OPENMMKML_KMLFORCEIMPL_H_

#include "openmm/Kernel.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/internal/CustomCPPForceImpl.h"
#include "openmmkml/KMLForce.h"
#include "openmmkml/internal/Engine.h"
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace OpenMMKML {

/**
 * Evaluates a KMLForce in one Context, by one of two routes:
 *
 * - a compute kernel of the platform, where it registered one (Reference, CPU; GPUs in libraries of their own);
 * - else the base class, which works on every platform: it brings the positions to the host, calls computeForce() and
 *   takes the forces back. Also where a device cannot run its compute kernel; getWarnings() then says why.
 */
class KMLForceImpl : public OpenMM::CustomCPPForceImpl {
public:
    explicit KMLForceImpl(const KMLForce& owner);

    void initialize(OpenMM::ContextImpl& context);
    const KMLForce& getOwner() const override { return owner; }
    double calcForcesAndEnergy(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy,
                               int groups) override;
    double computeForce(OpenMM::ContextImpl& context, const std::vector<OpenMM::Vec3>& positions,
                        std::vector<OpenMM::Vec3>& forces) override;
    std::map<std::string, double> getDefaultParameters() override;
    std::vector<std::string> getKernelNames() override;
    std::vector<std::pair<int, int>> getBondedParticles() const override;
    void updateParametersInContext(OpenMM::ContextImpl& context);

    /** For tests: base class always; compute kernels of a device even if the host is faster; and as if they failed. */
    enum Route { USUAL = 0, BASE_CLASS = 1, DEVICE = 2, FAILING_DEVICE = 3 };
    /** Which way new Contexts go. */
    static void setRoute(Route newRoute);
    /** Why Contexts of this process left their device's compute kernel for the base class, without repetition. */
    static std::vector<std::string> getWarnings();

private:
    bool initializeKernel(OpenMM::ContextImpl& context, std::string& failure);

    const KMLForce& owner;
    bool ownKernel = false;
    OpenMM::Kernel kernel;
    std::unique_ptr<Evaluator> evaluator; // of the base class's route
    // What the Context was created with, or updated to.
    const std::string scaleParameter;
    const bool scaleDerivative;
    double scaleDefaultValue;
};

} // namespace OpenMMKML

#endif
