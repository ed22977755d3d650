#include "HostKMLKernels.h"
#include "openmm/OpenMMException.h"
#include "openmm/reference/ReferencePlatform.h"

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

void HostCalcKMLForceKernel::initialize(const System& system, const KMLForce& force) {
    evaluator = make_unique<Evaluator>(force, system.getNumParticles());
    scaleParameter = force.getScaleParameter();
    scaleDerivative = force.hasEnergyParameterDerivative();
}

double HostCalcKMLForceKernel::execute(ContextImpl& context, bool includeForces, bool includeEnergy) {
    auto& data = *static_cast<ReferencePlatform::PlatformData*>(context.getPlatformData());
    double energy = evaluator->computeEnergy(*data.positions, data.periodicBoxVectors, includeForces);
    double scale = getScale(context, scaleParameter);
    if (includeForces)
        evaluator->addForces(scale, *data.forces);
    if (scaleDerivative)
        (*data.energyParameterDerivatives)[scaleParameter] += energy; // E = scale * energy
    return includeEnergy ? scale * energy : 0.0;
}

void HostCalcKMLForceKernel::copyParametersToContext(ContextImpl& context, const KMLForce& force) {
    evaluator = make_unique<Evaluator>(force, context.getSystem().getNumParticles());
}

vector<pair<int, int>> HostCalcKMLForceKernel::getBonds() const { return evaluator->getBonds(); }

KernelImpl* HostKernelFactory::createKernelImpl(string name, const Platform& platform, ContextImpl&) const {
    if (name == CalcKMLForceKernel::Name())
        return new HostCalcKMLForceKernel(name, platform);
    throw OpenMMException("KMLForce: there is no kernel of the name '" + name + "'");
}
