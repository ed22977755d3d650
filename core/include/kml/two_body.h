/** The `spline2` term of one pair of atoms (docs/theory.md). */
#ifndef KML_TWO_BODY_H
#define KML_TWO_BODY_H

#include "kml/spline.h"

namespace kml {

/**
 * Two-body functions, one for each unordered pair of elements.
 *
 * In each interval the spline stands as a cubic in the fraction t, f = p0 + p1 t + p2 t² + p3 t³. An interval of zeros
 * follows the last one, for distances that rounding puts there.
 */
struct TwoBody {
    Grid grid;
    double cutoff;             // Å
    const double* polynomials; // (pairs, grid.n + 1, 4), eV, aligned to 32 bytes
};

/**
 * Return f(r) in eV and its slope in eV/Å; zero from the cutoff on, along the tangent below the grid.
 *
 * @param pair  number of the pair of elements (pair_number)
 */
static inline double two_body(const TwoBody& term, int pair, double r, double& slope) {
    slope = 0;
    if (r >= term.cutoff)
        return 0;
    double t;
    const int b = grid_interval(term.grid, r, t);
    const double* p = term.polynomials + 4 * ((long)pair * (term.grid.n + 1) + b);
    const double below = t < 0 ? t : 0;
    t = t < 0 ? 0 : t;
    slope = (p[1] + t * (2 * p[2] + 3 * t * p[3])) * term.grid.inverse_spacing;
    return p[0] + p[1] * below + t * (p[1] + t * (p[2] + t * p[3]));
}

} // namespace kml

#endif
