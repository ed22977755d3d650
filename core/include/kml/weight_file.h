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
    /** What the uncertainty is made of: R rows for the first N' training points; R = 0 without. */
    size_t n_explained = 0, n_explained_points = 0;        // R, N'
    double prior_variance = 0;                             // eV²
    std::vector<double> explained_descriptor_coefficients; // (R, N', D), eV Å^-p
    std::vector<double> explained_energy_coefficients;     // (R, N'), eV; empty without
};

/** A `spline2` term as the file holds it. */
struct Spline2Term {
    double start, cutoff;             // Å
    size_t n_intervals;               // K
    std::vector<double> coefficients; // (pairs, K), eV
    std::vector<double> deviations;   // (S, pairs, K), eV; empty without uncertainty
};

/** A `spline3` term as the file holds it. */
struct Spline3Term {
    double start, cutoff, start_far;  // Å
    bool compact;                     // whether the far axis ends at the cutoff
    double taper_start, taper_width;  // Å
    size_t n_intervals, n_far;        // K, M
    std::vector<double> coefficients; // (elements, pairs, K, K, M), eV
    std::vector<double> deviations;   // (S, elements, pairs, K, K, M), eV; empty without uncertainty
};

/** A `repulsion` term as the file holds it. */
struct RepulsionTerm {
    std::vector<double> switch_radii; // (pairs, 2), Å
};

/** A `walls` term as the file holds it. */
struct WallsTerm {
    double stiffness;           // κ, eV/Å²
    double onset;               // w, Å
    std::vector<double> bounds; // (D, 2), Å; an upper bound of 0 is none
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
    std::vector<double> deviations;                 // (S, M), eV; empty without uncertainty
    std::vector<double> explained;                  // (R, M), eV; empty without
    size_t n_explained = 0;                         // R
    double prior_variance = 0;                      // eV²; 0 without `explained`
};

/**
 * How raw variances become standard deviations: σ_E = energy_scale √(var E + n_atoms energy_floor²), σ_i = atom_scale
 * √(var E_i + atom_floor²), σ_F = force_scale √(var F + force_floor²).
 */
struct Uncertainty {
    bool given = false;                        //
    size_t members = 0;                        // S; 0 for a model of one molecule
    double energy_scale = 1, energy_floor = 0; // floor in eV
    double atom_scale = 1, atom_floor = 0;     // eV
    double force_scale = 1, force_floor = 0;   // eV/Å
    std::vector<double> atom_energies;         // (S, elements), eV; empty for a model of one molecule
};

/** Either `species` (with gdml terms, repulsion and walls) or `elements` (with local terms) is empty. */
struct WeightFile {
    std::vector<int> species, elements;
    std::map<int, double> atom_energies; // eV
    std::vector<GDMLTerm> terms;
    std::vector<Spline2Term> spline2;
    std::vector<Spline3Term> spline3;
    std::vector<RepulsionTerm> repulsion;
    std::vector<WallsTerm> walls;
    std::vector<SoapTerm> soap;
    Uncertainty uncertainty;

    /** The elements of a molecule, ascending, no number twice: those between which its repulsion is. */
    std::vector<int> distinct_species() const;
};

/** The bytes are not a valid weight file; what() names the field. */
struct WeightFileError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/** Who says that the baseline of a model of a difference is added. */
enum class BaselineAdded {
    by_file, // the document, or nobody; a whole model is read, too
    by_caller
};

/**
 * Return the contents of a weight file.
 *
 * @param data  IN `size` bytes, any content: nothing outside them is read
 * @throws WeightFileError, also for a model that is only the difference to a baseline unless somebody says that this is
 * added, and for a whole model if the caller says so; std::bad_alloc
 */
WeightFile read_weight_file(const void* data, size_t size, BaselineAdded added = BaselineAdded::by_file);

} // namespace kml

#endif
