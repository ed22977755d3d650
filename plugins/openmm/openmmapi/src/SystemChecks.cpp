#include "openmmkml/internal/SystemChecks.h"
#include "OpenMM.h"
#include "openmmkml/internal/Engine.h"
#include <set>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

namespace {

template <class... Kinds>
bool isAnyOf(const Force& force) {
    return (... || (dynamic_cast<const Kinds*>(&force) != nullptr));
}

template <class Kind>
bool hasParameter(const Force& force, const string& name) {
    auto known = dynamic_cast<const Kind*>(&force);
    for (int i = 0; known != nullptr && i < known->getNumGlobalParameters(); i++)
        if (known->getGlobalParameterName(i) == name)
            return true;
    return false;
}

template <class... Kinds>
bool anyHasParameter(const Force& force, const string& name) {
    return (... || hasParameter<Kinds>(force, name));
}

void checkConstraints(const System& system, const set<int>& particles) {
    for (int k = 0; k < system.getNumConstraints(); k++) {
        int i, j;
        double distance;
        system.getConstraintParameters(k, i, j, distance);
        if (particles.count(i) && particles.count(j))
            throw OpenMMException("KMLForce: the distance of particles " + to_string(i) + " and " + to_string(j) +
                                  " is constrained, but the model describes it: remove the constraints among its atoms "
                                  "(System.removeConstraint(), or build the classical System with constraints=None)");
    }
}

void checkVirtualSites(const System& system, const set<int>& particles) {
    for (int i : particles)
        if (system.isVirtualSite(i))
            throw OpenMMException("KMLForce: particle " + to_string(i) +
                                  " is a virtual site, but the model describes atoms: list real atoms only");
}

// Several KMLForces may share a scale.
void checkScaleParameter(const System& system, const string& name) {
    for (int k = 0; k < system.getNumForces() && !name.empty(); k++) {
        const Force& force = system.getForce(k);
        if (anyHasParameter<ATMForce, CustomAngleForce, CustomBondForce, CustomCVForce, CustomCentroidBondForce,
                            CustomCompoundBondForce, CustomExternalForce, CustomGBForce, CustomHbondForce,
                            CustomManyParticleForce, CustomNonbondedForce, CustomTorsionForce, CustomVolumeForce,
                            NonbondedForce>(force, name))
            throw OpenMMException("KMLForce: the scale parameter '" + name + "' is also a parameter of the force '" +
                                  force.getName() + "': give one of them another name");
    }
}

// A model of any structure has neighbors; one of a single molecule may only have been declared periodic.
bool dependsOnBox(const Force& force) {
    if (!force.usesPeriodicBoundaryConditions())
        return false;
    auto own = dynamic_cast<const KMLForce*>(&force);
    return own == nullptr || OpenModel(own->getModel()).isLocal();
}

// Without a periodic force OpenMM refuses the barostat itself.
void checkBarostat(const System& system) {
    bool barostat = false, boxMatters = false;
    for (int k = 0; k < system.getNumForces(); k++) {
        const Force& force = system.getForce(k);
        barostat |= isAnyOf<MonteCarloBarostat, MonteCarloAnisotropicBarostat, MonteCarloFlexibleBarostat,
                            MonteCarloMembraneBarostat>(force);
        boxMatters |= dependsOnBox(force);
    }
    if (barostat && !boxMatters)
        throw OpenMMException("KMLForce: a barostat changes the box, but no energy depends on the box: a model of one "
                              "molecule knows no neighbors, and its pressure is that of an ideal gas; remove the "
                              "barostat, or put the molecule into solvent");
}

} // namespace

void OpenMMKML::checkSystem(const System& system, const KMLForce& force) {
    set<int> particles(force.getParticles().begin(), force.getParticles().end());
    for (int i = 0; i < system.getNumParticles() && force.getParticles().empty(); i++)
        particles.insert(particles.end(), i);
    checkConstraints(system, particles);
    checkVirtualSites(system, particles);
    checkScaleParameter(system, force.getScaleParameter());
    checkBarostat(system);
}
