/**
 * The standard deviation of a `gdml` term (docs/theory.md): prior variance less what the training data explain.
 *
 * Every explained energy is the model's with other coefficients, so linear in the same kernel values. These are summed
 * up over the permutations once; the energies are then one product of a matrix, (R, N' D + N'), with a vector, and the
 * coefficients whose energy has the variance's gradient the product of its transpose with the energies.
 */
#ifndef KML_GDML_UNCERTAINTY_H
#define KML_GDML_UNCERTAINTY_H

#include "kml/aligned.h"
#include "kml/gdml.h"

#include <vector>

namespace kml {

/** One term, prepared; nothing in it changes after construction. */
class GDMLUncertainty {
public:
    /** @param term  the same term, prepared; copied in part */
    GDMLUncertainty(const GDMLTerm& file, const GDML& term);

    /** The memory of one caller. */
    struct Memory {
        AlignedVector x, slope, query, features, energies, coefficients, gradient, jacobian;
    };

    /**
     * Return the variance of the energy, eV², not below zero.
     *
     * Half of its gradient is added where it is wanted and the variance above zero. Throws std::bad_alloc.
     *
     * @param positions  IN    (n_atoms, 3), Å, checked before
     * @param forces     INOUT (n_atoms, 3), -½ d(variance)/dr, eV²/Å; may be NULL
     * @param virial     INOUT (3, 3), -½ d(variance)/dstrain, eV²; may be NULL
     */
    double variance(const double* positions, Memory& memory, double* forces, double* virial) const;

    /** Add the variances of the forces (n_atoms, 3), eV²/Å²; as many evaluations as there are explained rows. */
    void force_variance(const double* positions, Memory& memory, double* variances) const;

private:
    struct Radial {
        double f, first, second; // f, -2 f' and 4 f'' by a²
    };
    Radial radial(double a2) const;
    const int* permuted(long p) const { return index.data() + p * n_entries; }
    void set_query(long p, const Memory& memory, double* query) const;
    void prepare(const double* positions, Memory& memory) const;
    void set_features(Memory& memory) const;
    double prior(const Memory& memory, double* gradient) const;
    void add_gradient(const double* coefficients, Memory& memory) const;
    void prior_force_variance(Memory& memory, const double* positions, double* variances) const;

    int n_atoms;
    long n_points, n_entries, n_permutations, n_rows, row; // N', D, P, R, and N' D + N' up to a multiple of 8
    double power, scale, prior_variance;
    RadialKernel kernel;
    std::vector<double> descriptor_weights, points; // (D,), (N', D)
    std::vector<int> index;                         // (P, D)
    AlignedVector explained;                        // (R, row): coefficients u, then β
};

} // namespace kml

#endif
