#include "LocalDeviceTerm.h"
#include "KMLKernelSources.h"
#include "openmm/OpenMMException.h"
#include "openmm/common/ComputeProgram.h"
#include <algorithm>
#include <climits>
#include <cmath>
#include <map>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

namespace {

constexpr int MAX_TEAM_BITS = 5; // 32 threads for one atom

/** The coefficients of all functions, [function][far interval][a][b][4]: what a triple needs lies close together. */
vector<double> makeTable(const kml::ThreeBody& term, int numElements) {
    const int row = term.near.n + 3;
    const size_t functions = size_t(numElements) * (numElements * (numElements + 1) / 2);
    const double size = double(functions) * term.far.n * row * row;
    if (size >= INT_MAX / 4)
        throw OpenMMException("KMLForce: the coefficients of the triples are too many for a device's arrays");
    vector<double> table;
    table.reserve(4 * size_t(size));
    for (size_t function = 0; function < functions; function++)
        for (int far = 0; far < term.far.n; far++)
            for (int a = 0; a < row; a++)
                for (int b = 0; b < row; b++) {
                    const double* c = term.coefficients + function * term.block + a * term.plane + b * term.row + far;
                    table.insert(table.end(), c, c + 4);
                }
    return table;
}

} // namespace

LocalDeviceTerm::LocalDeviceTerm(ComputeContext& cc, const kml::LocalModel& model, const vector<int>& elements,
                                 bool periodic, bool hasDerivative)
    : cc(cc), real(cc.getUseDoublePrecision()), hasDerivative(hasDerivative),
      hasPairs(model.terms.n_two_body + model.terms.n_repulsion > 0), cutoff(model.cutoff()),
      cutoffTriples(model.cutoff_triples()),
      neighbors(cc, real, periodic, {model.cutoff(), model.cutoff_triples()}, elements) {
    if (!cc.getSupports64BitGlobalAtomics())
        throw OpenMMException("KMLForce: the device lacks 64-bit atomic operations");
    teamBits = chooseTeam();
    uploadPairs(model.terms);
    for (int m = 0; m < model.terms.n_three_body; m++)
        uploadTriples(model.terms.three_body[m]);
    real.initialize(cc, sides, 1, "kmlSides", 4);
    sideAtoms.initialize<mm_int2>(cc, 1, "kmlSideAtoms");
    numSides.initialize<int>(cc, neighbors.getNumAtoms(), "kmlNumSides");
    compile(model.terms, hasDerivative);
}

/** Threads for one atom, as a power of two: more while the device has threads to spare. */
int LocalDeviceTerm::chooseTeam() const {
    const double threads = double(cc.getNumThreadBlocks()) * ComputeContext::ThreadBlockSize;
    int bits = 0;
    while (bits < MAX_TEAM_BITS && ldexp(neighbors.getNumAtoms(), bits + 1) <= threads)
        bits++;
    if (ldexp(neighbors.getNumAtoms(), bits) >= INT_MAX)
        throw OpenMMException("KMLForce: the atoms are too many for a device's arrays");
    return bits;
}

void LocalDeviceTerm::uploadPairs(const kml::LocalTerms& terms) {
    vector<double> gridValues, tables, screening;
    vector<int> first;
    for (int m = 0; m < terms.n_two_body; m++) {
        const kml::TwoBody& term = terms.two_body[m];
        gridValues.insert(gridValues.end(),
                          {term.grid.start, term.grid.inverse_spacing, double(term.grid.n), term.cutoff});
        first.push_back(tables.size() / 4);
        tables.insert(tables.end(), term.polynomials, term.polynomials + 4 * size_t(terms.n_pairs) * (term.grid.n + 1));
    }
    for (int m = 0; m < terms.n_repulsion * terms.n_pairs; m++) {
        const kml::Repulsion& term = terms.repulsion[m];
        screening.insert(screening.end(), {term.charge, term.inverse_length, term.inner, term.outer});
    }
    first.resize(max<size_t>(1, first.size()));
    starts.initialize<int>(cc, first.size(), "kmlPolynomialStarts");
    starts.upload(first);
    uploadReal4(grids, gridValues, "kmlGrids");
    uploadReal4(polynomials, tables, "kmlPolynomials");
    uploadReal4(repulsions, screening, "kmlRepulsions");
}

void LocalDeviceTerm::uploadTriples(const kml::ThreeBody& term) {
    triples.emplace_back();
    triples.back().term = term;
    uploadReal4(triples.back().table, makeTable(term, term.n_elements), "kmlTriples");
}

void LocalDeviceTerm::compile(const kml::LocalTerms& terms, bool hasDerivative) {
    map<string, string> defines = neighbors.getDefines();
    defines["NUM_ELEMENTS"] = cc.intToString(terms.n_elements);
    defines["NUM_TWO_BODY"] = cc.intToString(terms.n_two_body);
    defines["NUM_REPULSION"] = cc.intToString(terms.n_repulsion);
    if (hasDerivative)
        defines["HAS_DERIVATIVE"] = "1";
    ComputeProgram program =
        cc.compileProgram(string(REPULSION_KERNEL_SOURCE) + NEIGHBORS_KERNEL_SOURCE + LOCAL_KERNEL_SOURCE, defines);
    neighbors.initialize(program);
    pairCall.kernel = program->createKernel("addPairs");
    sideCall.kernel = program->createKernel("findSides");
    for (Triples& term : triples)
        term.call.kernel = program->createKernel("addTriples");
}

/** Sides have as much room as near neighbors. */
void LocalDeviceTerm::makeRoom() {
    const size_t size = triples.empty() ? 1 : size_t(neighbors.getNumAtoms()) * neighbors.getNearCapacity();
    if (sides.getSize() == size)
        return;
    sides.resize(size);
    sideAtoms.resize(size);
}

/** The arguments of DeviceRequest, from place `index` on; their values come with each evaluation. */
void LocalDeviceTerm::addRequest(Call& call, int index) {
    call.request = index;
    real.add(call.kernel, 0.0); // forceLimit
    call.kernel->addArg(0);     // includeForces
    for (int k = 0; k < 3; k++) // forceScale, energyScale, derivativeScale
        real.add(call.kernel, 0.0);
    call.kernel->addArg(0); // derivativeIndex
    call.kernel->addArg(int(cc.getEnergyParamDerivNames().size()));
}

/** The arguments at the end of a kernel that adds forces, in the order of local.cc. */
void LocalDeviceTerm::addOutputs(Call& call, ComputeArray& failure) {
    addArrays(call.kernel, {&cc.getLongForceBuffer(), &cc.getEnergyBuffer(), &failure});
    if (hasDerivative)
        call.kernel->addArg(cc.getEnergyParamDerivBuffer());
}

void LocalDeviceTerm::setPairArguments(ComputeArray& failure) {
    DeviceNeighborList& list = neighbors;
    ComputeKernel& kernel = pairCall.kernel;
    for (int value : {list.getNumAtoms(), teamBits, 0, 0, 0})
        kernel->addArg(value);
    pairCall.imageBits = 2;
    pairCall.capacity = 3;
    real.add(kernel, cutoff * cutoff);
    kernel->addArg(cc.getPaddedNumAtoms());
    addRequest(pairCall, 7);
    addArrays(kernel, {&list.status, &list.sites, &list.wrapped, &list.shifts, &list.counts, &list.entries, &grids,
                       &starts, &polynomials, &repulsions});
    addOutputs(pairCall, failure);
}

void LocalDeviceTerm::setSideArguments() {
    DeviceNeighborList& list = neighbors;
    for (int value : {list.getNumAtoms(), 0, 0, 0})
        sideCall.kernel->addArg(value);
    sideCall.imageBits = 1;
    sideCall.capacity = 2;
    real.add(sideCall.kernel, cutoffTriples * cutoffTriples);
    addArrays(sideCall.kernel,
              {&list.status, &list.wrapped, &list.shifts, &list.counts, &list.near, &sides, &sideAtoms, &numSides});
}

void LocalDeviceTerm::setTripleArguments(Triples& one, ComputeArray& failure) {
    DeviceNeighborList& list = neighbors;
    ComputeKernel& kernel = one.call.kernel;
    const kml::ThreeBody& term = one.term;
    for (int value : {list.getNumAtoms(), teamBits, 0, 0})
        kernel->addArg(value);
    one.call.capacity = 2;
    real.add(kernel, term.near.start, term.near.inverse_spacing, term.near.n, term.cutoff);
    real.add(kernel, term.far.start, term.far.inverse_spacing, term.far.n, term.cutoff_far);
    real.add(kernel, term.taper_start);
    real.add(kernel, term.taper_width);
    kernel->addArg(term.near.n + 3);
    kernel->addArg(cc.getPaddedNumAtoms());
    addRequest(one.call, 10);
    addArrays(kernel, {&list.status, &list.sites, &list.wrapped, &sides, &sideAtoms, &numSides, &one.table});
    addOutputs(one.call, failure);
}

/** Set the arguments that depend on the list and on the request. */
void LocalDeviceTerm::update(const Call& call, const DeviceRequest& request) {
    const ComputeKernel& kernel = call.kernel;
    kernel->setArg(call.capacity, neighbors.getCapacity());
    kernel->setArg(call.capacity + 1, neighbors.getNearCapacity());
    if (call.imageBits >= 0)
        kernel->setArg(call.imageBits, neighbors.getImageBits());
    if (call.request < 0)
        return;
    // An atom's sum has at most as many parts: its team, and for each term its own sides and those that it is.
    const double parts = (1 << teamBits) + 2.0 * triples.size() * neighbors.getNearCapacity();
    real.set(kernel, call.request, LARGEST_FORCE / parts);
    kernel->setArg(call.request + 1, int(request.includeForces));
    real.set(kernel, call.request + 2, request.forceScale);
    real.set(kernel, call.request + 3, request.energyScale);
    real.set(kernel, call.request + 4, request.derivativeScale);
    kernel->setArg(call.request + 5, request.derivativeIndex);
}

/** Bind the arrays. OpenMM makes its buffers after the forces, so this waits for the first evaluation. */
void LocalDeviceTerm::setArguments(ComputeArray& failure) {
    hasArguments = true;
    maxThreads = cc.getEnergyBuffer().getSize(); // each thread has an entry of its own there
    setPairArguments(failure);
    setSideArguments();
    for (Triples& one : triples)
        setTripleArguments(one, failure);
}

void LocalDeviceTerm::execute(ComputeArray& atoms, ComputeArray& failure, const DeviceRequest& request) {
    if (!hasArguments)
        setArguments(failure);
    const int numAtoms = neighbors.getNumAtoms(), threads = min(numAtoms << teamBits, maxThreads);
    do {
        neighbors.update(atoms, failure);
        makeRoom();
        if (hasPairs) {
            update(pairCall, request);
            pairCall.kernel->execute(threads);
        }
        if (!triples.empty()) {
            update(sideCall, request);
            sideCall.kernel->execute(numAtoms);
        }
        for (Triples& term : triples) {
            update(term.call, request);
            term.call.kernel->execute(threads);
        }
    } while (!neighbors.check());
}

/** Upload groups of four numbers; at least one group, for arguments must have something to point to. */
void LocalDeviceTerm::uploadReal4(ComputeArray& array, vector<double> values, const char* name) {
    values.resize(max<size_t>(4, values.size()));
    real.initialize(cc, array, values.size() / 4, name, 4);
    real.upload(array, values);
}
