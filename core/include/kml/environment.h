/** The energy of one atom's environment; compiled once for each instruction set (core/src/environment_*.cpp). */
#ifndef KML_ENVIRONMENT_H
#define KML_ENVIRONMENT_H

#include "kml/repulsion.h"
#include "kml/three_body.h"
#include "kml/two_body.h"

namespace kml {

/** All local terms of a model, as plain arrays. */
struct LocalTerms {
    int n_elements, n_pairs;
    int n_two_body, n_three_body, n_repulsion;
    const TwoBody* two_body;
    const ThreeBody* three_body;
    const Repulsion* repulsion; // (n_repulsion, n_pairs)
    double cutoff;              // beyond it no neighbor counts, Å
    double cutoff_triples;      // beyond it no neighbor is a side of a triple, Å
    double cutoff_repulsion;    // Å
};

/**
 * The neighbors of one center, in any order, within the cutoff or not.
 *
 * The arrays are aligned to 64 bytes and have room up to the next multiple of 8, which the call may overwrite.
 */
struct Neighbors {
    int n;
    double *x, *y, *z;  // IN  r_ij = r_j - r_i, Å
    double* square;     // IN  |r_ij|², Å²
    const int* element; // IN  places in the model's list of elements; may be NULL when it has one element
};

/** What one environment gives. */
struct EnvironmentResult {
    double energy;    // of the center, without e0, eV: halves of pairs, whole triples
    double force[3];  // on the center by its pairs, eV/Å; the other atom's share comes from its own environment
    double virial[6]; // xx, yy, zz, yz, xz, xy in eV, -dE/dstrain: halves of pairs, whole triples
    int n_sides;      // neighbors that are within cutoff_triples
    const int* side;  // their places among the neighbors; in the scratch memory
    /** (n_sides, 4): dE/dr_ij of the triples, eV/Å, and a fourth number that means nothing; in the scratch memory. */
    const double* gradient;
    double closest; // smallest |r_ij|², Å²; nothing else is set when it is below coincident_square
};

/** Below this |r_ij|² atoms coincide, Å². */
constexpr double coincident_square = 1e-12;

/** Doubles of scratch memory for n neighbors; aligned to 64 bytes. */
constexpr long environment_scratch(long n) { return 64 + 24 * ((n + 15) / 8 * 8); }

typedef void EnvironmentFunction(const LocalTerms& terms, int center, const Neighbors& neighbors, double* scratch,
                                 EnvironmentResult& result);

/** Return the function compiled for the instruction set of this name ("avx512", "avx2", "baseline"). */
EnvironmentFunction* environment_function(const char* isa);

} // namespace kml

#endif
