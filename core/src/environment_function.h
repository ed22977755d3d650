/**
 * environment() for one instruction set.
 *
 * Each of environment_{baseline,avx2,avx512}.cpp sets the target for everything in it, before it includes anything,
 * then includes this file with KML_NAME and KML_WIDTH (see gdml_instructions.h for why).
 */
#include "environment_pairs.h"
#include "environment_triples.h"

#include "kml/members.h"

namespace kml {
namespace {

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

/** Takes the place of PairMoments and TripleWeights (member_function.h) where nothing is wanted but the energy. */
struct NoWeights {
    static constexpr bool wanted = false;
};

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
