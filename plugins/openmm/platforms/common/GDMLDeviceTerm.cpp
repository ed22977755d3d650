#include "GDMLDeviceTerm.h"
#include "KMLKernelSources.h"
#include "openmm/OpenMMException.h"
#include "openmm/common/ComputeProgram.h"
#include <algorithm>
#include <climits>
#include <map>
#include <string>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

namespace {

// These three repeat gdml.cc.
constexpr int GROUP = 256;
constexpr int PANEL = 32;
constexpr int GROUPS_OF_UNIT = 6; // work groups that OpenMM starts for each multiprocessor of a device
constexpr int MAX_ROWS = 8;       // more need more registers and local memory than small devices have

// Relative error that single precision may cause: a few times its rounding. Above it the model is evaluated in double
// precision. Models fitted to data are far above it (docs/device_kernels.md).
constexpr double SINGLE_PRECISION_TOLERANCE = 2e-6;

// Positions of the arguments that change from call to call.
constexpr int TILE_INCLUDE_FORCES = 7;
constexpr int GRADIENT_INCLUDE_FORCES = 7, GRADIENT_FORCE_SCALE = 8, GRADIENT_ENERGY_SCALE = 9,
              GRADIENT_DERIVATIVE_SCALE = 10, GRADIENT_DERIVATIVE_INDEX = 13;

int ceilDivide(int a, int b) { return (a + b - 1) / b; }

void checkSize(double size, const char* what) {
    if (size >= INT_MAX)
        throw OpenMMException(string("KMLForce: the ") + what + " are too many for a device's arrays");
}

/** Start work groups; OpenMM starts fewer if the device holds fewer, and the compute kernels loop. */
void launch(ComputeKernel& kernel, double groups) {
    kernel->execute(int(min(groups, double(INT_MAX / GROUP))) * GROUP, GROUP);
}

/** POWER_FUNCTION of gdml.cc: powers that need no pow(). */
int powerFunction(double power) {
    return power == 1.0 ? 1 : power == 2.0 ? 2 : power == 0.5 ? 3 : power == 0.25 ? 4 : 0;
}

} // namespace

GDMLDeviceTerm::GDMLDeviceTerm(ComputeContext& cc, const DeviceModel& model, const kml::MoleculePrior& prior,
                               int numMolecules, bool hasDerivative)
    : cc(cc), real(cc.getUseDoublePrecision() || model.needsDoublePrecision(SINGLE_PRECISION_TOLERANCE)),
      hasDerivative(hasDerivative), hasEnergyCoefficients(!model.energyCoefficients.empty()), power(model.power),
      energyShift(model.typicalEnergy()), numMolecules(numMolecules), numAtoms(model.numAtoms),
      numEntries(model.numEntries), numPermutations(model.numPermutations), numPoints(model.numPoints),
      numRepulsion(int(prior.repulsions_by_atoms().size()) / model.numEntries),
      numWalls(int(prior.walls_by_atoms().size()) / model.numEntries) {
    if (real.isDouble && !cc.getSupportsDoublePrecision())
        throw OpenMMException("KMLForce: this model needs double precision, which the device lacks");
    if (!cc.getSupports64BitGlobalAtomics())
        throw OpenMMException("KMLForce: the device lacks 64-bit atomic operations");
    chooseLayout();
    compile(model);
    upload(model);
    uploadPrior(prior);
}

void GDMLDeviceTerm::chooseLayout() {
    const double allRows = double(numMolecules) * numPermutations;
    checkSize((allRows + MAX_ROWS) * (numEntries + 1), "atoms times permutations");
    checkSize(double(numPoints + 2 * PANEL) * (numEntries + 1), "training points");
    rows = 1;
    while (rows < allRows && rows < MAX_ROWS)
        rows *= 2;

    // OpenMM starts at most `groups` work groups. Smaller tiles keep more multiprocessors busy, but each tile reads the
    // whole model again: they shrink while there is still one job at most for each multiprocessor.
    const int groups = cc.getNumThreadBlocks();
    const double units = max(1, groups / GROUPS_OF_UNIT);
    while (rows > 1 && ceilDivide(int(allRows), rows / 2) * double(ceilDivide(numPoints, PANEL)) <= units)
        rows /= 2;
    numTiles = ceilDivide(int(allRows), rows);
    // With work to spare, larger blocks save reductions.
    panels = double(numTiles) * ceilDivide(numPoints, 2 * PANEL) >= 2.0 * groups ? 2 : 1;
    numBlocks = ceilDivide(numPoints, panels * PANEL);
    blocksPerSlice = ceilDivide(numBlocks, max(1, min(numBlocks, groups / numTiles)));
    numSlices = ceilDivide(numBlocks, blocksPerSlice);
    numLanes = PANEL;
    while (numLanes < numEntries + 1 && numLanes < GROUP)
        numLanes *= 2;
}

void GDMLDeviceTerm::compile(const DeviceModel& model) {
    map<string, string> defines;
    defines["KREAL"] = real.name();
    defines["KERNEL_FUNCTION"] = cc.intToString(model.twoNu);
    defines["POWER_FUNCTION"] = cc.intToString(powerFunction(power));
    defines["ROWS"] = cc.intToString(rows);
    defines["PANELS"] = cc.intToString(panels);
    defines["KREAL4"] = real.name() + "4";
    defines["NUM_REPULSION"] = cc.intToString(numRepulsion);
    defines["NUM_WALLS"] = cc.intToString(numWalls);
    if (hasEnergyCoefficients)
        defines["HAS_ENERGY_COEFFICIENTS"] = "1";
    if (hasDerivative)
        defines["HAS_DERIVATIVE"] = "1";
    ComputeProgram program =
        cc.compileProgram(string(REPULSION_KERNEL_SOURCE) + WALLS_KERNEL_SOURCE + GDML_KERNEL_SOURCE, defines);
    queryKernel = program->createKernel("computeQueries");
    tileKernel = program->createKernel("computeTiles");
    gradientKernel = program->createKernel("applyGradient");
    for (const ComputeKernel& kernel : {queryKernel, tileKernel, gradientKernel})
        if (kernel->getMaxBlockSize() < GROUP)
            throw OpenMMException("KMLForce: the device runs work groups of " +
                                  cc.intToString(kernel->getMaxBlockSize()) + " threads; " + cc.intToString(GROUP) +
                                  " are needed");
}

void GDMLDeviceTerm::upload(const DeviceModel& model) {
    const int D = numEntries, padded = numBlocks * panels * PANEL;
    vector<mm_int2> atomPairs(size_t(numPermutations) * D);
    for (size_t k = 0; k < atomPairs.size(); k++)
        atomPairs[k] = mm_int2(model.pairs[2 * k], model.pairs[2 * k + 1]);
    pairs.initialize<mm_int2>(cc, atomPairs.size(), "kmlPairs");
    pairs.upload(atomPairs);
    inversePairs.initialize<int>(cc, model.inverse.size(), "kmlInversePairs");
    inversePairs.upload(model.inverse);
    uploadReal(scale, model.scale, "kmlScale");
    uploadReal(offset, model.offset, "kmlOffset");

    // Two copies: training points run fastest for the distances, entries for the contraction. Points beyond the last
    // have no coefficients and contribute zero.
    auto byPanel = [&](const vector<double>& values) {
        vector<double> result(size_t(padded) * D, 0.0);
        for (int k = 0; k < numPoints; k++)
            for (int d = 0; d < D; d++)
                result[(size_t(k / PANEL) * D + d) * PANEL + k % PANEL] = values[size_t(k) * D + d];
        return result;
    };
    auto byPoint = [&](const vector<double>& values, double last) {
        vector<double> result(size_t(padded) * (D + 1), 0.0);
        for (int k = 0; k < numPoints; k++) {
            copy_n(&values[size_t(k) * D], D, &result[size_t(k) * (D + 1)]);
            result[size_t(k) * (D + 1) + D] = last;
        }
        return result;
    };
    uploadReal(panelX, byPanel(model.points), "kmlPanelX");
    uploadReal(panelU, byPanel(model.coefficients), "kmlPanelU");
    uploadReal(pointX, byPoint(model.points, 1.0), "kmlPointX");
    uploadReal(pointU, byPoint(model.coefficients, 0.0), "kmlPointU");
    vector<double> beta = model.energyCoefficients;
    beta.resize(hasEnergyCoefficients ? padded : 1, 0.0);
    uploadReal(energyCoefficients, beta, "kmlEnergyCoefficients");

    real.initialize(cc, queries, size_t(numTiles) * rows * D, "kmlQueries");
    real.initialize(cc, gradient, size_t(numSlices) * numTiles * rows * (D + 1), "kmlGradient");
    real.initialize(cc, energies, size_t(numTiles) * numSlices, "kmlEnergies");
}

void GDMLDeviceTerm::uploadPrior(const kml::MoleculePrior& prior) {
    if (prior.empty())
        return;
    vector<double> values;
    for (const kml::Repulsion& pair : prior.repulsions_by_atoms())
        values.insert(values.end(), {pair.charge, pair.inverse_length, pair.inner, pair.outer});
    for (const kml::Walls& pair : prior.walls_by_atoms())
        values.insert(values.end(), {pair.lower, pair.upper, pair.stiffness, pair.onset});
    real.initialize(cc, priors, values.size() / 4, "kmlPriors", 4);
    real.upload(priors, values);
}

/** Bind the arrays. OpenMM makes its buffers after the forces, so this waits for the first evaluation. */
void GDMLDeviceTerm::setArguments(ComputeArray& atoms, ComputeArray& failure) {
    hasArguments = true;
    ArrayInterface& correction = cc.getUseMixedPrecision() ? cc.getPosqCorrection() : cc.getPosq();

    for (int value : {numMolecules, numAtoms, numEntries, numPermutations})
        queryKernel->addArg(value);
    real.add(queryKernel, power);
    queryKernel->addArg(cc.getPosq());
    queryKernel->addArg(correction);
    for (ComputeArray* array : {&atoms, &pairs, &scale, &offset, &queries})
        queryKernel->addArg(*array);

    for (int value :
         {numMolecules * numPermutations, numTiles, numSlices, numBlocks, blocksPerSlice, numEntries, numLanes, 0})
        tileKernel->addArg(value);
    for (ComputeArray* array :
         {&queries, &panelX, &panelU, &pointX, &pointU, &energyCoefficients, &gradient, &energies})
        tileKernel->addArg(*array);

    for (int value : {numMolecules, numAtoms, numEntries, numPermutations})
        gradientKernel->addArg(value);
    real.add(gradientKernel, power);
    for (int value : {numTiles, numSlices, 0})
        gradientKernel->addArg(value);
    for (int k = 0; k < 3; k++)
        real.add(gradientKernel, 0.0);
    real.add(gradientKernel, numMolecules * energyShift);
    real.add(gradientKernel, LARGEST_FORCE / numAtoms);
    gradientKernel->addArg(0);
    gradientKernel->addArg(cc.getPaddedNumAtoms());
    gradientKernel->addArg(cc.getPosq());
    gradientKernel->addArg(correction);
    for (ComputeArray* array : {&atoms, &pairs, &inversePairs, &scale, &offset, &gradient, &energies})
        gradientKernel->addArg(*array);
    gradientKernel->addArg(cc.getLongForceBuffer());
    gradientKernel->addArg(cc.getEnergyBuffer());
    gradientKernel->addArg(failure);
    if (numRepulsion + numWalls > 0)
        gradientKernel->addArg(priors);
    if (hasDerivative)
        gradientKernel->addArg(cc.getEnergyParamDerivBuffer());
}

void GDMLDeviceTerm::execute(ComputeArray& atoms, ComputeArray& failure, const DeviceRequest& request) {
    if (!hasArguments)
        setArguments(atoms, failure);
    const int includeForces = request.includeForces;
    tileKernel->setArg(TILE_INCLUDE_FORCES, includeForces);
    gradientKernel->setArg(GRADIENT_INCLUDE_FORCES, includeForces);
    real.set(gradientKernel, GRADIENT_FORCE_SCALE, request.forceScale);
    real.set(gradientKernel, GRADIENT_ENERGY_SCALE, request.energyScale);
    real.set(gradientKernel, GRADIENT_DERIVATIVE_SCALE, request.derivativeScale);
    gradientKernel->setArg(GRADIENT_DERIVATIVE_INDEX, request.derivativeIndex);
    launch(queryKernel, double(numTiles) * rows * numEntries / GROUP + 1);
    launch(tileKernel, double(numTiles) * numSlices);
    launch(gradientKernel, request.includeForces ? double(numMolecules) * ceilDivide(numEntries, PANEL) : 1);
}

void GDMLDeviceTerm::uploadReal(ComputeArray& array, const vector<double>& values, const char* name) {
    real.initialize(cc, array, values.size(), name);
    real.upload(array, values);
}
