#include "CommonKMLKernels.h"
#include "openmm/OpenMMException.h"
#include "openmm/common/ComputeForceInfo.h"
#include "openmm/common/ContextSelector.h"
#include "openmmkml/internal/Engine.h"
#include <algorithm>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

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
    const int numAtoms = file.species.size();
    vector<int> particles = force.getParticles();
    if (particles.empty())
        for (int i = 0; i < system.getNumParticles(); i++)
            particles.push_back(i);
    if ((int)particles.size() != numAtoms)
        throw OpenMMException("KMLForce: the model describes " + to_string(numAtoms) + " atoms, " +
                              to_string(particles.size()) + " particles are given");
    for (int particle : particles)
        if (particle >= system.getNumParticles())
            throw OpenMMException("KMLForce: particle " + to_string(particle) + " does not exist");

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
    const double scale = scaleParameter.empty() ? 1.0 : context.getParameter(scaleParameter);
    if (scaleDerivative) {
        const vector<string>& names = cc.getEnergyParamDerivNames();
        derivativeIndex = find(names.begin(), names.end(), scaleParameter) - names.begin();
    }
    const DeviceRequest request{includeForces, scale * KJ_PER_MOL_IN_EV * ANGSTROM_IN_NM, scale * KJ_PER_MOL_IN_EV,
                                KJ_PER_MOL_IN_EV, derivativeIndex};
    for (auto& term : evaluation->terms)
        term->execute(evaluation->atoms, request);
    // The constant never meets the device: in its single precision it would cost the energy its decimal places.
    if (scaleDerivative)
        cc.getEnergyParamDerivWorkspace()[scaleParameter] += evaluation->constantEnergy;
    return includeEnergy ? scale * evaluation->constantEnergy : 0.0;
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
