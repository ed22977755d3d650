#include "openmmkml/internal/KMLForceImpl.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include "openmm/System.h"
#include "openmmkml/internal/KMLKernels.h"
#include "openmmkml/internal/SystemChecks.h"
#include <algorithm>
#include <atomic>
#include <mutex>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

namespace {
atomic<KMLForceImpl::Route> route{KMLForceImpl::USUAL};

mutex warningsLock;
vector<string> warnings;

void warn(const string& text) {
    lock_guard<mutex> lock(warningsLock);
    if (find(warnings.begin(), warnings.end(), text) == warnings.end())
        warnings.push_back(text);
}
} // namespace

void KMLForceImpl::setRoute(Route newRoute) { route = newRoute; }

// The base class needs the owner for its force group.
KMLForceImpl::KMLForceImpl(const KMLForce& owner)
    : CustomCPPForceImpl(owner), owner(owner), scaleParameter(owner.getScaleParameter()),
      scaleDerivative(owner.hasEnergyParameterDerivative()), scaleDefaultValue(owner.getScaleDefaultValue()) {}

void KMLForceImpl::initialize(ContextImpl& context) {
    Platform& platform = context.getPlatform();
    const System& system = context.getSystem();
    checkSystem(system, owner);
    string failure;
    ownKernel = route != BASE_CLASS && initializeKernel(context, failure);
    if (ownKernel)
        return;
    // Its host interface knows energies and forces only.
    if (scaleDerivative)
        throw OpenMMException(
            "KMLForce: the derivative by '" + scaleParameter +
            "' is offered on the Reference and CPU platforms and by compute kernels of a device, not here on " +
            platform.getName() +
            "; put the force into a CustomCVForce with the energy function 'scale*E' to get it there");
    evaluator = make_unique<Evaluator>(owner, system.getNumParticles());
    CustomCPPForceImpl::initialize(context);
    if (!failure.empty())
        warn("a Context on the " + platform.getName() + " platform evaluates on the host, which is slower: " + failure);
}

/**
 * Initialize the platform's own kernel.
 *
 * @param failure  OUT why it cannot be used, if that was not to be expected
 * @return whether there is one that works
 */
bool KMLForceImpl::initializeKernel(ContextImpl& context, string& failure) {
    Platform& platform = context.getPlatform();
    if (!platform.supportsKernels({CalcKMLForceKernel::Name()}))
        return false;
    kernel = platform.createKernel(CalcKMLForceKernel::Name(), context);
    auto& own = kernel.getAs<CalcKMLForceKernel>();
    const bool uncertain = owner.getOutput() == KMLForce::UNCERTAINTY && !own.computesUncertainty();
    if (uncertain || (own.isSlowerThanHost() && !scaleDerivative && route == USUAL)) {
        kernel = Kernel();
        return false;
    }
    try {
        if (route == FAILING_DEVICE)
            throw OpenMMException("a test lets it fail");
        own.initialize(context.getSystem(), owner);
        return true;
    } catch (const exception& reason) {
        if (!own.isReplaceable())
            throw;
        failure = reason.what();
    }
    kernel = Kernel();
    return false;
}

vector<string> KMLForceImpl::getWarnings() {
    lock_guard<mutex> lock(warningsLock);
    return warnings;
}

double KMLForceImpl::calcForcesAndEnergy(ContextImpl& context, bool includeForces, bool includeEnergy, int groups) {
    if (!ownKernel)
        return CustomCPPForceImpl::calcForcesAndEnergy(context, includeForces, includeEnergy, groups);
    if ((groups & (1 << owner.getForceGroup())) == 0)
        return 0.0;
    return kernel.getAs<CalcKMLForceKernel>().execute(context, includeForces, includeEnergy);
}

double KMLForceImpl::computeForce(ContextImpl& context, const vector<Vec3>& positions, vector<Vec3>& forces) {
    Vec3 box[3];
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    double scale = getScale(context, scaleParameter);
    double energy = evaluator->computeEnergy(positions, box, true);
    fill(forces.begin(), forces.end(), Vec3());
    evaluator->addForces(scale, forces);
    return scale * energy;
}

map<string, double> KMLForceImpl::getDefaultParameters() {
    if (scaleParameter.empty())
        return {};
    return {{scaleParameter, scaleDefaultValue}};
}

// Every platform has this one, so that a KMLForce never restricts the choice of platform.
vector<string> KMLForceImpl::getKernelNames() { return {"CalcCustomCPPForce"}; }

// Atoms of a one-molecule model belong together, whether or not other forces bond them: barostats and the wrapping of
// GPU platforms then move them as one.
vector<pair<int, int>> KMLForceImpl::getBondedParticles() const {
    return ownKernel ? kernel.getAs<const CalcKMLForceKernel>().getBonds() : evaluator->getBonds();
}

void KMLForceImpl::updateParametersInContext(ContextImpl& context) {
    if (owner.getScaleParameter() != scaleParameter || owner.hasEnergyParameterDerivative() != scaleDerivative)
        throw OpenMMException("KMLForce: the name of the scale parameter or the request for its derivative changed; "
                              "that needs a new Context, or Context.reinitialize()");
    if (ownKernel && owner.getOutput() == KMLForce::UNCERTAINTY &&
        !kernel.getAs<CalcKMLForceKernel>().computesUncertainty())
        throw OpenMMException("KMLForce: the output changed, which needs a new Context on this platform, or "
                              "Context.reinitialize()");
    checkSystem(context.getSystem(), owner);
    if (ownKernel)
        kernel.getAs<CalcKMLForceKernel>().copyParametersToContext(context, owner);
    else
        evaluator = make_unique<Evaluator>(owner, context.getSystem().getNumParticles());
    if (!scaleParameter.empty() && owner.getScaleDefaultValue() != scaleDefaultValue) {
        scaleDefaultValue = owner.getScaleDefaultValue();
        context.setParameter(scaleParameter, scaleDefaultValue);
    }
    context.systemChanged();
}
