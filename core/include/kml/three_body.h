/** The `spline3` term of one centered triple (docs/theory.md). */
#ifndef KML_THREE_BODY_H
#define KML_THREE_BODY_H

#include "kml/simd.h"
#include "kml/spline.h"

namespace kml {

/** Three-body functions, one for each center and unordered pair of neighbors. */
struct ThreeBody {
    Grid near, far;                  // axes of r_ij and r_ik, and of r_jk
    double cutoff, cutoff_far;       // ends of the axes, Å
    double taper_start, taper_width; // Å
    int n_elements;
    long row, plane, block; // strides in doubles: of r_ik, of r_ij, of one function
    /**
     * (n_elements, pairs, near.n + 3, near.n + 3, row), eV. Behind the last coefficient of each axis stand zeros, as
     * the splines end there; row is at least far.n + 3.
     */
    const double* coefficients;
};

/** A neighbor of the center, as its triples need it: T w and (T w)' of the four B-splines at its distance. */
struct Side {
    double weights[4], slopes[4];
    double inverse; // 1/r
    int interval;
};

/** Prepare a neighbor at distance r < cutoff; return false when it is so close that it has no triples. */
static inline bool prepare_side(const ThreeBody& term, double r, Side& side) {
    double dtaper, t;
    const double taper = smooth_step(r, term.taper_start, term.taper_width, dtaper);
    if (taper == 0)
        return false;
    side.interval = grid_interval(term.near, r, t);
    side.inverse = 1 / r;
    bspline_weights(t, term.near.inverse_spacing, side.weights, side.slopes);
    if (taper < 1)
        for (int k = 0; k < 4; ++k) {
            side.slopes[k] = taper * side.slopes[k] + dtaper * side.weights[k];
            side.weights[k] *= taper;
        }
    return true;
}

/** Return the function of a center and of two neighbors with first <= second, all places in the list of elements. */
static inline const double* three_body_function(const ThreeBody& term, int center, int first, int second) {
    const int n = term.n_elements;
    const long pair = long(first) * n - long(first) * (first - 1) / 2 + second - first;
    return term.coefficients + (long(center) * (long(n) * (n + 1) / 2) + pair) * term.block;
}

/** What a power of t enters the B-splines p L … p L + L - 1 with, in the lanes. */
template <int L>
KML_INLINE Real<L> spline_powers(int power, int p) {
    constexpr double c[4][4] = {{1.0 / 6, 2.0 / 3, 1.0 / 6, 0}, // by power, then by spline
                                {-0.5, 0, 0.5, 0},
                                {0.5, -1, 0.5, 0},
                                {-1.0 / 6, 0.5, -0.5, 1.0 / 6}};
    Real<L> lanes;
    KML_UNROLL for (int l = 0; l < L; ++l) lanes[l] = c[power][p * L + l];
    return lanes;
}

/** Set w to the four B-splines at t, in the lanes, and d to their slopes: bspline_weights() without a way through
 * memory. */
template <int L>
KML_INLINE void far_weights(double t, double inverse_spacing, Real<L>* w, Real<L>* d) {
    KML_UNROLL for (int p = 0; p < 4 / L; ++p) {
        const Real<L> c0 = spline_powers<L>(0, p), c1 = spline_powers<L>(1, p), c2 = spline_powers<L>(2, p),
                      c3 = spline_powers<L>(3, p);
        w[p] = ((c3 * t + c2) * t + c1) * t + c0;
        d[p] = ((3.0 * c3 * t + 2.0 * c2) * t + c1) * inverse_spacing;
    }
}

/** The neighbors' distance as a triple needs it: T w and (T w)' of the four B-splines, in lanes. */
template <int L>
struct FarSide {
    Real<L> weights[4 / L], slopes[4 / L];
    int interval;
};

/** Prepare a distance above taper_start and below cutoff_far, Å. */
template <int L>
KML_INLINE FarSide<L> prepare_far(const ThreeBody& term, double distance) {
    FarSide<L> far;
    double t;
    far.interval = grid_interval(term.far, distance, t);
    far_weights<L>(t, term.far.inverse_spacing, far.weights, far.slopes);
    if (distance < term.taper_start + term.taper_width) {
        double dtaper;
        const double taper = smooth_step(distance, term.taper_start, term.taper_width, dtaper);
        KML_UNROLL for (int p = 0; p < 4 / L; ++p) {
            far.slopes[p] = taper * far.slopes[p] + dtaper * far.weights[p];
            far.weights[p] *= taper;
        }
    }
    return far;
}

/**
 * Return the energy of a triple and its slopes by r_ij, r_ik and r_jk, eV and eV/Å.
 *
 * Σ_abc w_a w_b w_c c_abc as it stands, with the far axis in the lanes: 64 coefficients, some 60 vector operations.
 *
 * @param function  of the elements, from three_body_function()
 * @param j, k      prepared neighbors, the one of the first element first
 * @param far       their distance, prepared
 * @param slopes    OUT dE/dr_ij, dE/dr_ik, dE/dr_jk, and a fourth that means nothing
 */
template <int L>
KML_INLINE double three_body(const ThreeBody& term, const double* function, const Side& j, const Side& k,
                             const FarSide<L>& far, double* slopes) {
    static_assert(L == 2 || L == 4, "the far axis has four coefficients");
    constexpr int parts = 4 / L;
    const double* start = function + j.interval * term.plane + k.interval * term.row + far.interval;
    Real<L> value[parts] = {}, by_j[parts] = {}, by_k[parts] = {};
    KML_UNROLL for (int b = 0; b < 4; ++b) {
        Real<L> v[parts] = {}, s[parts] = {};
        KML_UNROLL for (int a = 0; a < 4; ++a) {
            const double* row = start + a * term.plane + b * term.row; // unaligned: the far interval is any number
            KML_UNROLL for (int p = 0; p < parts; ++p) {
                const Real<L> c = load_unaligned<L>(row + p * L);
                v[p] += j.weights[a] * c;
                s[p] += j.slopes[a] * c;
            }
        }
        KML_UNROLL for (int p = 0; p < parts; ++p) {
            value[p] += k.weights[b] * v[p];
            by_k[p] += k.slopes[b] * v[p];
            by_j[p] += k.weights[b] * s[p];
        }
    }
    Real<L> sums[4] = {};
    KML_UNROLL for (int p = 0; p < parts; ++p) {
        sums[0] += by_j[p] * far.weights[p];
        sums[1] += by_k[p] * far.weights[p];
        sums[2] += value[p] * far.slopes[p];
        sums[3] += value[p] * far.weights[p];
    }
    alignas(32) double result[4];
    if constexpr (L == 4) {
        store<4>(result, lane_sums<4>(sums));
    } else {
        store<2>(result, lane_sums<2>(sums));
        store<2>(result + 2, lane_sums<2>(sums + 2));
    }
    slopes[0] = result[0], slopes[1] = result[1], slopes[2] = result[2];
    return result[3];
}

} // namespace kml

#endif
