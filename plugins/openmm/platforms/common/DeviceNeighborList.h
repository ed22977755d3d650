#ifndef OPENMMKML_DEVICENEIGHBORLIST_H_
#define OPENMMKML_DEVICENEIGHBORLIST_H_

#include "DeviceReal.h"
#include "openmm/Vec3.h"
#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeContext.h"
#include "openmm/common/ComputeEvent.h"
#include <map>
#include <string>
#include <vector>

namespace OpenMMKML {

/**
 * Full list of neighbors on a device, with a skin; boxes of any shape and size, or none (docs/device_kernels.md).
 *
 * The host knows at once when the box or the order of the atoms changed. Whether an atom moved too far, or a row was
 * too short, the device finds out: update() queues the question, compute kernels that find the list unfit do nothing,
 * and check() hears the answer after they were queued.
 */
class DeviceNeighborList {
public:
    /** Reaches of the lists of all neighbors and of those of triples, Angstrom; 0 for none. */
    struct Reach {
        double all, near;
    };

    /** @param elements  by atom: place in the model's list of elements */
    DeviceNeighborList(OpenMM::ComputeContext& cc, DeviceReal real, bool periodic, Reach cutoff,
                       const std::vector<int>& elements);

    /** Definitions that the source of the compute kernels needs. */
    std::map<std::string, std::string> getDefines() const;
    /** Take the compute kernels from the compiled program. */
    void initialize(OpenMM::ComputeProgram program);
    /** The atoms are elsewhere in the device's arrays: the next update makes the list anew. */
    void invalidate() { valid = false; }

    /**
     * Queue what brings positions and list up to date.
     *
     * @param atoms    IN  (n,) places of the atoms in the device's arrays
     * @param failure  OUT one integer, set to 1 if a position is not finite
     * @throws OpenMMException  if the box has no volume, or is tiny beside the reach
     */
    void update(OpenMM::ComputeArray& atoms, OpenMM::ComputeArray& failure);
    /** Wait for the device. Return false if the list was unfit: queue update() and the list's users again. */
    bool check();

    int getNumAtoms() const { return numAtoms; }
    int getImageBits() const { return imageBits; }
    int getCapacity() const { return capacity; }
    int getNearCapacity() const { return nearCapacity; }

    // For the users of the list; neighbors.cc describes them.
    OpenMM::ComputeArray status, sites, wrapped, shifts, counts, entries, near;

private:
    /** Bins of the cell, images and the lattice vectors, as the compute kernels take them. */
    struct Layout {
        int grid[10];     // bins, ranges, images in three directions; whether periodic
        double frame[18]; // vectors and their inverse
        int numBins, numImages;
    };
    Layout layOut() const;
    Layout layOutOpen() const;
    void setBox(const OpenMM::Vec3* vectors);
    void uploadLayout(const Layout& layout);
    void makeRoom();
    void setArguments(OpenMM::ComputeArray& atoms, OpenMM::ComputeArray& failure);
    void setSizes();
    void makeList();

    OpenMM::ComputeContext& cc;
    const DeviceReal real, position; // of the terms; of positions and lattice vectors
    const bool periodic;
    const Reach cutoff;
    const int numAtoms;
    bool valid = false, hasLayout = false, hasArguments = false;
    int capacity, nearCapacity, imageBits = 0, numBins = 0, numImages = 0;
    OpenMM::Vec3 box[3];
    OpenMM::ComputeEvent event;
    OpenMM::ComputeArray elements, grid, frame, bins, binCounts, binStarts, binEnds, order, cells, reference;
    OpenMM::ComputeKernel moveKernel, startKernel, binKernel, scanKernel, fillKernel, sortKernel, findKernel;
};

} // namespace OpenMMKML

#endif
