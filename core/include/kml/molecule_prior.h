/** What a model of one molecule knows without data, the `repulsion` and `walls` terms: between all its pairs of atoms.
 */
#ifndef KML_MOLECULE_PRIOR_H
#define KML_MOLECULE_PRIOR_H

#include "kml/repulsion.h"
#include "kml/walls.h"
#include "kml/weight_file.h"

#include <vector>

namespace kml {

/** Return the repulsion of each unordered pair of elements, in the order (0,0), (0,1), … (0,n-1), (1,1), … */
std::vector<Repulsion> repulsions_of(const RepulsionTerm& term, const std::vector<int>& elements);

/** Nothing in it changes after construction. A pair at a distance of the data costs two comparisons. */
class MoleculePrior {
public:
    /** None. */
    MoleculePrior() = default;
    /** @param file  with `species` */
    explicit MoleculePrior(const WeightFile& file);

    bool empty() const { return repulsions.empty() && all_walls.empty(); }

    /**
     * Add energies, forces and virials of some geometries. No two atoms coincide.
     *
     * @param positions  IN    (geometries, n_atoms, 3), Å
     * @param energies   INOUT (geometries,), eV
     * @param forces     INOUT (geometries, n_atoms, 3), eV/Å; NULL when not wanted
     * @param virials    INOUT (geometries, 3, 3), eV; NULL when not wanted
     */
    void add(long geometries, const double* positions, double* energies, double* forces, double* virials) const;

    /** Return the repulsion of each pair of atoms i > j by term, (terms, D) in the row order of the lower triangle. */
    std::vector<Repulsion> repulsions_by_atoms() const;
    /** Return the walls of each pair of atoms, in the same order. */
    const std::vector<Walls>& walls_by_atoms() const { return all_walls; }

private:
    /** Distances, squared, between which a pair of atoms feels nothing, Å². */
    struct Quiet {
        double from, to;
    };

    /** Energy of pair p, of atoms i and j, by all terms, eV, and its slope, eV/Å. */
    double pair(size_t p, size_t i, size_t j, double r, double& slope) const;

    size_t n_elements = 0;
    std::vector<size_t> places;                     // of each atom's element among the distinct ones
    std::vector<std::vector<Repulsion>> repulsions; // each (n_elements, n_elements)
    std::vector<Walls> all_walls;                   // (terms, D)
    std::vector<Quiet> quiet;                       // (D,)
};

} // namespace kml

#endif
