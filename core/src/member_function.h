/**
 * The energies of all members in one environment; included by environment_*.cpp after environment_function.h, on whose
 * functions it builds, with KML_MEMBER_WIDTH, the lanes over members.
 */
#include "kml/members.h"

namespace kml {
namespace {

constexpr int V = KML_MEMBER_WIDTH;

/** sums[b] += Σ weights × table for B vectors of members; U terms of each sum are in flight. */
template <int B, int U>
KML_INLINE void multiply_segments(const MemberSegment* segments, int n_segments, int width, int at, double* energies) {
    Real<V> sums[U][B];
    KML_UNROLL for (int u = 0; u < U; ++u) KML_UNROLL for (int b = 0; b < B; ++b) sums[u][b] = Real<V>{};
    for (int s = 0; s < n_segments; ++s) {
        const double *w = segments[s].weights, *c = segments[s].table + at;
        int k = 0;
        for (; k + U <= segments[s].n; k += U)
            KML_UNROLL for (int u = 0; u < U; ++u, c += width) {
                const Real<V> x = broadcast<V>(w[k + u]);
                KML_UNROLL for (int b = 0; b < B; ++b) sums[u][b] += x * load<V>(c + b * V);
            }
        for (; k < segments[s].n; ++k, c += width) {
            const Real<V> x = broadcast<V>(w[k]);
            KML_UNROLL for (int b = 0; b < B; ++b) sums[0][b] += x * load<V>(c + b * V);
        }
    }
    KML_UNROLL for (int b = 0; b < B; ++b) {
        Real<V> sum = sums[0][b];
        KML_UNROLL for (int u = 1; u < U; ++u) sum += sums[u][b];
        store<V>(energies + at + b * V, sum);
    }
}

void multiply_segments(const MemberSegment* segments, int n_segments, int width, double* energies) {
    int at = 0;
    for (; at + 8 * V <= width; at += 8 * V)
        multiply_segments<8, 1>(segments, n_segments, width, at, energies);
    if (at + 4 * V <= width) {
        multiply_segments<4, 2>(segments, n_segments, width, at, energies);
        at += 4 * V;
    }
    if (at + 2 * V <= width) {
        multiply_segments<2, 2>(segments, n_segments, width, at, energies);
        at += 2 * V;
    }
    if (at < width)
        multiply_segments<1, 2>(segments, n_segments, width, at, energies);
}

/** weights[0 … 3] += factor times the four splines in the lanes of w. */
KML_INLINE void scatter(double* weights, double factor, const R* w) {
    typedef Lanes<L>::Unaligned Unaligned;
    KML_UNROLL for (int p = 0; p < 4 / L; ++p) {
        Unaligned* place = reinterpret_cast<Unaligned*>(weights + p * L);
        *place = *place + factor * w[p];
    }
}

/** Weights of the coefficients of pairs; appends their segments. */
MemberSegment* weigh_pairs(const LocalTerms& terms, const MemberPairs& pairs, int width, int center,
                           const Neighbors& neighbors, double* weights, MemberSegment* segment) {
    const long row = pairs.grid.n + 3;
    weights += pairs.first;
    for (int k = 0; k < neighbors.n; k += L) {
        alignas(64) double r[L];
        store<L>(r, square_root<L>(load<L>(neighbors.square + k)));
        for (int l = 0; l < L && k + l < neighbors.n; ++l) {
            if (r[l] >= pairs.cutoff)
                continue;
            double t;
            const int interval = grid_interval(pairs.grid, r[l], t);
            R w[4 / L], d[4 / L];
            far_weights<L>(t < 0 ? 0 : t, pairs.grid.inverse_spacing, w, d);
            if (t < 0) // along the tangent
                KML_UNROLL for (int p = 0; p < 4 / L; ++p) w[p] += (t / pairs.grid.inverse_spacing) * d[p];
            const int other = terms.n_elements == 1 ? 0 : neighbors.element[k + l];
            scatter(weights + other * row + interval, 0.5, w);
        }
    }
    for (int other = 0; other < terms.n_elements; ++other, ++segment) {
        segment->weights = weights + other * row;
        segment->table = pairs.table + long(pair_of(center, other, terms.n_elements)) * row * width;
        segment->n = int(row);
    }
    return segment;
}

/** Add the weights of one triple's coefficients; a row that is touched for the first time becomes a segment. */
KML_INLINE MemberSegment* weigh_triple(const MemberTriples& triples, bool equal, long pair, const Side& j,
                                       const Side& k, int far, const R* w, MemberMemory& memory,
                                       MemberSegment* segment) {
    const ThreeBody& term = *triples.term;
    const int K = term.near.n;
    for (int a = 0; a < 4 && j.interval + a < K; ++a)
        for (int b = 0; b < 4 && k.interval + b < K; ++b) {
            const int first = j.interval + a, second = k.interval + b;
            // Equal neighbors have a symmetric function: half of it serves.
            const int row = equal && first > second ? second * K + first : first * K + second;
            const long place = pair * K * K + row;
            double* weights = memory.weights + triples.first + place * term.row;
            scatter(weights + far, j.weights[a] * k.weights[b], w);
            int &low = memory.low[triples.first_row + place], &end = memory.end[triples.first_row + place];
            if (end == 0) {
                segment->weights = weights;
                segment->n = int(place);
                ++segment;
                low = far, end = far + 4;
            } else {
                low = far < low ? far : low;
                end = far + 4 > end ? far + 4 : end;
            }
        }
    return segment;
}

/** Weights of the coefficients of triples; appends their segments. */
MemberSegment* weigh_triples(const LocalTerms& terms, const MemberTriples& triples, int width, int center, Sides& sides,
                             MemberMemory& memory, MemberSegment* segment) {
    const ThreeBody& term = *triples.term;
    const int n_elements = terms.n_elements;
    MemberSegment* const begin = segment;
    int n = 0;
    for (int s = 0; s < sides.n; ++s)
        if (sides.distance[s] < term.cutoff && prepare_side(term, sides.distance[s], sides.prepared[s]))
            sides.active[n++] = s;
    for (int x = 0; x < n; ++x)
        for (int y = x + 1; y < n; ++y) {
            const int j = sides.active[x], k = sides.active[y];
            const double *pj = sides.position + 4 * j, *pk = sides.position + 4 * k;
            const double v[3] = {pk[0] - pj[0], pk[1] - pj[1], pk[2] - pj[2]};
            const double r = __builtin_sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
            if (!(r > term.taper_start && r < term.cutoff_far))
                continue;
            double t;
            const int interval = grid_interval(term.far, r, t);
            R w[4 / L], d[4 / L];
            far_weights<L>(t, term.far.inverse_spacing, w, d);
            if (r < term.taper_start + term.taper_width) {
                double slope;
                const double taper = smooth_step(r, term.taper_start, term.taper_width, slope);
                KML_UNROLL for (int p = 0; p < 4 / L; ++p) w[p] *= taper;
            }
            const int first = sides.element[j], second = sides.element[k];
            segment = weigh_triple(triples, first == second, pair_of(first, second, n_elements), sides.prepared[j],
                                   sides.prepared[k], interval, w, memory, segment);
        }
    // Only now the ends of the rows are known.
    const long K = term.near.n, functions = long(center) * terms.n_pairs;
    for (MemberSegment* one = begin; one < segment; ++one) {
        const long place = one->n, low = memory.low[triples.first_row + place];
        const int end = memory.end[triples.first_row + place];
        memory.low[triples.first_row + place] = memory.end[triples.first_row + place] = 0;
        one->weights += low;
        one->table = triples.table + ((functions * K * K + place) * term.row + low) * width;
        one->n = int(end - low);
    }
    return segment;
}

void members_of(const LocalTerms& terms, const Members& members, int center, const Neighbors& neighbors,
                double* scratch, MemberMemory& memory, double* energies) {
    double one = 1;
    MemberSegment* segment = memory.segments;
    *segment++ = {&one, members.one_body + long(center) * members.width, 1};
    for (int m = 0; m < members.n_two_body; ++m)
        segment = weigh_pairs(terms, members.two_body[m], members.width, center, neighbors, memory.weights, segment);
    if (members.n_three_body) {
        Sides sides = lay_out(scratch, neighbors.n);
        find_sides(terms, neighbors, sides);
        for (int m = 0; m < members.n_three_body; ++m)
            segment = weigh_triples(terms, members.three_body[m], members.width, center, sides, memory, segment);
    }
    const int n = int(segment - memory.segments);
    multiply_segments(memory.segments, n, members.width, energies);
    for (int s = 1; s < n; ++s)
        for (int k = 0; k < memory.segments[s].n; ++k)
            memory.segments[s].weights[k] = 0;
}

} // namespace

#define KML_MEMBERS(name) KML_JOIN(members_, name)

extern MemberFunction* const KML_MEMBERS(KML_NAME);
MemberFunction* const KML_MEMBERS(KML_NAME) = members_of;

} // namespace kml
