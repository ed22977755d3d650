/** Two-body functions and repulsion in one environment. */
#ifndef KML_ENVIRONMENT_PAIRS_H
#define KML_ENVIRONMENT_PAIRS_H

#include "environment_lanes.h"

namespace kml {
namespace {

/** Set p[c][l] to coefficient c of the polynomial at rows[l]. */
template <int W>
KML_INLINE void load_polynomials(const double* const* rows, Real<W>* p) {
    typedef Real<W> V;
    if constexpr (W == 4) {
        const V a = load<4>(rows[0]), b = load<4>(rows[1]), c = load<4>(rows[2]), d = load<4>(rows[3]);
        const V ab0 = shuffle<4, 0, 4, 2, 6>(a, b), ab1 = shuffle<4, 1, 5, 3, 7>(a, b);
        const V cd0 = shuffle<4, 0, 4, 2, 6>(c, d), cd1 = shuffle<4, 1, 5, 3, 7>(c, d);
        p[0] = shuffle<4, 0, 1, 4, 5>(ab0, cd0);
        p[1] = shuffle<4, 0, 1, 4, 5>(ab1, cd1);
        p[2] = shuffle<4, 2, 3, 6, 7>(ab0, cd0);
        p[3] = shuffle<4, 2, 3, 6, 7>(ab1, cd1);
    } else {
        for (int half = 0; half < 2; ++half) {
            const V a = load<2>(rows[0] + 2 * half), b = load<2>(rows[1] + 2 * half);
            p[2 * half] = shuffle<2, 0, 2>(a, b);
            p[2 * half + 1] = shuffle<2, 1, 3>(a, b);
        }
    }
}

struct PairSums {
    R energy = {}, force[3] = {}, virial[6] = {};
};

int pair_of(int a, int b, int n) {
    const int low = a < b ? a : b, high = a < b ? b : a;
    return low * n - low * (low - 1) / 2 + high - low;
}

/** Add the two-body functions of L neighbors at a time; as two_body() does for one. */
template <bool ManyElements, class Weights>
KML_INLINE void add_two_body(const TwoBody& term, int n_elements, int center, const Neighbors& neighbors,
                             const Weights& weights, PairSums& sums) {
    // Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits of the sum.
    constexpr double round = 6755399441055744.0;
    const R start = broadcast<L>(term.grid.start), scale = broadcast<L>(term.grid.inverse_spacing);
    const R last = broadcast<L>(double(term.grid.n)), zero = {};
    for (int k = 0; k < neighbors.n; k += L) {
        const R x = load<L>(neighbors.x + k), y = load<L>(neighbors.y + k), z = load<L>(neighbors.z + k);
        const R r = square_root<L>(load<L>(neighbors.square + k));
        const R u = (r - start) * scale;
        R inside = select(u > zero, u, zero);
        inside = select(inside < last, inside, last);
        const R rounded = (inside - 0.5) + round;
        const R t = inside - (rounded - round); // from 0 to 1, both included
        const Integer<L> interval = reinterpret_cast<const Integer<L>&>(rounded) & 0x7fffffff;
        const double* rows[L];
        KML_UNROLL for (int l = 0; l < L; ++l) {
            long row = interval[l];
            if (ManyElements)
                row += long(pair_of(center, neighbors.element[k + l], n_elements)) * (term.grid.n + 1);
            rows[l] = term.polynomials + 4 * row;
        }
        R p[4];
        load_polynomials<L>(rows, p);
        const Integer<L> counts = r < term.cutoff;
        const R below = select(u < zero, u, zero);
        const R f = p[0] + p[1] * below + t * (p[1] + t * (p[2] + t * p[3]));
        const R slope = (p[1] + t * (2.0 * p[2] + 3.0 * (t * p[3]))) * scale;
        const R g = select(counts, slope / r, zero);
        sums.energy += select(counts, f, zero);
        if constexpr (Weights::wanted)
            weights.add(term, rows, counts, t, below);
        const R gx = g * x, gy = g * y, gz = g * z;
        sums.force[0] += gx;
        sums.force[1] += gy;
        sums.force[2] += gz;
        sums.virial[0] += gx * x;
        sums.virial[1] += gy * y;
        sums.virial[2] += gz * z;
        sums.virial[3] += gy * z;
        sums.virial[4] += gx * z;
        sums.virial[5] += gx * y;
    }
}

/** Add one pair's energy (half) and force, given the slope by r. */
void add_pair(const Neighbors& neighbors, int k, double r, double energy, double slope, EnvironmentResult& result) {
    const double v[3] = {neighbors.x[k], neighbors.y[k], neighbors.z[k]};
    const double g = slope / r;
    result.energy += 0.5 * energy;
    for (int a = 0; a < 3; ++a) {
        result.force[a] += g * v[a];
        result.virial[a] -= 0.5 * g * v[a] * v[a];
    }
    result.virial[3] -= 0.5 * g * v[1] * v[2];
    result.virial[4] -= 0.5 * g * v[0] * v[2];
    result.virial[5] -= 0.5 * g * v[0] * v[1];
}

void add_repulsion(const LocalTerms& terms, int center, const Neighbors& neighbors, EnvironmentResult& result) {
    const double reach = terms.cutoff_repulsion * terms.cutoff_repulsion;
    for (int k = 0; k < neighbors.n; ++k) {
        if (neighbors.square[k] >= reach)
            continue;
        const double r = __builtin_sqrt(neighbors.square[k]);
        const int other = neighbors.element ? neighbors.element[k] : 0;
        const int pair = pair_of(center, other, terms.n_elements);
        for (int m = 0; m < terms.n_repulsion; ++m) {
            double slope;
            const double energy = repulsion(terms.repulsion[m * terms.n_pairs + pair], r, slope);
            add_pair(neighbors, k, r, energy, slope, result);
        }
    }
}

} // namespace
} // namespace kml

#endif
