/**
 * The `soap` term of a block of centers as plain arrays (docs/theory.md); compiled once for each instruction set
 * (core/src/soap_*.cpp).
 *
 * A block is evaluated in three steps. For each center alone: radial functions from a table, harmonics by recursion,
 * and the density coefficients as sums over neighbors, with lanes over radial functions. For groups of up to 24
 * centers, with lanes over centers: power spectrum, kernel and their derivatives as products of matrices. For each
 * center alone again: from the derivative by the density to the vectors to neighbors, with lanes over neighbors.
 *
 * This header includes nothing of the standard library (see instruction_set.h for why).
 */
#ifndef KML_SOAP_BLOCK_H
#define KML_SOAP_BLOCK_H

#include "kml/environment.h"

namespace kml {

constexpr int soap_group = 24; // centers whose power spectra are handled together
constexpr int soap_most_block = 120;
constexpr int soap_most_angular = 21; // l from 0 to 20
constexpr int soap_chunk = 8;         // neighbors of one element handled together
constexpr int soap_panel = 8;         // sparse points that stand side by side

/** How the energy is computed from the power spectrum. */
enum class SoapForm {
    sum,       // over sparse points
    quadratic, // ζ = 2: pᵀ A p + v·p + c, at a cost that does not depend on the number of sparse points
    linear,    // ζ = 1: v·p + c
};

constexpr int soap_member_panels = 8; // panels whose explained rows begin together

/** What a term with uncertainty has besides; all zero without. */
struct SoapMembers {
    const double* points;  // panels (n_rows / 8, dimension, 8) of the sparse points, in whatever form the energy is
    const double* offsets; // (n_rows): b_s, or NULL
    long n_rows;           // M up to a multiple of 8
    /** (n_rows / 8, n_sums, 8): deviations of all members, up to `width`, then the explained rows, zeros at the ends.
     */
    const double* deviations;
    /**
     * For each soap_member_panels of the panels the first of n_sums explained rows that has other numbers than zeros, a
     * multiple of 8.
     */
    const long* first_explained;
    long width, n_sums;    // multiples of 8
    double prior_variance; // eV²; 0 without explained rows
};

/** What is wanted of the members in one call. */
struct SoapMemberCall {
    double* energies;    // OUT (n, width): of each center by each member, eV; when `weights` is NULL
    double* unexplained; // OUT (n,): variance that the sparse points leave of the prior, eV²; when `weights` is NULL
    /** (width,): evaluate Σ_s weights_s e_s + ½ factor v instead of the term; its energies are not set. */
    const double* weights;
    double factor;
};

/**
 * A term ready to evaluate. The radial functions of each l are rotated so that the last ones vanish and are left out;
 * the sparse points are rotated alike. l-major: entry (l, k, k') of the power spectrum stands at power_first[l] + k (k
 * + 1)/2 + k', with k = channel · rank[l] + n (or, with only pairs of equal n, at power_first[l] + number of the pair).
 */
struct SoapTables {
    int n_elements, n_channels, n_angular; // L + 1
    double cutoff, cutoff_width, decay_exponent, decay_scale, decay_rate;
    bool normalize;

    // Radial functions without cutoff, as splines of degree 7 on a uniform grid from r = 0: in interval b, f is the sum
    // over i = 0 … 7 of the B-spline i times radial[b + i].
    int n_intervals;
    double inverse_spacing;
    long n_functions;        // Σ rank[l], up to a multiple of 8
    const double* radial;    // (n_intervals + 7, n_functions): coefficients over 7!
    const int *rank, *first; // (L + 1): functions kept, and the place of the first one

    // Harmonics and density coefficients. One channel's coefficients stand in rows (l, m) of rank[l] numbers, up to a
    // multiple of 8.
    const double* recursion;       // for m = 0 … L, l = m + 1 … L: (2l - 1)/((l + m)(l - m)) and 1/((l + m)(l - m))
    const double* scale;           // ((L + 1)²): normalization of Y_lm times √t_l
    const int* row;                // ((L + 1)² + 1)
    long n_coefficients;           // of one channel
    const double* species_weights; // (n_elements, C)
    const double*
        central; // (n_elements, C, rank[0] up to a multiple of 8): what the center adds to l = 0, without `scale`
    const unsigned char* counts;  // (n_elements): whether atoms of this element enter any channel
    const int* channel;           // (n_elements): the one channel that they enter with weight one, or -1
    const unsigned char* centers; // (n_elements)

    // The same with lanes over centers: column[l] + m K_l + k, K_l = C rank[l].
    const int* column; // (L + 1)
    long n_columns;

    // Power spectrum.
    const int* power_first; // (L + 1)
    long dimension;         // up to a multiple of 8
    const int* pairs;       // (n_pairs, 2): k and k', or NULL for all of the lower triangle
    int n_pairs;
    const double* multiplicity; // (dimension): 2 where k ≠ k', 1 where k = k', 0 beyond the end

    // Kernel. Panels hold 8 rows side by side: (rows / 8, dimension, 8), the rows times √2 where k ≠ k'.
    SoapForm form;
    const double* panels;       // sparse points, or A
    long n_rows;                // of the panels, up to a multiple of 8
    long block_rows;            // so many rows at a time stay in the cache
    const double* coefficients; // (n_rows): a_s
    const double* offsets;      // (n_rows): b_s, or NULL
    double zeta;
    int power;            // ζ when it is an integer, else 0
    const double* linear; // (dimension): v
    double constant;      // c

    SoapMembers members;
};

/** One center of a block. */
struct SoapCenter {
    int element;         // IN  place in the model's list of elements
    Neighbors neighbors; // IN  in any order, within the cutoff or not
    double* gradient;    // INOUT (n, 4): dE/dr_ij is added, eV/Å; may be NULL
    double energy;       // OUT   eV
    double virial[6];    // OUT   xx, yy, zz, yz, xz, xy in eV, -Σ_j r_ij dE/dr_ij
};

/** Where kernel rows of single sparse points go; see SoapFunctions::rows. */
struct SoapRows {
    long n_atoms;
    double* energies; // INOUT (n_rows,): (p·x_s + b_s)^ζ is added
    double* forces;   // INOUT (n_rows, n_atoms, 3), or NULL
    double* virials;  // INOUT (n_rows, 6), xx, yy, zz, yz, xz, xy
};

/** The functions of one instruction set. Scratch memory is aligned to 64 bytes; every center is one of the term's. */
struct SoapFunctions {
    /** Energies and gradients of up to soap_most_block centers; those of the members too, unless `members` is NULL. */
    void (*evaluate)(const SoapTables& tables, SoapCenter* centers, int n, double* scratch,
                     const SoapMemberCall* members);
    /** Power spectra (n, dimension) of up to soap_most_block centers, normalized if the term says so, without √2. */
    void (*spectra)(const SoapTables& tables, SoapCenter* centers, int n, double* scratch, double* spectra);
    /**
     * Add one center's share of each sparse point's energy, forces and virial for unit coefficients.
     *
     * @param atom   IN  the center's place among the atoms
     * @param atoms  IN  (n,) the neighbors' places
     */
    void (*rows)(const SoapTables& tables, SoapCenter& center, int atom, const int* atoms, const SoapRows& rows,
                 double* scratch);
    /** g (dimension, G) = xᵀ a for all rows x of some panels and a (8 panels, G); G is 8, 16 or 24. */
    void (*contract)(int G, long dimension, long panels, const double* x, const double* a, double* g);
    /** Doubles of scratch memory for centers with so many neighbors in all. */
    long (*scratch)(const SoapTables& tables, long n_centers, long n_neighbors);
};

/** Return the functions compiled for the instruction set of this name ("avx512", "avx2", "baseline"). */
const SoapFunctions* soap_functions(const char* isa);

} // namespace kml

#endif
