#include "DeviceNeighborList.h"
#include "kml/frame.h"
#include "openmm/OpenMMException.h"
#include "openmm/common/ComputeProgram.h"
#include "openmmkml/internal/Engine.h"
#include <algorithm>
#include <climits>
#include <cmath>

using namespace OpenMM;
using namespace OpenMMKML;
using namespace std;

namespace {

constexpr double SKIN = 0.5;    // Angstrom, as the engine's
constexpr int SCAN_GROUP = 256; // repeats neighbors.cc

// Bins are half as wide as the reach: 125 of them hold 3.7 times as many atoms as the sphere; 27 wide ones, 6.4 times.
constexpr int BINS_IN_REACH = 2;
constexpr double MOST_IMAGES = 1e6; // as the engine's

// A row begins with this much room and grows when it was too short.
constexpr int FIRST_CAPACITY = 64, FIRST_NEAR_CAPACITY = 8;

enum Status { STALE, MOST, MOST_NEAR, STATUS_SIZE };

// Positions of the arguments that change.
constexpr int BINS_OF_KERNEL = 0, FIND_IMAGES = 1, FIND_IMAGE_BITS = 2, FIND_CAPACITY = 3, FIND_NEAR_CAPACITY = 4;

void checkSize(double size) {
    if (size >= INT_MAX)
        throw OpenMMException("KMLForce: the neighbors of all atoms are too many for a device's arrays");
}

} // namespace

DeviceNeighborList::DeviceNeighborList(ComputeContext& cc, DeviceReal real, bool periodic, Reach cutoff,
                                       const vector<int>& elementsOfAtoms)
    : cc(cc), real(real), position(cc.getSupportsDoublePrecision()), periodic(periodic), cutoff(cutoff),
      numAtoms(elementsOfAtoms.size()), capacity(FIRST_CAPACITY), nearCapacity(FIRST_NEAR_CAPACITY),
      event(cc.createEvent()) {
    elements.initialize<int>(cc, numAtoms, "kmlElements");
    elements.upload(elementsOfAtoms);
    status.initialize<int>(cc, STATUS_SIZE, "kmlStatus");
    grid.initialize<int>(cc, sizeof(Layout::grid) / sizeof(int), "kmlGrid");
    position.initialize(cc, frame, sizeof(Layout::frame) / sizeof(double), "kmlFrame");
    for (ComputeArray* array : {&bins, &cells})
        array->initialize<mm_int4>(cc, numAtoms, "kmlCells");
    for (ComputeArray* array : {&order, &sites})
        array->initialize<int>(cc, numAtoms, "kmlSites");
    counts.initialize<mm_int2>(cc, numAtoms, "kmlCounts");
    for (ComputeArray* array : {&reference, &wrapped})
        position.initialize(cc, *array, numAtoms, "kmlWrapped", 4);
    for (ComputeArray* array : {&binCounts, &binStarts, &binEnds})
        array->initialize<int>(cc, 1, "kmlBins");
    position.initialize(cc, shifts, 1, "kmlShifts", 4);
    entries.initialize<int>(cc, 1, "kmlNeighbors");
    near.initialize<int>(cc, 1, "kmlNearNeighbors");
    makeRoom();
}

map<string, string> DeviceNeighborList::getDefines() const {
    return {{"KREAL", real.name()},
            {"KREAL4", real.name() + "4"},
            {"KPOS", position.name()},
            {"KPOS4", position.name() + "4"}};
}

void DeviceNeighborList::initialize(ComputeProgram program) {
    moveKernel = program->createKernel("moveAtoms");
    startKernel = program->createKernel("startList");
    binKernel = program->createKernel("binAtoms");
    scanKernel = program->createKernel("scanBins");
    fillKernel = program->createKernel("fillBins");
    sortKernel = program->createKernel("sortBins");
    findKernel = program->createKernel("findNeighbors");
    if (scanKernel->getMaxBlockSize() < SCAN_GROUP)
        throw OpenMMException("KMLForce: the device runs work groups of " +
                              cc.intToString(scanKernel->getMaxBlockSize()) + " threads; " +
                              cc.intToString(SCAN_GROUP) + " are needed");
}

/** Room for rows of the present lengths. */
void DeviceNeighborList::makeRoom() {
    checkSize(double(numAtoms) * capacity);
    checkSize(double(numAtoms) * nearCapacity);
    entries.resize(size_t(numAtoms) * capacity);
    near.resize(size_t(numAtoms) * nearCapacity);
}

/** Without periodicity the bins repeat; a row of them is longer than what an atom looks at, so none is seen twice. */
DeviceNeighborList::Layout DeviceNeighborList::layOutOpen() const {
    Layout layout = {};
    const int side = min(128, max(2 * BINS_IN_REACH + 1, int(ceil(cbrt(double(numAtoms))))));
    const double width = (cutoff.all + SKIN) / BINS_IN_REACH;
    for (int a = 0; a < 3; a++) {
        layout.grid[a] = side;
        layout.grid[3 + a] = BINS_IN_REACH;
        layout.frame[9 + 4 * a] = 1 / (side * width);
    }
    layout.numBins = side * side * side;
    layout.numImages = 1;
    return layout;
}

DeviceNeighborList::Layout DeviceNeighborList::layOut() const {
    if (!periodic)
        return layOutOpen();
    Layout layout = {};
    layout.grid[9] = 1;
    double cell[9];
    for (int k = 0; k < 9; k++)
        cell[k] = box[k / 3][k % 3] * ANGSTROM_IN_NM;
    const int everyDirection[3] = {1, 1, 1};
    kml::Frame geometry;
    if (!kml::make_frame(cell, everyDirection, geometry))
        throw OpenMMException("KMLForce: the periodic box vectors span no volume");
    copy_n(cell, 9, layout.frame);
    copy_n(&geometry.inverse[0][0], 9, layout.frame + 9);

    // Few atoms in a large box: as many bins as atoms suffice.
    const double reach = cutoff.all + SKIN, volume = geometry.height[0] * geometry.height[1] * geometry.height[2];
    const double width = max(reach / BINS_IN_REACH, cbrt(volume / max(64, numAtoms)) / 2);
    double numImages = 1, numBins = 1;
    for (int a = 0; a < 3; a++) {
        const double n = max(1.0, floor(geometry.height[a] / width)), range = ceil(reach / geometry.height[a] * n);
        const double images = ceil(range / n);
        numBins *= n;
        numImages *= 2 * images + 1;
        if (numImages > MOST_IMAGES || numBins > INT_MAX / 4)
            throw OpenMMException("KMLForce: the periodic box is so small beside the model's cutoff, or so large, that "
                                  "the device has no room for it: check the unit of the box");
        layout.grid[a] = n;
        layout.grid[3 + a] = range;
        layout.grid[6 + a] = images;
    }
    layout.numBins = numBins;
    layout.numImages = numImages;
    return layout;
}

void DeviceNeighborList::uploadLayout(const Layout& layout) {
    grid.upload(layout.grid);
    position.upload(frame, vector<double>(layout.frame, layout.frame + 18));
    for (ComputeArray* array : {&binCounts, &binStarts, &binEnds})
        if (array->getSize() < size_t(layout.numBins))
            array->resize(layout.numBins);
    vector<double> images;
    const int* most = layout.grid + 6;
    for (int a = -most[0]; a <= most[0]; a++)
        for (int b = -most[1]; b <= most[1]; b++)
            for (int c = -most[2]; c <= most[2]; c++) {
                for (int k = 0; k < 3; k++)
                    images.push_back(a * layout.frame[k] + b * layout.frame[3 + k] + c * layout.frame[6 + k]);
                images.push_back(0);
            }
    if (shifts.getSize() != size_t(layout.numImages))
        shifts.resize(layout.numImages);
    position.upload(shifts, images);
}

/** Follow the box; a new one needs a new list. */
void DeviceNeighborList::setBox(const Vec3* vectors) {
    if (hasLayout && (!periodic || equal(box, box + 3, vectors)))
        return;
    valid = hasLayout = false;
    copy_n(vectors, 3, box);
    const Layout layout = layOut();
    for (imageBits = 0; 1 << imageBits < layout.numImages;)
        imageBits++;
    checkSize(ldexp(numAtoms, imageBits));
    numBins = layout.numBins;
    numImages = layout.numImages;
    uploadLayout(layout);
    hasLayout = true;
}

/** Bind the arrays. OpenMM makes its buffers after the forces, so this waits for the first update. */
void DeviceNeighborList::setArguments(ComputeArray& atoms, ComputeArray& failure) {
    hasArguments = true;
    ArrayInterface& posq = cc.getPosq();
    ArrayInterface& correction = cc.getUseMixedPrecision() ? cc.getPosqCorrection() : cc.getPosq();
    moveKernel->addArg(numAtoms);
    // A little less than half the skin, for the rounding of positions.
    real.add(moveKernel, pow(0.499 * SKIN, 2));
    addArrays(moveKernel, {&frame, &posq, &correction, &sites, &cells, &reference, &wrapped, &status, &failure});
    startKernel->addArg(numBins);
    addArrays(startKernel, {&binCounts, &status});
    binKernel->addArg(numAtoms);
    addArrays(binKernel, {&grid, &frame, &posq, &correction, &atoms, &bins, &binCounts});
    scanKernel->addArg(numBins);
    addArrays(scanKernel, {&binCounts, &binStarts, &binEnds});
    fillKernel->addArg(numAtoms);
    addArrays(fillKernel, {&bins, &binEnds, &order});
    sortKernel->addArg(numBins);
    addArrays(sortKernel, {&binStarts, &binEnds, &bins, &atoms, &elements, &frame, &posq, &correction, &order, &sites,
                           &cells, &reference, &wrapped, &failure});
    for (int value : {numAtoms, numImages, imageBits, capacity, nearCapacity})
        findKernel->addArg(value);
    real.add(findKernel, pow(cutoff.all + SKIN, 2));
    real.add(findKernel, cutoff.near > 0 ? pow(cutoff.near + SKIN, 2) : 0.0);
    addArrays(findKernel, {&grid, &shifts, &binStarts, &binEnds, &cells, &wrapped, &entries, &near, &counts, &status});
}

void DeviceNeighborList::setSizes() {
    for (ComputeKernel* kernel : {&startKernel, &scanKernel, &sortKernel})
        (*kernel)->setArg(BINS_OF_KERNEL, numBins);
    findKernel->setArg(FIND_IMAGES, numImages);
    findKernel->setArg(FIND_IMAGE_BITS, imageBits);
    findKernel->setArg(FIND_CAPACITY, capacity);
    findKernel->setArg(FIND_NEAR_CAPACITY, nearCapacity);
}

void DeviceNeighborList::makeList() {
    setSizes();
    startKernel->execute(numBins);
    binKernel->execute(numAtoms);
    scanKernel->execute(SCAN_GROUP, SCAN_GROUP);
    fillKernel->execute(numAtoms);
    sortKernel->execute(numBins);
    findKernel->execute(numAtoms);
}

void DeviceNeighborList::update(ComputeArray& atoms, ComputeArray& failure) {
    Vec3 vectors[3];
    cc.getPeriodicBoxVectors(vectors[0], vectors[1], vectors[2]);
    setBox(vectors);
    if (!hasArguments)
        setArguments(atoms, failure);
    if (valid)
        moveKernel->execute(numAtoms);
    else
        makeList();
    // The answer travels while the compute kernels that use the list run.
    status.download(cc.getPinnedBuffer(), false);
    event->enqueue();
}

bool DeviceNeighborList::check() {
    event->wait();
    const int* answer = static_cast<const int*>(cc.getPinnedBuffer());
    const bool tooShort = answer[MOST] > capacity || answer[MOST_NEAR] > nearCapacity;
    valid = answer[STALE] == 0 && !tooShort;
    // With some room to spare: a list made anew may need a little more.
    const auto grown = [](int needed) { return needed + needed / 8 + 2; };
    if (answer[MOST] > capacity)
        capacity = grown(answer[MOST]);
    if (answer[MOST_NEAR] > nearCapacity)
        nearCapacity = grown(answer[MOST_NEAR]);
    if (tooShort)
        makeRoom();
    return valid;
}
