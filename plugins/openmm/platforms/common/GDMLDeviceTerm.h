#ifndef OPENMMKML_GDMLDEVICETERM_H_
#define OPENMMKML_GDMLDEVICETERM_H_

#include "DeviceModel.h"
#include "DeviceReal.h"
#include "DeviceRequest.h"
#include "kml/molecule_prior.h"
#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeContext.h"
#include <vector>

namespace OpenMMKML {

/** A `gdml` term on a device: its arrays and compute kernels (docs/device_kernels.md), for copies of one molecule. */
class GDMLDeviceTerm {
public:
    /**
     * Upload the model and compile the compute kernels. The context is current.
     *
     * @param prior          repulsion and walls of the pairs of atoms; may be empty
     * @param hasDerivative  write the energy into the buffer of parameter derivatives too
     * @throws OpenMMException  if the device cannot run the term
     */
    GDMLDeviceTerm(OpenMM::ComputeContext& cc, const DeviceModel& model, const kml::MoleculePrior& prior,
                   int numMolecules, bool hasDerivative);

    /**
     * Queue an evaluation.
     *
     * @param atoms    IN  (numMolecules, n) positions of the molecules' atoms in the device's arrays
     * @param failure  OUT one integer, set to 1 if the energy or a force is not finite, else left alone
     */
    void execute(OpenMM::ComputeArray& atoms, OpenMM::ComputeArray& failure, const DeviceRequest& request);

    /** Energy of one molecule, eV, that execute() leaves out, beside the energy offset. */
    double getEnergyShift() const { return energyShift; }
    bool usesDoublePrecision() const { return real.isDouble; }

private:
    void chooseLayout();
    void compile(const DeviceModel& model);
    void upload(const DeviceModel& model);
    void uploadPrior(const kml::MoleculePrior& prior);
    void setArguments(OpenMM::ComputeArray& atoms, OpenMM::ComputeArray& failure);
    void uploadReal(OpenMM::ComputeArray& array, const std::vector<double>& values, const char* name);

    OpenMM::ComputeContext& cc;
    const DeviceReal real;
    const bool hasDerivative;
    bool hasEnergyCoefficients, hasArguments = false;
    double power, energyShift;
    int numMolecules, numAtoms, numEntries, numPermutations, numPoints, numRepulsion, numWalls;
    int rows, panels;                                   // rows of a tile, panels of training points in a block
    int numTiles, numBlocks, numSlices, blocksPerSlice; // of rows; of training points
    int numLanes;
    OpenMM::ComputeArray pairs, inversePairs, scale, offset, panelX, panelU, pointX, pointU, energyCoefficients;
    OpenMM::ComputeArray priors;
    OpenMM::ComputeArray queries, gradient, energies;
    OpenMM::ComputeKernel queryKernel, tileKernel, gradientKernel;
};

} // namespace OpenMMKML

#endif
