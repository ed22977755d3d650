/** Three-body functions in one environment. */
#ifndef KML_ENVIRONMENT_TRIPLES_H
#define KML_ENVIRONMENT_TRIPLES_H

#include "environment_lanes.h"

namespace kml {
namespace {

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

} // namespace
} // namespace kml

#endif
