/**
 * The energies of all members of a model with uncertainty in one environment; compiled once for each instruction set
 * (core/src/environment_*.cpp).
 *
 * Energies of splines are linear in the coefficients, and the members of a model share its grids. So the weight of
 * every coefficient in an environment's energy is summed up first, over pairs and triples, and then multiplied with the
 * coefficients of all members: of these, the few that some neighbor touched are read once, whatever the number of
 * triples. Members stand innermost, `width` of them: their number up to a multiple of 8, with zeros.
 */
#ifndef KML_MEMBERS_H
#define KML_MEMBERS_H

#include "kml/environment.h"

namespace kml {

/** Deviations of a `spline2` term. */
struct MemberPairs {
    Grid grid;
    double cutoff;       // Å
    long row;            // grid.n + 4, up to a multiple of 4
    const double* table; // (pairs, row, width), eV; zeros behind the last coefficient
    long first;          // place of the weights (4, n_elements, row) in the memory of a thread, doubles
};

/** Deviations of a `spline3` term, whose coefficients `term` has. */
struct MemberTriples {
    const ThreeBody* term;
    const double* table; // (n_elements, pairs, near.n, near.n, term->row, width), eV
    long first;          // place of the weights (pairs, term->block) in the memory
    long first_range;    // place of the first of its ranges among those of all terms
};

/** Deviations of all local terms, as plain arrays. */
struct Members {
    int width;
    int n_two_body, n_three_body;
    const MemberPairs* two_body;
    const MemberTriples* three_body;
    const double* one_body;               // (n_elements, width), eV
    long n_weights, n_ranges, n_segments; // of the memory
};

/** Coefficients that an environment touched: consecutive weights and what they multiply. */
struct MemberSegment {
    double* weights;     // in the memory
    const double* table; // (n, width)
    int n;
};

/** The weights (second, far) of a first interval that were touched; none with far_end = 0. */
struct MemberRange {
    int second, second_end, far, far_end;
};

/** The memory of one thread, aligned to 64 bytes. All zero at first; a call leaves it so. */
struct MemberMemory {
    double* weights;         // (n_weights,)
    MemberRange* ranges;     // (n_ranges,)
    MemberSegment* segments; // (n_segments,)
};

/**
 * Set the energies (width,) of one atom by all members, eV, one-body deviations included.
 *
 * @param neighbors  as the EnvironmentFunction left them, which was called before: no atoms coincide
 * @param n_sides    as it found
 * @param scratch    as it left it
 */
typedef void MemberFunction(const LocalTerms& terms, const Members& members, int center, const Neighbors& neighbors,
                            int n_sides, double* scratch, MemberMemory& memory, double* energies);

/** Return the function compiled for the instruction set of this name ("avx512", "avx2", "baseline"). */
MemberFunction* member_function(const char* isa);

} // namespace kml

#endif
