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
    const long row = grid.n + 4;
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
            double* place = weights + other * row + interval[l];
            KML_UNROLL for (int p = 0; p < 4 / L; ++p) add_unaligned(place + p * L, factor[l] * w[p]);
        }
    }
    for (int other = 0; other < terms.n_elements; ++other, ++segment) {
        segment->weights = weights + other * row;
        segment->table = pairs.table + long(pair_of(center, other, terms.n_elements)) * row * width;
        segment->n = int(row);
    }
    return segment;
}

/** Cells are pairs of intervals of two sides; those that were touched, and what of the far axis. */
struct Cells {
    const MemberTriples& triples;
    const LocalTerms& terms;
    int *low, *end, *touched;
    double* weights;
    int n = 0;
};

/** Add the weights of the waiting triples' coefficients; as evaluate_triples(). */
void weigh_waiting(Cells& cells, const Sides& sides, Triples& waiting) {
    const ThreeBody& term = *cells.triples.term;
    const int K = term.near.n;
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
        // Equal neighbors have a symmetric function: half of the cells serve.
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
        const long pair = pair_of(sides.element[j], sides.element[k], cells.terms.n_elements);
        const long cell = (pair * K + first.interval) * K + second.interval;
        if (cells.end[cell] == 0) {
            cells.touched[cells.n++] = int(cell);
            cells.low[cell] = far;
        }
        cells.low[cell] = far < cells.low[cell] ? far : cells.low[cell];
        cells.end[cell] = far + 4 > cells.end[cell] ? far + 4 : cells.end[cell];
        double* start =
            cells.weights + pair * term.block + first.interval * term.plane + second.interval * term.row + far;
        KML_UNROLL for (int b = 0; b < 4; ++b) {
            R wb[4 / L];
            KML_UNROLL for (int p = 0; p < 4 / L; ++p) wb[p] = second.weights[b] * w[p];
            KML_UNROLL for (int a = 0; a < 4; ++a) KML_UNROLL for (int p = 0; p < 4 / L; ++p)
                add_unaligned(start + a * term.plane + b * term.row + p * L, first.weights[a] * wb[p]);
        }
    }
    waiting.n = 0;
}

/** Weights of the coefficients of all triples, by cells. */
void weigh_triples(Cells& cells, Sides& sides) {
    const ThreeBody& term = *cells.triples.term;
    int n = 0;
    for (int s = 0; s < sides.n; ++s)
        if (sides.distance[s] < term.cutoff && prepare_side(term, sides.distance[s], sides.prepared[s]))
            sides.active[n++] = s;
    Triples waiting;
    for (int x = 0; x < n; ++x) {
        const int j = sides.active[x];
        const double* pj = sides.position + 4 * j;
        for (int y = x + 1; y < n; ++y) {
            const int k = sides.active[y], m = waiting.n;
            const double* pk = sides.position + 4 * k;
            waiting.x[m] = pk[0] - pj[0];
            waiting.y[m] = pk[1] - pj[1];
            waiting.z[m] = pk[2] - pj[2];
            waiting.j[m] = j, waiting.k[m] = k;
            if (++waiting.n == Triples::room)
                weigh_waiting(cells, sides, waiting);
        }
    }
    weigh_waiting(cells, sides, waiting);
}

/** Whether the function of this pair of neighbors is symmetric. */
bool is_equal(int pair, int n_elements) {
    for (int element = 0; element < n_elements; ++element)
        if (pair == pair_of(element, element, n_elements))
            return true;
    return false;
}

/** Append a segment for each row of coefficients that the cells touched; leaves no trace of the cells. */
MemberSegment* rows_of_cells(Cells& cells, MemberMemory& memory, int width, int center, MemberSegment* segment) {
    const ThreeBody& term = *cells.triples.term;
    const int K = term.near.n;
    int *row_low = memory.low + cells.triples.first_row, *row_end = memory.end + cells.triples.first_row;
    MemberSegment* const begin = segment;
    for (int m = 0; m < cells.n; ++m) {
        const int cell = cells.touched[m], pair = cell / (K * K), low = cells.low[cell], end = cells.end[cell];
        const bool equal = is_equal(pair, cells.terms.n_elements);
        double* weights = cells.weights + pair * term.block;
        cells.low[cell] = cells.end[cell] = 0;
        for (int a = cell / K % K, da = 0; da < 4; ++a, ++da)
            for (int b = cell % K, db = 0; db < 4; ++b, ++db) {
                double* own = weights + a * term.plane + b * term.row;
                if (a >= K || b >= K) { // where all coefficients are zero
                    for (int c = low; c < end; ++c)
                        own[c] = 0;
                    continue;
                }
                const int first = equal && a > b ? b : a, second = equal && a > b ? a : b;
                double* kept = weights + first * term.plane + second * term.row;
                for (int c = low; c < end && kept != own; ++c) {
                    kept[c] += own[c];
                    own[c] = 0;
                }
                const int row = (pair * K + first) * K + second;
                if (row_end[row] == 0) {
                    segment->weights = kept;
                    segment->n = row;
                    ++segment;
                    row_low[row] = low;
                }
                row_low[row] = low < row_low[row] ? low : row_low[row];
                row_end[row] = end > row_end[row] ? end : row_end[row];
            }
    }
    const long functions = long(center) * cells.terms.n_pairs;
    for (MemberSegment* one = begin; one < segment; ++one) {
        const long row = one->n, low = row_low[row];
        one->weights += low;
        one->table = cells.triples.table + ((functions * K * K + row) * term.row + low) * width;
        one->n = int(row_end[row] - low);
        row_low[row] = row_end[row] = 0;
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
        int* const cells = memory.cells + 3 * triples.first_row;
        const long room = long(terms.n_pairs) * triples.term->near.n * triples.term->near.n;
        Cells touched = {triples, terms, cells, cells + room, cells + 2 * room, memory.weights + triples.first};
        weigh_triples(touched, sides);
        segment = rows_of_cells(touched, memory, members.width, center, segment);
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
