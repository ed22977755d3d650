/**
 * One structure's energy, forces and virial by a LocalModel; the loops over chunks are the driver's.
 *
 * Every atom's environment is evaluated once. The gradients of its triples are kept by entry of the list of
 * neighbors, and each atom then gathers its own and the reverse entries: no two threads write to one place, and the
 * digits do not depend on the number of threads.
 *
 * The energies of all members of a model with uncertainty come along if prepare() is asked for them. The gradient of a
 * sum of members, so also of the energy's standard deviation, is one more evaluation with other coefficients.
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
 * all; prepare(); environments() of all parts; then forces() of all and finish().
 */
class LocalEvaluation {
public:
    static constexpr long part_atoms = 8;                // fine enough for threads to share a small cell
    static constexpr long batch_atoms = soap_most_block; // of consecutive parts, with one call of the soap terms

    /** Check the structure and look whether the list of neighbors still serves. */
    Failure begin(const LocalModel& model, const Structure& structure) noexcept;
    bool stale() const { return list_is_stale; }
    long n_chunks() const { return list.n_chunks(); }
    long n_parts() const { return (list.n_atoms + part_atoms - 1) / part_atoms; }

    bool search(long chunk) noexcept { return list.search(chunk); }
    Failure finish_search() noexcept;
    void place(long chunk) noexcept { list.place(chunk); }
    void link(long chunk) noexcept { list.link(chunk); }

    /** Bring positions up to date and make room for the results, those of the members too if they are wanted. */
    Failure prepare(const LocalModel& model, const Structure& structure, int n_lanes, bool members = false) noexcept;
    /** Evaluate the parts first <= p < last with the scratch memory of one lane. */
    Failure environments(const LocalModel& model, int lane, long first, long last) noexcept;
    /** Set the forces (n, 3) of the atoms of the parts first <= p < last, eV/Å. */
    void forces(long first, long last, double* forces) const noexcept;
    /** Sum up; `virial` (3, 3) and `atomic` (n,) may be NULL. */
    void finish(double* energy, double* virial, double* atomic) const noexcept;

    /** Set standard deviations, eV; `atomic` (n,) may be NULL. After environments() of all parts with members. */
    void finish_members(const LocalModel& model, double* energy_std, double* atomic_std) noexcept;
    /**
     * From now on evaluate the energy's standard deviation instead: environments(), forces() and finish() again. The
     * energy is then the derivative along the members, not σ itself. After finish_members().
     */
    Failure begin_gradient(const LocalModel& model) noexcept;
    /** From now on evaluate one member's deviation of the energy instead. */
    Failure begin_member(const LocalModel& model, int member) noexcept;

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
    Failure part_environments(const LocalModel& model, int lane, long part) noexcept;
    Failure environment(const LocalModel& model, int lane, long i, double* virial) noexcept;
    void reserve_members(const LocalModel& model, size_t n_lanes);
    void weigh_members(const LocalModel& model, int lane, long i, const Neighbors& neighbors,
                       EnvironmentResult& result) noexcept;
    void multiply_members(const LocalModel& model, int lane, long i) noexcept;
    void sum_members(const LocalModel& model, int lane, long part) noexcept;
    Failure combine(const LocalModel& model) noexcept;
    Failure finish_batch(const LocalModel& model, int lane, long first_part, long last_part) noexcept;
    Failure add_soap(const LocalModel& model, int lane) noexcept;
    struct Lane;
    void add_soap_members(const LocalModel& model, Lane& lane, size_t k) noexcept;

    bool list_is_stale = true;
    std::vector<int> element;   // (n,) places in the model's list
    std::vector<double> energy; // (n,) with e0
    std::vector<double> pull;   // (n, 3): forces by pairs
    AlignedVector gradient;     // (near entries, 4): dE_i/dr_ij by triples and soap
    std::vector<double> virial; // (parts, 6)
    bool with_members = false, with_combined = false;
    std::vector<double> member_sums, variance; // (parts, width), (n,): raw, of members
    std::vector<double> unexplained;           // (n,): of that, what soap terms leave of their prior
    AlignedVector weights;                     // (width,) of the members in `combined`
    double prior_weight = 0;                   // of half of what is left of the prior, there
    CombinedTerms combined;
    struct Lane {
        AlignedVector numbers, scratch;
        AlignedVector member_energies, member_numbers; // (batch_atoms, width); of `waiting`
        std::vector<MemberRange> ranges;
        std::vector<MemberSegment> segments;
        MemberMemory waiting = {};
        std::vector<int> entry, element;
        size_t first; // atom of the batch
        SoapBatch soap;
        std::vector<int> kept; // entries of the list behind the batch's neighbors

        void start_batch(long atom) { first = size_t(atom), soap.clear(), kept.clear(); }
    };
    std::vector<Lane> lanes;
};

} // namespace kml

#endif
