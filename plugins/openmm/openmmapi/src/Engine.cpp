#include "openmmkml/internal/Engine.h"
#include "openmm/OpenMMException.h"
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

namespace {

atomic<const kml_engine_api*> engine{nullptr};

// Longest sentence taken from the engine.
constexpr size_t ERROR_SIZE = 1024;

// Below this distance (Angstrom) a pair of atoms is named when the engine refuses a structure.
constexpr double COINCIDENT = 1e-3;

bool isFinite(const Vec3& v) { return isfinite(v[0]) && isfinite(v[1]) && isfinite(v[2]); }

kml_potential* openPotential(const KMLForce::Model& bytes) {
    char error[ERROR_SIZE] = "the engine gave no reason";
    kml_potential* potential = getEngine().open(bytes->data(), bytes->size(), error, sizeof(error));
    if (potential == nullptr)
        throw OpenMMException(string("KMLForce: the model cannot be read: ") + error);
    return potential;
}

} // namespace

void OpenMMKML::setEngine(const kml_engine_api* table) {
    if (table == nullptr || table->version != KML_ENGINE_API_VERSION)
        throw OpenMMException("KMLForce: the engine's function table has version " +
                              to_string(table == nullptr ? 0 : table->version) + ", version " +
                              to_string(KML_ENGINE_API_VERSION) +
                              " is expected: engine and plugin come from different builds; reinstall openmm_kml");
    engine = table;
}

const kml_engine_api& OpenMMKML::getEngine() {
    const kml_engine_api* table = engine;
    if (table == nullptr)
        throw OpenMMException("KMLForce: no engine is loaded; import openmm_kml.interfaces.openmm in Python first");
    return *table;
}

double OpenMMKML::getScale(ContextImpl& context, const string& scaleParameter) {
    if (scaleParameter.empty())
        return 1.0;
    const double scale = context.getParameter(scaleParameter);
    if (!isfinite(scale))
        throw OpenMMException("KMLForce: the scale parameter '" + scaleParameter + "' is a finite number; it is " +
                              to_string(scale) + " in this Context");
    return scale;
}

vector<int> OpenMMKML::resolveParticles(const KMLForce& force, int numModelAtoms, int numSystemParticles) {
    vector<int> particles = force.getParticles();
    if (particles.empty()) {
        if (numModelAtoms > 0 && numModelAtoms != numSystemParticles)
            throw OpenMMException("KMLForce: the model describes " + to_string(numModelAtoms) +
                                  " atoms, the System has " + to_string(numSystemParticles) +
                                  " particles: pass particles=[...]");
        particles.resize(numSystemParticles);
        iota(particles.begin(), particles.end(), 0);
        return particles;
    }
    if (numModelAtoms > 0 && numModelAtoms != (int)particles.size())
        throw OpenMMException("KMLForce: the model describes " + to_string(numModelAtoms) + " atoms, but " +
                              to_string(particles.size()) + " particles are given");
    for (int particle : particles)
        if (particle >= numSystemParticles)
            throw OpenMMException("KMLForce: particle " + to_string(particle) + " does not exist; the System has " +
                                  to_string(numSystemParticles) + " particles");
    return particles;
}

OpenModel::OpenModel(const KMLForce::Model& bytes) : potential(openPotential(bytes), getEngine().close) {}

int OpenModel::numAtoms() const { return getEngine().n_atoms(potential.get()); }

bool OpenModel::hasUncertainty() const { return getEngine().has_uncertainty(potential.get()) != 0; }

bool OpenModel::isLocal() const { return getEngine().n_elements(potential.get()) > 0; }

vector<int> OpenMMKML::resolveNumbers(const KMLForce& force, const OpenModel& model, const vector<int>& particles) {
    if (!model.isLocal())
        return {};
    const vector<int>& numbers = force.getNumbers();
    if (numbers.empty())
        throw OpenMMException("KMLForce: the model needs the atomic number of each particle: pass numbers=[...] or "
                              "topology=...");
    if (numbers.size() != particles.size())
        throw OpenMMException("KMLForce: " + to_string(numbers.size()) + " atomic numbers are given for " +
                              to_string(particles.size()) + " particles");
    const int* elements = getEngine().elements(model.get());
    const int* end = elements + getEngine().n_elements(model.get());
    for (size_t i = 0; i < numbers.size(); i++)
        if (find(elements, end, numbers[i]) == end) {
            string known;
            for (const int* z = elements; z < end; z++)
                known += (z == elements ? "" : ", ") + to_string(*z);
            throw OpenMMException("KMLForce: element " + to_string(numbers[i]) + " of particle " +
                                  to_string(particles[i]) + " is not in the model, which knows the atomic numbers " +
                                  known);
        }
    return numbers;
}

Evaluator::Evaluator(const KMLForce& force, int numSystemParticles)
    : model(force.getModel()), workspace(getEngine().new_workspace(model.get()), getEngine().free_workspace),
      particles(resolveParticles(force, model.numAtoms(), numSystemParticles)),
      numbers(resolveNumbers(force, model, particles)), allParticles(force.getParticles().empty()),
      periodic(force.usesPeriodicBoundaryConditions()), uncertainty(force.getOutput() == KMLForce::UNCERTAINTY),
      numThreads(force.getNumThreads()), coordinates(3 * particles.size()), gradient(3 * particles.size()) {
    if (workspace == nullptr)
        throw OpenMMException("KMLForce: no memory is left for the scratch space of the model");
}

double Evaluator::computeEnergy(const vector<Vec3>& positions, const Vec3* boxVectors, bool includeForces) {
    const int n = particles.size();
    for (int i = 0; i < n; i++) {
        const Vec3& r = positions[particles[i]];
        for (int k = 0; k < 3; k++)
            coordinates[3 * i + k] = r[k] * ANGSTROM_IN_NM;
    }
    const int everyDirection[3] = {1, 1, 1};
    double cell[9];
    if (periodic)
        for (int i = 0; i < 9; i++)
            cell[i] = boxVectors[i / 3][i % 3] * ANGSTROM_IN_NM;
    double energy = 0;
    char error[ERROR_SIZE] = "the engine gave no reason";
    const kml_structure structure = {n, coordinates.data(), numbers.data(), periodic ? cell : nullptr,
                                     periodic ? everyDirection : nullptr};
    double* const forces = includeForces ? gradient.data() : nullptr;
    kml_outputs outputs = {};
    if (uncertainty)
        outputs.energy_std = &energy, outputs.std_forces = forces;
    else
        outputs.energy = &energy, outputs.forces = forces;
    int status =
        getEngine().evaluate(model.get(), workspace.get(), &structure, numThreads, &outputs, error, sizeof(error));
    if (status != 0)
        throw OpenMMException(string("KMLForce: ") + error + describeParticles(positions));
    // A sum is not finite if one of its terms is not: no NaN may move on into the dynamics.
    double sum = energy;
    if (includeForces)
        for (double f : gradient)
            sum += f;
    if (!isfinite(sum))
        throw OpenMMException("KMLForce: the energy or a force is not finite; the molecule has left the region that "
                              "the model describes" +
                              describeParticles(positions));
    return energy * KJ_PER_MOL_IN_EV;
}

void Evaluator::addForces(double scale, vector<Vec3>& forces) const {
    const double factor = scale * KJ_PER_MOL_IN_EV * ANGSTROM_IN_NM;
    for (size_t i = 0; i < particles.size(); i++)
        forces[particles[i]] += Vec3(gradient[3 * i], gradient[3 * i + 1], gradient[3 * i + 2]) * factor;
}

vector<pair<int, int>> Evaluator::getBonds() const {
    vector<pair<int, int>> bonds;
    if (model.numAtoms() > 0)
        for (size_t i = 1; i < particles.size(); i++)
            bonds.emplace_back(particles[0], particles[i]);
    return bonds;
}

/** Name the particles at fault as the System counts them; the engine counts the atoms of the model. */
string Evaluator::describeParticles(const vector<Vec3>& positions) const {
    if (allParticles) // both count alike
        return "";
    for (int i : particles)
        if (!isFinite(positions[i]))
            return " (in the System: particle " + to_string(i) + ")";
    for (size_t i = 0; i < particles.size(); i++)
        for (size_t j = 0; j < i; j++) {
            Vec3 delta = positions[particles[i]] - positions[particles[j]];
            if (sqrt(delta.dot(delta)) * ANGSTROM_IN_NM < COINCIDENT)
                return " (in the System: particles " + to_string(particles[j]) + " and " + to_string(particles[i]) +
                       ")";
        }
    return "";
}
