/**
 * environment() for one instruction set.
 *
 * Each of environment_{baseline,avx2,avx512}.cpp sets the target for everything in it, before it includes anything,
 * then includes this file with KML_NAME and KML_WIDTH (see gdml_instructions.h for why).
 */
#include "kml/members.h"

namespace kml {
namespace {

constexpr int L = KML_WIDTH;
typedef Real<L> R;

KML_INLINE R select(Integer<L> condition, R yes, R no) { return condition ? yes : no; }

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

/** Takes the place of PairMoments and TripleWeights (member_function.h) where nothing is wanted but the energy. */
struct NoWeights {
    static constexpr bool wanted = false;
};

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

/** Sides of triples, sorted by their elements; arrays in the scratch memory. */
struct Sides {
    int n;
    double* position; // (n, 4): r_ij and a zero
    double* gradient; // (n, 4)
    Side* prepared;   // (n,)
    double* distance;
    int *place, *element, *active;
};

Sides lay_out(double* scratch, int n) {
    const long room = (n + 15) / 8 * 8;
    static_assert(sizeof(Side) == 80, "environment_scratch() counts on it");
    Sides sides;
    sides.n = 0;
    sides.position = scratch;
    sides.gradient = sides.position + 4 * room;
    sides.prepared = reinterpret_cast<Side*>(sides.gradient + 4 * room);
    sides.distance = reinterpret_cast<double*>(sides.prepared) + 10 * room;
    sides.place = reinterpret_cast<int*>(sides.distance + room);
    sides.element = sides.place + room;
    sides.active = sides.element + room;
    return sides;
}

void find_sides(const LocalTerms& terms, const Neighbors& neighbors, Sides& sides) {
    const double reach = terms.cutoff_triples * terms.cutoff_triples;
    int n = 0;
    int* place = terms.n_elements == 1 ? sides.place : sides.active;
    for (int k = 0; k < neighbors.n; ++k) {
        place[n] = k;
        n += neighbors.square[k] < reach;
    }
    if (terms.n_elements > 1) {
        int sorted = 0;
        for (int element = 0; element < terms.n_elements; ++element)
            for (int s = 0; s < n; ++s)
                if (neighbors.element[place[s]] == element)
                    sides.place[sorted++] = place[s];
    }
    sides.n = n;
    for (int s = 0; s < n; ++s) {
        const int k = sides.place[s];
        double* p = sides.position + 4 * s;
        double* g = sides.gradient + 4 * s;
        p[0] = neighbors.x[k], p[1] = neighbors.y[k], p[2] = neighbors.z[k], p[3] = 0;
        g[0] = g[1] = g[2] = g[3] = 0;
        sides.distance[s] = __builtin_sqrt(neighbors.square[k]);
        sides.element[s] = terms.n_elements == 1 ? 0 : neighbors.element[k];
    }
}

/** Pairs of sides that wait for their distances, which come L at a time. */
struct Triples {
    static constexpr int room = 64;
    alignas(64) double x[room], y[room], z[room], r[room];
    int j[room], k[room];
    int n = 0;
};

/** Evaluate the waiting triples; return their energy. */
template <class Weights>
double evaluate_triples(const ThreeBody& term, int center, Sides& sides, const Weights& weights, Triples& triples) {
    for (int m = triples.n; m % L; ++m)
        triples.x[m] = triples.y[m] = triples.z[m] = 0;
    for (int m = 0; m < triples.n; m += L) {
        const R x = load<L>(triples.x + m), y = load<L>(triples.y + m), z = load<L>(triples.z + m);
        store<L>(triples.r + m, square_root<L>(x * x + y * y + z * z));
    }
    double energy = 0;
    for (int m = 0; m < triples.n; ++m) {
        const double r = triples.r[m];
        if (!(r > term.taper_start && r < term.cutoff_far))
            continue;
        const int j = triples.j[m], k = triples.k[m];
        const Side &first = sides.prepared[j], &second = sides.prepared[k];
        const double* function = three_body_function(term, center, sides.element[j], sides.element[k]);
        const FarSide<L> far = prepare_far<L>(term, r);
        double slopes[3];
        energy += three_body<L>(term, function, first, second, far, slopes);
        if constexpr (Weights::wanted)
            weights.add(term, sides.element[j], sides.element[k], first, second, far);
        const double by_j = slopes[0] * first.inverse, by_k = slopes[1] * second.inverse, by_far = slopes[2] / r;
        double *gj = sides.gradient + 4 * j, *gk = sides.gradient + 4 * k;
        const double *pj = sides.position + 4 * j, *pk = sides.position + 4 * k;
        KML_UNROLL for (int a = 0; a < 4; a += L) {
            const R rj = load<L>(pj + a), rk = load<L>(pk + a), pull = by_far * (rk - rj);
            store<L>(gj + a, load<L>(gj + a) + (by_j * rj - pull));
            store<L>(gk + a, load<L>(gk + a) + (by_k * rk + pull));
        }
    }
    triples.n = 0;
    return energy;
}

/** Add the gradients of all triples within reach of a term; return their energy. */
template <class Weights>
double add_three_body(const ThreeBody& term, int center, const Weights& weights, Sides& sides) {
    int n = 0;
    for (int s = 0; s < sides.n; ++s)
        if (sides.distance[s] < term.cutoff && prepare_side(term, sides.distance[s], sides.prepared[s]))
            sides.active[n++] = s;
    double energy = 0;
    Triples waiting;
    for (int a = 0; a < n; ++a) {
        const int j = sides.active[a];
        const double* pj = sides.position + 4 * j;
        for (int b = a + 1; b < n; ++b) {
            const int k = sides.active[b], m = waiting.n;
            const double* pk = sides.position + 4 * k;
            waiting.x[m] = pk[0] - pj[0];
            waiting.y[m] = pk[1] - pj[1];
            waiting.z[m] = pk[2] - pj[2];
            waiting.j[m] = j, waiting.k[m] = k;
            if (++waiting.n == Triples::room)
                energy += evaluate_triples(term, center, sides, weights, waiting);
        }
    }
    return energy + evaluate_triples(term, center, sides, weights, waiting);
}

double smallest(const Neighbors& neighbors) {
    R least = broadcast<L>(1e300);
    for (int k = 0; k < neighbors.n; k += L) {
        const R square = load<L>(neighbors.square + k);
        least = select(square < least, square, least);
    }
    double closest = least[0];
    for (int l = 1; l < L; ++l)
        closest = least[l] < closest ? least[l] : closest;
    return closest;
}

void pad(const LocalTerms& terms, Neighbors& neighbors) {
    // Far outside the cutoff, where nothing counts.
    for (int k = neighbors.n; k % L; ++k) {
        neighbors.x[k] = neighbors.y[k] = neighbors.z[k] = 0;
        neighbors.square[k] = 4 * terms.cutoff * terms.cutoff + 1;
        if (neighbors.element)
            const_cast<int*>(neighbors.element)[k] = 0;
    }
}

/** `watch` has for each term what sums up the weights of its coefficients; see member_function.h. */
template <class Watch>
KML_INLINE void watched_environment(const LocalTerms& terms, int center, const Neighbors& given, double* scratch,
                                    const Watch& watch, EnvironmentResult& result) {
    Neighbors neighbors = given;
    pad(terms, neighbors);
    result.closest = smallest(neighbors);
    if (result.closest < coincident_square)
        return;
    PairSums pairs;
    for (int m = 0; m < terms.n_two_body; ++m) {
        if (terms.n_elements == 1)
            add_two_body<false>(terms.two_body[m], 1, center, neighbors, watch.pairs(m), pairs);
        else
            add_two_body<true>(terms.two_body[m], terms.n_elements, center, neighbors, watch.pairs(m), pairs);
    }
    result.energy = 0.5 * lane_sum<L>(pairs.energy);
    for (int a = 0; a < 3; ++a)
        result.force[a] = lane_sum<L>(pairs.force[a]);
    for (int c = 0; c < 6; ++c)
        result.virial[c] = -0.5 * lane_sum<L>(pairs.virial[c]);
    if (terms.n_repulsion && result.closest < terms.cutoff_repulsion * terms.cutoff_repulsion)
        add_repulsion(terms, center, neighbors, result);
    Sides sides = lay_out(scratch, neighbors.n);
    if (terms.n_three_body)
        find_sides(terms, neighbors, sides);
    for (int m = 0; m < terms.n_three_body; ++m)
        result.energy += add_three_body(terms.three_body[m], center, watch.triples(m), sides);
    for (int s = 0; s < sides.n; ++s) {
        const double *p = sides.position + 4 * s, *g = sides.gradient + 4 * s;
        result.virial[0] -= p[0] * g[0];
        result.virial[1] -= p[1] * g[1];
        result.virial[2] -= p[2] * g[2];
        // Symmetric in the sum over the sides of a triple; each half alone is not.
        result.virial[3] -= 0.5 * (p[1] * g[2] + p[2] * g[1]);
        result.virial[4] -= 0.5 * (p[0] * g[2] + p[2] * g[0]);
        result.virial[5] -= 0.5 * (p[0] * g[1] + p[1] * g[0]);
    }
    result.n_sides = sides.n;
    result.side = sides.place;
    result.gradient = sides.gradient;
}

struct Unwatched {
    KML_INLINE NoWeights pairs(int) const { return {}; }
    KML_INLINE NoWeights triples(int) const { return {}; }
};

void environment(const LocalTerms& terms, int center, const Neighbors& neighbors, double* scratch,
                 EnvironmentResult& result) {
    watched_environment(terms, center, neighbors, scratch, Unwatched(), result);
}

} // namespace

#define KML_JOIN(a, b) a##b
#define KML_FUNCTION(name) KML_JOIN(environment_, name)

extern EnvironmentFunction* const KML_FUNCTION(KML_NAME);
EnvironmentFunction* const KML_FUNCTION(KML_NAME) = environment;

} // namespace kml
