/** Uniform cubic B-splines and the smooth step; the formulas are in docs/theory.md ("Local terms"). */
#ifndef KML_SPLINE_H
#define KML_SPLINE_H

namespace kml {

/** `n` intervals from `start` on; `inverse_spacing` is 1/h. */
struct Grid {
    double start, inverse_spacing;
    int n;
};

/**
 * Return the interval of a distance, and its fraction t in it.
 *
 * Distances outside the grid count to the first and to the last interval (t < 0, t > 1).
 */
static inline int grid_interval(const Grid& grid, double r, double& t) {
    const double u = (r - grid.start) * grid.inverse_spacing;
    int b = u > 0 ? int(u) : 0;
    b = b < grid.n ? b : grid.n - 1;
    t = u - b;
    return b;
}

/** Set w to the four B-splines at t, and d to their slopes (by r, with 1/h). */
static inline void bspline_weights(double t, double inverse_spacing, double* w, double* d) {
    const double a = 1 - t, sixth = 1.0 / 6;
    w[0] = a * a * a * sixth;
    w[1] = (3 * t - 6) * t * t * sixth + 4 * sixth;
    w[2] = (3 * a - 6) * a * a * sixth + 4 * sixth;
    w[3] = t * t * t * sixth;
    d[0] = -0.5 * a * a * inverse_spacing;
    d[1] = (1.5 * t - 2) * t * inverse_spacing;
    d[2] = (2 - 1.5 * a) * a * inverse_spacing;
    d[3] = 0.5 * t * t * inverse_spacing;
}

/** Return s³(10 - 15 s + 6 s²) with s = (r - start)/width: 0 below, 1 above; its slope by r too. */
static inline double smooth_step(double r, double start, double width, double& slope) {
    const double s = (r - start) / width;
    slope = 0;
    if (s <= 0)
        return 0;
    if (s >= 1)
        return 1;
    slope = 30 * s * s * (1 - s) * (1 - s) / width;
    return s * s * s * (10 - 15 * s + 6 * s * s);
}

} // namespace kml

#endif
