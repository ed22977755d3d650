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

typedef Lanes<L>::Unaligned Unaligned;

/** place[0 … L - 1] += x, at any address. */
KML_INLINE void add_unaligned(double* place, R x) {
    Unaligned* at = reinterpret_cast<Unaligned*>(place);
    *at = *at + x;
}

/** Weights of the coefficients of pairs, L neighbors at a time; appends their segments. As add_two_body(). */
MemberSegment* weigh_pairs(const LocalTerms& terms, const MemberPairs& pairs, int width, int center,
                           const Neighbors& neighbors, double* weights, MemberSegment* segment) {
    constexpr double round = 6755399441055744.0;
    const Grid& grid = pairs.grid;
    const R start = broadcast<L>(grid.start), last = broadcast<L>(double(grid.n)), zero = {};
    const long row = pairs.row;
    weights += pairs.first;
    for (int k = 0; k < neighbors.n; k += L) {
        const R r = square_root<L>(load<L>(neighbors.square + k));
        const R u = (r - start) * grid.inverse_spacing;
        R inside = select(u > zero, u, zero);
        inside = select(inside < last, inside, last);
        const R rounded = (inside - 0.5) + round;
        const R t = inside - (rounded - round), below = select(u < zero, u, zero);
        const Integer<L> interval = reinterpret_cast<const Integer<L>&>(rounded) & 0x7fffffff;
        const Integer<L> counts = r < pairs.cutoff;
        const R factor = select(counts, broadcast<L>(0.5), zero);
        KML_UNROLL for (int l = 0; l < L; ++l) {
            R w[4 / L], d[4 / L];
            far_weights<L>(t[l], 1, w, d);
            if (below[l] < 0) // along the tangent
                KML_UNROLL for (int p = 0; p < 4 / L; ++p) w[p] += below[l] * d[p];
            const int other = terms.n_elements == 1 ? 0 : neighbors.element[k + l];
            // Each lane has a sum of its own: neighbors of one shell would wait for each other.
            double* place = weights + (l * terms.n_elements + other) * row + interval[l];
            KML_UNROLL for (int p = 0; p < 4 / L; ++p) add_unaligned(place + p * L, factor[l] * w[p]);
        }
    }
    const long size = terms.n_elements * row; // a multiple of L
    for (long k = 0; k < size; k += L) {
        R sum = load<L>(weights + k);
        KML_UNROLL for (int l = 1; l < L; ++l) {
            sum += load<L>(weights + l * size + k);
            store<L>(weights + l * size + k, zero);
        }
        store<L>(weights + k, sum);
    }
    for (int other = 0; other < terms.n_elements; ++other, ++segment) {
        segment->weights = weights + other * row;
        segment->table = pairs.table + long(pair_of(center, other, terms.n_elements)) * row * width;
        segment->n = int(row);
    }
    return segment;
}

/** What a `spline3` term's weights need besides. */
struct Rows {
    const MemberTriples& triples;
    const LocalTerms& terms;
    double* weights;
    MemberRange* ranges; // by pair of neighbors and interval of the first one's distance
};

KML_INLINE void widen(MemberRange& range, int second, int second_end, int far, int far_end) {
    const bool fresh = range.far_end == 0;
    range.second = fresh || second < range.second ? second : range.second;
    range.second_end = fresh || second_end > range.second_end ? second_end : range.second_end;
    range.far = fresh || far < range.far ? far : range.far;
    range.far_end = fresh || far_end > range.far_end ? far_end : range.far_end;
}

/** Add the weights of the waiting triples' coefficients; as evaluate_triples(). */
void weigh_waiting(const Rows& rows, const Sides& sides, Triples& waiting) {
    const ThreeBody& term = *rows.triples.term;
    for (int m = waiting.n; m % L; ++m)
        waiting.x[m] = waiting.y[m] = waiting.z[m] = 0;
    for (int m = 0; m < waiting.n; m += L) {
        const R x = load<L>(waiting.x + m), y = load<L>(waiting.y + m), z = load<L>(waiting.z + m);
        store<L>(waiting.r + m, square_root<L>(x * x + y * y + z * z));
    }
    for (int m = 0; m < waiting.n; ++m) {
        const double r = waiting.r[m];
        if (!(r > term.taper_start && r < term.cutoff_far))
            continue;
        int j = waiting.j[m], k = waiting.k[m];
        // Equal neighbors have a symmetric function: half of the pairs of intervals serve.
        if (sides.element[j] == sides.element[k] && sides.prepared[j].interval > sides.prepared[k].interval) {
            const int other = j;
            j = k, k = other;
        }
        const Side &first = sides.prepared[j], &second = sides.prepared[k];
        double t;
        const int far = grid_interval(term.far, r, t);
        R w[4 / L], d[4 / L];
        far_weights<L>(t, 1, w, d);
        if (r < term.taper_start + term.taper_width) {
            double slope;
            const double taper = smooth_step(r, term.taper_start, term.taper_width, slope);
            KML_UNROLL for (int p = 0; p < 4 / L; ++p) w[p] *= taper;
        }
        const long pair = pair_of(sides.element[j], sides.element[k], rows.terms.n_elements);
        widen(rows.ranges[pair * term.near.n + first.interval], second.interval, second.interval + 4, far, far + 4);
        double* start =
            rows.weights + pair * term.block + first.interval * term.plane + second.interval * term.row + far;
        KML_UNROLL for (int b = 0; b < 4; ++b) {
            R wb[4 / L];
            KML_UNROLL for (int p = 0; p < 4 / L; ++p) wb[p] = second.weights[b] * w[p];
            KML_UNROLL for (int a = 0; a < 4; ++a) KML_UNROLL for (int p = 0; p < 4 / L; ++p)
                add_unaligned(start + a * term.plane + b * term.row + p * L, first.weights[a] * wb[p]);
        }
    }
    waiting.n = 0;
}

/** Weights of the coefficients of all triples. */
void weigh_triples(const Rows& rows, Sides& sides) {
    for_triples(*rows.triples.term, sides, [&](Triples& waiting) { weigh_waiting(rows, sides, waiting); });
}

/** Whether the function of this pair of neighbors is symmetric. */
bool is_equal(int pair, int n_elements) {
    for (int element = 0; element < n_elements; ++element)
        if (pair == pair_of(element, element, n_elements))
            return true;
    return false;
}

/** to[…] += from[…] where `to` is not NULL; then from[…] = 0. */
KML_INLINE void move_weights(double* from, double* to, long n) {
    long k = 0;
    for (; k + L <= n; k += L) {
        if (to)
            add_unaligned(to + k, load_unaligned<L>(from + k));
        *reinterpret_cast<Unaligned*>(from + k) = R{};
    }
    for (; k < n; ++k) {
        if (to)
            to[k] += from[k];
        from[k] = 0;
    }
}

/** Append a segment for each row of one function's weights with this first spline. */
MemberSegment* rows_of_spline(const Rows& rows, long pair, bool equal, int a, MemberRange range, int width, int center,
                              MemberSegment* segment) {
    const ThreeBody& term = *rows.triples.term;
    const int K = term.near.n;
    const long function = long(center) * rows.terms.n_pairs + pair, n = range.far_end - range.far;
    double* weights = rows.weights + pair * term.block + range.far;
    for (int b = range.second; b < range.second_end; ++b) {
        double* own = weights + a * term.plane + b * term.row;
        if (a >= K || b >= K) // where all coefficients are zero
            move_weights(own, nullptr, n);
        else if (equal && a > b)
            move_weights(own, weights + b * term.plane + a * term.row, n);
        else
            *segment++ = {own, rows.triples.table + (((function * K + a) * K + b) * term.row + range.far) * width,
                          int(n)};
    }
    return segment;
}

/** Append a segment for each row of weights that triples touched, and forget which these are. */
MemberSegment* collect_rows(const Rows& rows, int width, int center, MemberSegment* segment) {
    const int K = rows.triples.term->near.n;
    for (int pair = 0; pair < rows.terms.n_pairs; ++pair) {
        MemberRange* ranges = rows.ranges + long(pair) * K;
        const bool equal = is_equal(pair, rows.terms.n_elements);
        for (int a = 0; a < K + 3; ++a) { // it counts for the four intervals up to its own
            MemberRange all = {0, 0, 0, 0};
            for (int interval = a < 3 ? 0 : a - 3; interval <= a && interval < K; ++interval) {
                const MemberRange& one = ranges[interval];
                if (one.far_end)
                    widen(all, one.second, one.second_end, one.far, one.far_end);
            }
            if (all.far_end)
                segment = rows_of_spline(rows, pair, equal, a, all, width, center, segment);
        }
        for (int a = 0; a < K; ++a)
            ranges[a].far_end = 0;
    }
    return segment;
}

void members_of(const LocalTerms& terms, const Members& members, int center, const Neighbors& neighbors, int n_sides,
                double* scratch, MemberMemory& memory, double* energies) {
    double one = 1;
    MemberSegment* segment = memory.segments;
    *segment++ = {&one, members.one_body + long(center) * members.width, 1};
    for (int m = 0; m < members.n_two_body; ++m)
        segment = weigh_pairs(terms, members.two_body[m], members.width, center, neighbors, memory.weights, segment);
    Sides sides = lay_out(scratch, neighbors.n);
    sides.n = n_sides;
    for (int m = 0; m < members.n_three_body; ++m) {
        const MemberTriples& triples = members.three_body[m];
        const Rows rows = {triples, terms, memory.weights + triples.first, memory.ranges + triples.first_range};
        weigh_triples(rows, sides);
        segment = collect_rows(rows, members.width, center, segment);
    }
    const int n = int(segment - memory.segments);
    multiply_segments(memory.segments, n, members.width, energies);
    for (int s = 1; s < n; ++s)
        move_weights(memory.segments[s].weights, nullptr, memory.segments[s].n);
}

} // namespace

#define KML_MEMBERS(name) KML_JOIN(members_, name)

extern MemberFunction* const KML_MEMBERS(KML_NAME);
MemberFunction* const KML_MEMBERS(KML_NAME) = members_of;

} // namespace kml
