/** Radial functions of a `soap` term at the nodes of its table, and the rotation that orders them (docs/theory.md). */
#ifndef KML_SOAP_RADIAL_H
#define KML_SOAP_RADIAL_H

#include "kml/weight_file.h"

#include <vector>

namespace kml {

/** Radial functions without cutoff and their first three derivatives at r = k spacing, k = 0 … n_intervals. */
struct RadialNodes {
    double spacing;
    size_t n_intervals, n_angular, n_radial;
    /** (n_intervals + 1, L + 1, 4, N): f, h f', h² f''/2, h³ f'''/6 */
    std::vector<double> values;
    const double* at(size_t node, size_t l) const { return values.data() + (node * n_angular + l) * 4 * n_radial; }
};

/** Return the table's nodes, computed in extended precision. Throws std::bad_alloc. */
RadialNodes radial_nodes(const SoapTerm& term);

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
