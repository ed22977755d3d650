/** The `repulsion` terms of a model of one molecule: between all its pairs of atoms, without a list of neighbors. */
#ifndef KML_MOLECULE_REPULSION_H
#define KML_MOLECULE_REPULSION_H

#include "kml/repulsion.h"
#include "kml/weight_file.h"

#include <vector>

namespace kml {

/** Return the repulsion of each unordered pair of elements, in the order (0,0), (0,1), … (0,n-1), (1,1), … */
std::vector<Repulsion> repulsions_of(const RepulsionTerm& term, const std::vector<int>& elements);

/** Nothing in it changes after construction. A pair beyond its r_2 costs one comparison. */
class MoleculeRepulsion {
public:
    /** No repulsion. */
    MoleculeRepulsion() = default;
    /** @param file  with `species` */
    explicit MoleculeRepulsion(const WeightFile& file);

    bool empty() const { return terms.empty(); }

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
    std::vector<Repulsion> by_atoms() const;

private:
    /** Energy of a pair by all terms, eV, and its slope, eV/Å. */
    double pair(size_t i, size_t j, double r, double& slope) const;

    size_t n_elements = 0;
    std::vector<size_t> places;                // of each atom's element among the distinct ones
    std::vector<std::vector<Repulsion>> terms; // each (n_elements, n_elements)
    std::vector<double> reach2;                // (n_elements, n_elements) square of the largest r_2, Å²
};

} // namespace kml

#endif
