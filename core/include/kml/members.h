/**
 * The energies of all members of a model with uncertainty in one environment; compiled once for each instruction set
 * (core/src/environment_*.cpp).
 *
 * Energies of splines are linear in the coefficients, and the members of a model share its grids. So the weight of
 * every coefficient in an environment's energy is summed up first, beside the energy itself, and then multiplied with
 * the coefficients of all members: of these, those that some neighbor touched are read once for up to
 * `most_environments`, whatever the number of triples. Members stand innermost, `width` of them: their number up to a
 * multiple of 8, with zeros.
 */
#ifndef KML_MEMBERS_H
#define KML_MEMBERS_H

#include "kml/environment.h"

namespace kml {

/** Deviations of a `spline2` term. */
struct MemberPairs {
    int n;               // intervals, and coefficients
    const double* table; // (pairs, n, width), eV
    long moments;        // place of the moments (pairs, n + 1, 4) among an environment's numbers
    long weights, row;   // place of the weights (n_elements, row); row has room for n + 4
};

/** Deviations of a `spline3` term, whose coefficients `term` has. */
struct MemberTriples {
    const ThreeBody* term;
    const double* table; // (n_elements, pairs, near.n, near.n, term->row, width), eV
    long weights;        // place of the weights (pairs, term->block) among an environment's numbers
    long first_range;    // place of the first of its ranges among those of all terms
};

/** Deviations of all local terms, as plain arrays. */
struct Members {
    int width;
    int n_two_body, n_three_body;
    const MemberPairs* two_body;
    const MemberTriples* three_body;
    const double* one_body; // (n_elements, width), eV
    long n_numbers;         // of an environment: moments and weights
    long n_ranges, n_segments;
};

/** Coefficients that the environments touched: consecutive weights and what they multiply. */
struct MemberSegment {
    long weights;        // place among an environment's numbers
    const double* table; // (n, width)
    int n;
};

/**
 * The weights that were touched with a first interval: of the second axis those up to second_end, beginning with so
 * many from the end of the axis; of the far axis likewise. Unions are maxima; nothing was touched where all is zero.
 */
struct alignas(16) MemberRange {
    int second_left, second_end, far_left, far_end;
};

/** Environments whose weights are multiplied together. */
constexpr int most_environments = 4;

/** The memory of one thread, aligned to 64 bytes. Numbers and ranges are zero at first, and after each product. */
struct MemberMemory {
    double* numbers;         // (most_environments, n_numbers)
    MemberRange* ranges;     // (n_ranges,): of all waiting environments
    MemberSegment* segments; // (n_segments,)
    int center;              // element of the waiting environments
    int n;                   // how many wait
};

/** The functions of one instruction set. */
struct MemberFunctions {
    /**
     * An EnvironmentFunction that leaves the weights of the coefficients in the memory: of the environment that waits
     * last, unless atoms coincide. All that wait are of one element, and most_environments at most.
     */
    void (*weigh)(const LocalTerms& terms, const Members& members, int center, const Neighbors& neighbors,
                  double* scratch, MemberMemory& memory, EnvironmentResult& result);
    /** Set the energies (n, width) of all that wait by all members, eV, one-body deviations included; none waits then.
     */
    void (*multiply)(const LocalTerms& terms, const Members& members, MemberMemory& memory, double* energies);
};

/** Return the functions compiled for the instruction set of this name ("avx512", "avx2", "baseline"). */
const MemberFunctions* member_functions(const char* isa);

} // namespace kml

#endif
