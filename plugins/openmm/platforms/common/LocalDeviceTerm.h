#ifndef OPENMMKML_LOCALDEVICETERM_H_
#define OPENMMKML_LOCALDEVICETERM_H_

#include "DeviceNeighborList.h"
#include "DeviceReal.h"
#include "DeviceRequest.h"
#include "kml/local_model.h"
#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeContext.h"
#include <list>
#include <string>
#include <vector>

namespace OpenMMKML {

/** All local terms of a model on a device: tables, list of neighbors and compute kernels (docs/device_kernels.md). */
class LocalDeviceTerm {
public:
    /**
     * Upload the model and compile the compute kernels. The context is current.
     *
     * @param elements       by atom: place in the model's list of elements
     * @param hasDerivative  write the energy into the buffer of parameter derivatives too
     * @throws OpenMMException  if the device cannot run the terms
     */
    LocalDeviceTerm(OpenMM::ComputeContext& cc, const kml::LocalModel& model, const std::vector<int>& elements,
                    bool periodic, bool hasDerivative);

    /**
     * Queue an evaluation and wait until the list of neighbors is known to have served.
     *
     * @param atoms    IN  (n,) places of the atoms in the device's arrays
     * @param failure  OUT one integer, set to 1 if a position, the energy or a force is not finite or atoms coincide,
     *                 else left alone
     */
    void execute(OpenMM::ComputeArray& atoms, OpenMM::ComputeArray& failure, const DeviceRequest& request);

    /** The atoms are elsewhere in the device's arrays. */
    void invalidate() { neighbors.invalidate(); }

private:
    /** Arguments, known by their place, that change between evaluations. */
    struct Call {
        OpenMM::ComputeKernel kernel;
        int capacity = 0, imageBits = -1, request = -1; // first of their kind; -1: the kernel has none
    };
    /** One `spline3` term. */
    struct Triples {
        kml::ThreeBody term;
        OpenMM::ComputeArray table;
        Call call;
    };

    void uploadPairs(const kml::LocalTerms& terms);
    void uploadTriples(const kml::ThreeBody& term);
    void compile(const kml::LocalTerms& terms, bool hasDerivative);
    void setArguments(OpenMM::ComputeArray& failure);
    void setPairArguments(OpenMM::ComputeArray& failure);
    void setSideArguments();
    void setTripleArguments(Triples& one, OpenMM::ComputeArray& failure);
    void addRequest(Call& call, int index);
    void addOutputs(Call& call, OpenMM::ComputeArray& failure);
    void update(const Call& call, const DeviceRequest& request);
    void makeRoom();
    int chooseTeam() const;
    void uploadReal4(OpenMM::ComputeArray& array, std::vector<double> values, const char* name);

    OpenMM::ComputeContext& cc;
    const DeviceReal real;
    const bool hasDerivative;
    bool hasPairs, hasArguments = false;
    const double cutoff, cutoffTriples;
    DeviceNeighborList neighbors;
    int teamBits, maxThreads = 0;
    OpenMM::ComputeArray grids, starts, polynomials, repulsions;
    OpenMM::ComputeArray sides, sideAtoms, numSides;
    std::list<Triples> triples;
    Call pairCall, sideCall;
};

} // namespace OpenMMKML

#endif
