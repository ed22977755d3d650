/** Radial functions of a `soap` term at the nodes of its table, and the rotation that orders them (docs/theory.md). */
#ifndef KML_SOAP_RADIAL_H
#define KML_SOAP_RADIAL_H

#include "kml/weight_file.h"

#include <vector>

namespace kml {

/** Radial functions without cutoff at r = k spacing, k = 0 … n_intervals + margin. */
struct RadialNodes {
    static constexpr size_t margin = 80; // nodes beyond the cutoff, where the ends of a spline are forgotten
    double spacing;
    size_t n_intervals, n_angular, n_radial;
    std::vector<double> values; // (n_intervals + margin + 1, L + 1, N)
    const double* at(size_t node, size_t l) const { return values.data() + (node * n_angular + l) * n_radial; }
};

/** Return the table's nodes, computed in extended precision. Throws std::bad_alloc. */
RadialNodes radial_nodes(const SoapTerm& term);

/** The spline of degree 7 through values at n nodes one apart, as coefficients of B-splines. */
class SplineFilter {
public:
    explicit SplineFilter(size_t n);
    /** Replace values by coefficients over 7!: value k is Σ_m 7! B(m) coefficient k - m; beyond the ends they are zero.
     */
    void solve(std::vector<long double>& values) const;

private:
    std::vector<long double> diagonal, below; // of L D Lᵀ, (n,) and (n, 3)
};

/** Return exp(-x) i_l(x) for l = 0 … most, modified spherical Bessel functions of the first kind, x >= 0. */
std::vector<long double> scaled_bessel(long double x, size_t most);

/**
 * Return an orthogonal V (N, N) such that the columns of samples V are orthogonal and fall in length.
 *
 * One-sided Jacobi rotations (Hestenes, J. SIAM 6, 51 (1958)): small columns come out accurate to their own size.
 *
 * @param samples  (n_rows, N), overwritten by samples V
 */
std::vector<double> order_by_size(std::vector<double>& samples, size_t n);

/** Value of the cosine cutoff times the decay at r > 0; may be infinite near zero. */
double radial_weight(const SoapTerm& term, double r);

} // namespace kml

#endif
