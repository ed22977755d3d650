/**
 * One structure's energy, forces and virial by a LocalModel; the loops over chunks are the driver's.
 *
 * Every atom's environment is evaluated once. The gradients of its triples are kept by entry of the list of
 * neighbors, and each atom then gathers its own and the reverse entries: no two threads write to one place, and the
 * digits do not depend on the number of threads.
 */
#ifndef KML_LOCAL_EVALUATION_H
#define KML_LOCAL_EVALUATION_H

#include "kml/gdml.h"
#include "kml/local_model.h"
#include "kml/neighbors.h"
#include "kml/soap_batch.h"

#include <vector>

namespace kml {

/** A structure as drivers hand it over. */
struct Structure {
    long n_atoms;
    const double* positions; // (n, 3), Å
    const int* numbers;      // (n,) atomic numbers
    const double* cell;      // (3, 3), rows, Å; may be NULL
    const int* pbc;          // (3,); may be NULL, without periodicity
};

/**
 * The memory of one caller. begin(); if stale() then search() of all chunks, finish_search(), place() and link() of
 * all; prepare(); environments() of all; then forces() of all and finish().
 */
class LocalEvaluation {
public:
    /** Check the structure and look whether the list of neighbors still serves. */
    Failure begin(const LocalModel& model, const Structure& structure) noexcept;
    bool stale() const { return list_is_stale; }
    long n_chunks() const { return list.n_chunks(); }

    bool search(long chunk) noexcept { return list.search(chunk); }
    Failure finish_search() noexcept;
    void place(long chunk) noexcept { list.place(chunk); }
    void link(long chunk) noexcept { list.link(chunk); }

    /** Bring positions up to date and make room for the results. */
    Failure prepare(const LocalModel& model, const Structure& structure, int n_lanes) noexcept;
    /** Evaluate the chunks first <= c < last with the scratch memory of one lane. */
    Failure environments(const LocalModel& model, int lane, long first, long last) noexcept;
    /** Set the forces (n, 3) of the atoms of the chunks first <= c < last, eV/Å. */
    void forces(long first, long last, double* forces) const noexcept;
    /** Sum up; `virial` (3, 3) and `atomic` (n,) may be NULL. */
    void finish(double* energy, double* virial, double* atomic) const noexcept;

    /** Gather the neighbors of atom i within `reach` (Å) in the memory of a lane; see entries(). */
    Neighbors neighbors(const LocalModel& model, int lane, long i, double reach) noexcept;
    /** Places of the neighbors that were gathered last, counted from the atom's first entry of the list. */
    const int* entries(int lane) const { return lanes[size_t(lane)].entry.data(); }
    /** Place of atom i's element in the model's list. */
    int element_of(long i) const { return element[size_t(i)]; }
    /** The failure that two atoms coincide, of which one is i and the other one of the neighbors gathered last. */
    Failure coincident(int lane, long i, const Neighbors& neighbors) const noexcept;

    NeighborList list;

private:
    Failure environment(const LocalModel& model, int lane, long i, double* virial) noexcept;
    Failure add_soap(const LocalModel& model, int lane, long first, double* virial) noexcept;

    bool list_is_stale = true;
    std::vector<int> element;   // (n,) places in the model's list
    std::vector<double> energy; // (n,) with e0
    std::vector<double> pull;   // (n, 3): forces by pairs
    AlignedVector gradient;     // (near entries, 4): dE_i/dr_ij by triples and soap
    std::vector<double> virial; // (chunks, 6)
    struct Lane {
        AlignedVector numbers, scratch;
        std::vector<int> entry, element;
        SoapBatch soap;
        std::vector<int> kept; // entries of the list behind the batch's neighbors
    };
    std::vector<Lane> lanes;
};

} // namespace kml

#endif
