#include "openmmkml/internal/KMLForceImpl.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include "openmm/System.h"
#include "openmmkml/internal/KMLKernels.h"
#include "openmmkml/internal/SystemChecks.h"
#include <algorithm>
#include <atomic>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

namespace {
atomic<bool> baseClassRoute{false};
}

void KMLForceImpl::forceBaseClassRoute(bool yes) { baseClassRoute = yes; }

// The base class needs the owner for its force group.
KMLForceImpl::KMLForceImpl(const KMLForce& owner)
    : CustomCPPForceImpl(owner), owner(owner), scaleParameter(owner.getScaleParameter()),
      scaleDerivative(owner.hasEnergyParameterDerivative()), scaleDefaultValue(owner.getScaleDefaultValue()) {}

void KMLForceImpl::initialize(ContextImpl& context) {
    Platform& platform = context.getPlatform();
    const System& system = context.getSystem();
    checkSystem(system, owner);
    ownKernel = !baseClassRoute && platform.supportsKernels({CalcKMLForceKernel::Name()});
    if (ownKernel) {
        kernel = platform.createKernel(CalcKMLForceKernel::Name(), context);
        kernel.getAs<CalcKMLForceKernel>().initialize(system, owner);
        return;
    }
    // Its host interface knows energies and forces only.
    if (scaleDerivative)
        throw OpenMMException(
            "KMLForce: the derivative by '" + scaleParameter +
            "' is offered on the Reference and CPU platforms, not on " + platform.getName() +
            "; put the force into a CustomCVForce with the energy function 'scale*E' to get it there");
    evaluator = make_unique<Evaluator>(owner, system.getNumParticles());
    CustomCPPForceImpl::initialize(context);
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
