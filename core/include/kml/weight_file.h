/** The C++ reader of weight files (docs/weight_file_format.md). */
#ifndef KML_WEIGHT_FILE_H
#define KML_WEIGHT_FILE_H

#include "kml/radial.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace kml {

/** A `gdml` term as the file holds it; D = n_atoms (n_atoms - 1) / 2. */
struct GDMLTerm {
    double power;         // p
    RadialKernel kernel;  //
    double length_scale;  // ℓ, Å^-p
    double energy_offset; // c, eV
    size_t n_train = 0, n_entries = 0, n_permutations = 0;
    std::vector<double> descriptor_weights;      // (D,)
    std::vector<double> training_descriptors;    // (N, D), Å^-p
    std::vector<double> descriptor_coefficients; // (N, D), eV Å^-p
    std::vector<double> energy_coefficients;     // (N,), eV; empty without
    std::vector<int32_t> permutations;           // (P, n_atoms)
};

/** A `spline2` term as the file holds it. */
struct Spline2Term {
    double start, cutoff;             // Å
    size_t n_intervals;               // K
    std::vector<double> coefficients; // (pairs, K), eV
};

/** A `spline3` term as the file holds it. */
struct Spline3Term {
    double start, cutoff, start_far;  // Å
    bool compact;                     // whether the far axis ends at the cutoff
    double taper_start, taper_width;  // Å
    size_t n_intervals, n_far;        // K, M
    std::vector<double> coefficients; // (elements, pairs, K, K, M), eV
};

/** A `repulsion` term as the file holds it. */
struct RepulsionTerm {
    std::vector<double> switch_radii; // (pairs, 2), Å
};

/**
 * A `soap` term as the file holds it: n elements, C channels, A radial nodes, N radial functions, l = 0 … L, M sparse
 * points, D entries of the power spectrum.
 */
struct SoapTerm {
    double cutoff, cutoff_width;                    // Å
    double decay_exponent, decay_scale, decay_rate; // scale in Å; exponent 0: no decay
    double atom_sigma;                              // σ, Å
    double zeta;                                    //
    bool normalize, diagonal_radial;                //
    long n_channels, n_radial, n_nodes;             // C, N, A
    long n_angular, n_sparse, dimension;            // L + 1, M, D
    std::vector<int> centers;                       // (n,), 1 where an element's atoms have this energy
    std::vector<double> species_weights;            // (n, C)
    std::vector<double> central_weights;            // (n, C)
    std::vector<double> angular_weights;            // (L + 1,), t_l
    std::vector<double> radial_nodes;               // (A,), Å
    std::vector<double> radial_transforms;          // (L + 1, A, N)
    std::vector<double> central_radial;             // (N,)
    std::vector<double> sparse_points;              // (M, D)
    std::vector<double> coefficients;               // (M,), eV
    std::vector<double> sparse_offsets;             // (M,); empty without
};

/** Either `species` (with gdml terms) or `elements` (with local terms) is empty. */
struct WeightFile {
    std::vector<int> species, elements;
    std::map<int, double> atom_energies; // eV
    std::vector<GDMLTerm> terms;
    std::vector<Spline2Term> spline2;
    std::vector<Spline3Term> spline3;
    std::vector<RepulsionTerm> repulsion;
    std::vector<SoapTerm> soap;
};

/** The bytes are not a valid weight file; what() names the field. */
struct WeightFileError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/**
 * Return the contents of a weight file.
 *
 * @param data  IN `size` bytes, any content: nothing outside them is read
 * @throws WeightFileError, also for a model that is only the difference to a baseline, unless the file says that
 * somebody adds this; std::bad_alloc
 */
WeightFile read_weight_file(const void* data, size_t size);

} // namespace kml

#endif
