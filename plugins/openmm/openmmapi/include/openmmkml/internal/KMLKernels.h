#ifndef OPENMMKML_KMLKERNELS_H_
#define OPENMMKML_KMLKERNELS_H_

#include "openmm/KernelImpl.h"
#include "openmm/Platform.h"
#include "openmm/System.h"
#include "openmm/internal/ContextImpl.h"
#include "openmmkml/KMLForce.h"
#include "openmmkml/internal/export.h"
#include <string>
#include <utility>
#include <vector>

namespace OpenMMKML {

/** What a platform implements to evaluate a KMLForce by itself. (A compute kernel, not a covariance function.) */
class KML_EXPORT CalcKMLForceKernel : public OpenMM::KernelImpl {
public:
    static std::string Name() { return "CalcKMLForce"; }
    CalcKMLForceKernel(const std::string& name, const OpenMM::Platform& platform) : KernelImpl(name, platform) {}

    /** Read the force; called once, before execute(). */
    virtual void initialize(const OpenMM::System& system, const KMLForce& force) = 0;
    /** Whether the host may evaluate the force instead if initialize() fails: the failure is the device's. */
    virtual bool isReplaceable() const { return false; }
    /** Whether the host would be faster, since the device is a processor. */
    virtual bool isSlowerThanHost() const { return false; }
    /** Whether it also computes standard deviations; the host does where it does not. */
    virtual bool computesUncertainty() const { return false; }
    /** Add forces and the derivative by the scale parameter to the Context and return the energy, kJ/mol. */
    virtual double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) = 0;
    /** Read the force again. Leaves everything as it was if that fails. */
    virtual void copyParametersToContext(OpenMM::ContextImpl& context, const KMLForce& force) = 0;
    /** Pairs of particles that belong to one molecule. */
    virtual std::vector<std::pair<int, int>> getBonds() const = 0;
};

} // namespace OpenMMKML

#endif
