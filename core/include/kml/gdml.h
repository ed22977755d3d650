/**
 * The `gdml` term, prepared for evaluation, and the steps of one evaluation.
 *
 * A driver calls begin(), then block() for every block of training points (from any thread, each thread with its
 * own slice of the scratch memory), adds up the threads' sums with gather(), and calls finish().
 */
#ifndef KML_GDML_H
#define KML_GDML_H

#include "kml/aligned.h"
#include "kml/instruction_set.h"
#include "kml/weight_file.h"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace kml {

/** Why a geometry has no energy. */
struct Failure {
    enum Reason {
        none,
        not_finite,
        coincident,
        overflow,
        memory,
        unknown_element, // of atom i
        no_volume,       // of the periodic lattice vectors
        too_small        // is the cell for the cutoff
    } reason = none;
    long geometry = 0;
    int i = 0, j = 0;    // atoms
    int number = 0;      // atomic number of an unknown element
    double distance = 0; // Å
};

/** A term, prepared: nothing in it changes after construction. */
struct GDML {
    int n_atoms;
    long n_train, n_entries, n_permutations; // N, D, P
    long entries;                            // D, padded
    long n_panels;
    long block_panels;                  // most panels of one block of training points
    double power, scale, energy_offset; // p, s = √(2ν)/ℓ, c
    RadialKernel kernel;
    bool has_energies;
    std::vector<double> descriptor_weights; // (D,)
    std::vector<double> mean;               // (D,) subtracted from every descriptor
    AlignedVector panels, constants;        // as in gdml_block.h
    std::vector<int32_t> index;             // (P, D): (π x)_d = x[index[π][d]]
    const InstructionSet* instructions;

    GDML(const GDMLTerm& term, int n_atoms, const InstructionSet* instructions);

    /** Floating-point operations of the matrix products for one geometry, 8 N P D. */
    double operations() const { return 8.0 * double(n_train) * double(n_permutations) * double(n_entries); }

    /** Geometries that are worth stacking in one call. */
    long stack() const;

    // Scratch memory, in doubles: shared by the threads of one evaluation, and of each thread.
    size_t shared_size(long geometries) const;
    size_t thread_size(long geometries) const;

    /**
     * Prepare the query rows of some geometries.
     *
     * @param positions  IN  (geometries, n_atoms, 3), Å
     * @param shared     OUT scratch, shared_size() doubles, aligned to 64 bytes
     * @return the first geometry's failure
     */
    Failure begin(long geometries, const double* positions, double* shared) const;

    /** Set one thread's sums to zero. `own`: thread_size() doubles, aligned to 64 bytes. */
    void clear(long geometries, double* own) const;

    /** Add one block of training points, `count` <= block_panels panels from `panel` on, to one thread's sums. */
    void block(long geometries, long panel, long count, const double* shared, double* own) const;

    /** Add another thread's sums to `own`. */
    void gather(long geometries, const double* other, double* own) const;

    /**
     * Add energies, forces and virials, from the sums of all blocks.
     *
     * @param energies  INOUT (geometries,), eV
     * @param forces    INOUT (geometries, n_atoms, 3), eV/Å; NULL when not wanted
     * @param virials   INOUT (geometries, 3, 3), eV; NULL when not wanted
     */
    void finish(long geometries, const double* positions, const double* own, double* shared, double* energies,
                double* forces, double* virials) const;

private:
    void set_panels(const GDMLTerm& term);
    void set_index(const GDMLTerm& term);
    void set_mean(const GDMLTerm& term);
};

} // namespace kml

#endif
