#include "CommonKMLKernels.h"
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
 * Tells OpenMM which particles belong together, so that it wraps a molecule into the periodic box as a whole, and that
 * copies of the molecule may change places when it reorders the particles.
 */
class CommonCalcKMLForceKernel::ForceInfo : public ComputeForceInfo {
public:
    ForceInfo(const vector<vector<int>>& molecules, int numParticles) { set(molecules, numParticles); }
    void set(const vector<vector<int>>& newMolecules, int numParticles) {
        molecules = newMolecules;
        atomOfModel.assign(numParticles, -1);
        for (const vector<int>& molecule : molecules)
            for (size_t i = 0; i < molecule.size(); i++)
                atomOfModel[molecule[i]] = i;
    }
    bool areParticlesIdentical(int particle1, int particle2) override {
        return atomOfModel[particle1] == atomOfModel[particle2];
    }
    int getNumParticleGroups() override { return molecules.size(); }
    void getParticlesInGroup(int index, vector<int>& particles) override { particles = molecules[index]; }
    bool areGroupsIdentical(int, int) override { return true; }

private:
    vector<vector<int>> molecules;
    vector<int> atomOfModel; // -1: not in a molecule
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
    const kml::WeightFile file = kml::read_weight_file(force.getModel()->data(), force.getModel()->size());
    if (file.species.empty())
        throw OpenMMException("KMLForce: the compute kernels of this device know models of one molecule only; a new "
                              "Context evaluates this model on the host");
    const int numAtoms = file.species.size();
    const vector<int> particles = resolveParticles(force, numAtoms, system.getNumParticles());
    auto result = make_unique<Evaluation>();
    result->molecules = {particles};
    const int numMolecules = result->molecules.size();
    double constant = 0;
    for (int number : file.species) {
        auto found = file.atom_energies.find(number);
        constant += found == file.atom_energies.end() ? 0.0 : found->second;
    }
    for (const kml::GDMLTerm& term : file.terms) {
        result->terms.push_back(make_unique<GDMLDeviceTerm>(cc, DeviceModel(term, numAtoms), numMolecules,
                                                            force.hasEnergyParameterDerivative()));
        constant += term.energy_offset + result->terms.back()->getEnergyShift();
    }
    result->constantEnergy = numMolecules * constant * KJ_PER_MOL_IN_EV;
    result->atoms.initialize<int>(cc, size_t(numMolecules) * numAtoms, "kmlAtoms");
    result->failure.initialize<int>(cc, 1, "kmlFailure");
    result->failure.upload(vector<int>{0});
    result->force = make_unique<KMLForce>(*force.getModel());
    result->force->setParticles(particles);
    return result;
}

void CommonCalcKMLForceKernel::initialize(const System& system, const KMLForce& force) {
    ContextSelector selector(cc);
    evaluation = prepare(system, force);
    uploadAtoms();
    scaleParameter = force.getScaleParameter();
    scaleDerivative = force.hasEnergyParameterDerivative();
    if (scaleDerivative)
        cc.addEnergyParameterDerivative(scaleParameter);
    info = new ForceInfo(evaluation->molecules, system.getNumParticles());
    cc.addForce(info);
    cc.addReorderListener(new ReorderListener(*this));
}

void CommonCalcKMLForceKernel::uploadAtoms() {
    const vector<int>& particleAt = cc.getAtomIndex();
    vector<int> where(cc.getNumAtoms()), atoms;
    for (int i = 0; i < cc.getNumAtoms(); i++)
        where[particleAt[i]] = i;
    for (const vector<int>& molecule : evaluation->molecules)
        for (int particle : molecule)
            atoms.push_back(where[particle]);
    evaluation->atoms.upload(atoms);
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
    context.getPositions(positions);
    Evaluator(*evaluation->force, context.getSystem().getNumParticles()).computeEnergy(positions, nullptr, true);
    throw OpenMMException("KMLForce: an energy or a force was not finite within the last " +
                          to_string(LONGEST_UNCHECKED) + " evaluations; atoms came too close to each other");
}

void CommonCalcKMLForceKernel::copyParametersToContext(ContextImpl& context, const KMLForce& force) {
    ContextSelector selector(cc);
    const System& system = context.getSystem();
    evaluation = prepare(system, force);
    uploadAtoms();
    info->set(evaluation->molecules, system.getNumParticles());
    cc.invalidateMolecules(info);
}

// A star suffices: these serve only to find out which particles form a molecule.
vector<pair<int, int>> CommonCalcKMLForceKernel::getBonds() const {
    vector<pair<int, int>> bonds;
    for (const vector<int>& molecule : evaluation->molecules)
        for (size_t i = 1; i < molecule.size(); i++)
            bonds.emplace_back(molecule[0], molecule[i]);
    return bonds;
}
