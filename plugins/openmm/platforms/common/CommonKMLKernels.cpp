#include "CommonKMLKernels.h"
#include "kml/molecule_prior.h"
#include "openmm/OpenMMException.h"
#include "openmm/common/ComputeForceInfo.h"
#include "openmm/common/ContextSelector.h"
#include "openmmkml/internal/Engine.h"
#include <algorithm>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

// Evaluations between two looks at the failure flag, which costs one synchronization.
static constexpr long long LONGEST_UNCHECKED = 256;

/**
 * Tells OpenMM which particles belong together, so that it wraps a molecule into the periodic box as a whole, and which
 * may change places when it reorders the particles: atoms of one element in a model of any structure.
 */
class CommonCalcKMLForceKernel::ForceInfo : public ComputeForceInfo {
public:
    ForceInfo(const Evaluation& evaluation, int numParticles) { set(evaluation, numParticles); }
    void set(const Evaluation& evaluation, int numParticles) {
        molecule = evaluation.elements.empty() ? evaluation.particles : vector<int>();
        kind.assign(numParticles, -1);
        for (size_t i = 0; i < evaluation.particles.size(); i++)
            kind[evaluation.particles[i]] = molecule.empty() ? evaluation.elements[i] : int(i);
    }
    bool areParticlesIdentical(int particle1, int particle2) override { return kind[particle1] == kind[particle2]; }
    int getNumParticleGroups() override { return molecule.empty() ? 0 : 1; }
    void getParticlesInGroup(int, vector<int>& particles) override { particles = molecule; }
    bool areGroupsIdentical(int, int) override { return true; }

private:
    vector<int> molecule;
    vector<int> kind; // -1: not described by the model
};

class CommonCalcKMLForceKernel::ReorderListener : public ComputeContext::ReorderListener {
public:
    explicit ReorderListener(CommonCalcKMLForceKernel& kernel) : kernel(kernel) {}
    void execute() override { kernel.uploadAtoms(); }

private:
    CommonCalcKMLForceKernel& kernel;
};

unique_ptr<CommonCalcKMLForceKernel::Evaluation> CommonCalcKMLForceKernel::prepare(const System& system,
                                                                                   const KMLForce& force) {
    auto result = make_unique<Evaluation>();
    Evaluator(force, system.getNumParticles()); // throws if the force is unsound
    result->force = make_unique<KMLForce>(force);
    const kml::WeightFile file = kml::read_weight_file(force.getModel()->data(), force.getModel()->size());
    result->particles = resolveParticles(force, file.species.size(), system.getNumParticles());
    if (file.species.empty())
        prepareLocal(file, force, *result);
    else
        prepareMolecule(file, force.hasEnergyParameterDerivative(), *result);
    result->constantEnergy *= KJ_PER_MOL_IN_EV;
    result->atoms.initialize<int>(cc, result->particles.size(), "kmlAtoms");
    result->failure.initialize<int>(cc, 1, "kmlFailure");
    result->failure.upload(vector<int>{0});
    return result;
}

void CommonCalcKMLForceKernel::prepareMolecule(const kml::WeightFile& file, bool hasDerivative, Evaluation& result) {
    for (int number : file.species) {
        auto found = file.atom_energies.find(number);
        result.constantEnergy += found == file.atom_energies.end() ? 0.0 : found->second;
    }
    kml::MoleculePrior prior(file);
    for (const kml::GDMLTerm& term : file.terms) {
        result.terms.push_back(
            make_unique<GDMLDeviceTerm>(cc, DeviceModel(term, file.species.size()), prior, 1, hasDerivative));
        prior = kml::MoleculePrior(); // it is the molecule's, not the term's: the first brings it along
        result.constantEnergy += term.energy_offset + result.terms.back()->getEnergyShift();
    }
}

void CommonCalcKMLForceKernel::prepareLocal(const kml::WeightFile& file, const KMLForce& force, Evaluation& result) {
    const kml::LocalModel model(file, nullptr);
    if (!model.soap.empty())
        throw OpenMMException("there are no compute kernels for soap terms");
    vector<int> places;
    result.elements = force.getNumbers();
    for (int number : result.elements) {
        places.push_back(model.place(number));
        result.constantEnergy += model.atom_energies[places.back()];
    }
    result.local = make_unique<LocalDeviceTerm>(cc, model, places, force.usesPeriodicBoundaryConditions(),
                                                force.hasEnergyParameterDerivative());
}

void CommonCalcKMLForceKernel::initialize(const System& system, const KMLForce& force) {
    ContextSelector selector(cc);
    evaluation = prepare(system, force);
    uploadAtoms();
    scaleParameter = force.getScaleParameter();
    scaleDerivative = force.hasEnergyParameterDerivative();
    if (scaleDerivative)
        cc.addEnergyParameterDerivative(scaleParameter);
    info = new ForceInfo(*evaluation, system.getNumParticles());
    cc.addForce(info);
    cc.addReorderListener(new ReorderListener(*this));
}

void CommonCalcKMLForceKernel::uploadAtoms() {
    const vector<int>& particleAt = cc.getAtomIndex();
    vector<int> where(cc.getNumAtoms()), atoms;
    for (int i = 0; i < cc.getNumAtoms(); i++)
        where[particleAt[i]] = i;
    for (int particle : evaluation->particles)
        atoms.push_back(where[particle]);
    evaluation->atoms.upload(atoms);
    if (evaluation->local)
        evaluation->local->invalidate();
}

double CommonCalcKMLForceKernel::execute(ContextImpl& context, bool includeForces, bool includeEnergy) {
    ContextSelector selector(cc);
    const double scale = getScale(context, scaleParameter);
    if (scaleDerivative) {
        const vector<string>& names = cc.getEnergyParamDerivNames();
        derivativeIndex = find(names.begin(), names.end(), scaleParameter) - names.begin();
    }
    const DeviceRequest request{includeForces, scale * KJ_PER_MOL_IN_EV * ANGSTROM_IN_NM, scale * KJ_PER_MOL_IN_EV,
                                KJ_PER_MOL_IN_EV, derivativeIndex};
    for (auto& term : evaluation->terms)
        term->execute(evaluation->atoms, evaluation->failure, request);
    if (evaluation->local)
        evaluation->local->execute(evaluation->atoms, evaluation->failure, request);
    numEvaluations++;
    if (includeEnergy || numEvaluations >= nextCheck)
        checkForFailure(context);
    // The constant never meets the device: in its single precision it would cost the energy its decimal places.
    if (scaleDerivative)
        cc.getEnergyParamDerivWorkspace()[scaleParameter] += evaluation->constantEnergy;
    return includeEnergy ? scale * evaluation->constantEnergy : 0.0;
}

/**
 * Throw if an evaluation since the last check was not finite.
 *
 * Looking means waiting for the device, so it is done where OpenMM waits anyway, for the energy, and else ever more
 * rarely: after 1, 2, 4 ... and then every LONGEST_UNCHECKED evaluations.
 */
void CommonCalcKMLForceKernel::checkForFailure(ContextImpl& context) {
    nextCheck = numEvaluations + min(numEvaluations, LONGEST_UNCHECKED);
    vector<int> failure;
    evaluation->failure.download(failure);
    if (failure[0] == 0)
        return;
    evaluation->failure.upload(vector<int>{0});
    numEvaluations = 0;
    nextCheck = 1;
    // The engine finds the fault in the positions as they are now, and throws; they may have changed since.
    vector<Vec3> positions;
    Vec3 box[3];
    context.getPositions(positions);
    context.getPeriodicBoxVectors(box[0], box[1], box[2]);
    Evaluator(*evaluation->force, context.getSystem().getNumParticles()).computeEnergy(positions, box, true);
    throw OpenMMException("KMLForce: an energy or a force was not finite within the last " +
                          to_string(LONGEST_UNCHECKED) + " evaluations; atoms came too close to each other");
}

void CommonCalcKMLForceKernel::copyParametersToContext(ContextImpl& context, const KMLForce& force) {
    ContextSelector selector(cc);
    const System& system = context.getSystem();
    evaluation = prepare(system, force);
    uploadAtoms();
    info->set(*evaluation, system.getNumParticles());
    cc.invalidateMolecules(info);
}

// A star suffices: these serve only to find out which particles form a molecule.
vector<pair<int, int>> CommonCalcKMLForceKernel::getBonds() const {
    vector<pair<int, int>> bonds;
    for (size_t i = 1; i < evaluation->particles.size() && evaluation->elements.empty(); i++)
        bonds.emplace_back(evaluation->particles[0], evaluation->particles[i]);
    return bonds;
}
