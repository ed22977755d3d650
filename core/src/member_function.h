/**
 * The energies of all members in one environment; included by environment_*.cpp after environment_function.h, on whose
 * functions it builds, with KML_MEMBER_WIDTH, the lanes over members.
 */
#include "member_products.h"

namespace kml {
namespace {

typedef Lanes<L>::Unaligned Unaligned;

/** place[0 … L - 1] += x, at any address. */
KML_INLINE void add_unaligned(double* place, R x) {
    Unaligned* at = reinterpret_cast<Unaligned*>(place);
    *at = *at + x;
}

/** Sums of 1, t, t² and t³ over neighbors, in the places of the polynomials that they multiply. */
struct PairMoments {
    static constexpr bool wanted = true;
    double* sums; // (pairs, n + 1, 4)

    /** As add_two_body(): a neighbor below the grid counts along the tangent. */
    KML_INLINE void add(const TwoBody& term, const double* const* rows, Integer<L> counts, R t, R below) const {
        const R zero = {}, square = t * t;
        R powers[4] = {select(counts, broadcast<L>(1.0), zero), select(counts, t + below, zero),
                       select(counts, square, zero), select(counts, square * t, zero)};
        KML_UNROLL for (int p = 0; p < 4; p += L) transpose<L>(powers + p);
        KML_UNROLL for (int l = 0; l < L; ++l) {
            double* place = sums + (rows[l] - term.polynomials);
            KML_UNROLL for (int p = 0; p < 4; p += L) store<L>(place + p, load<L>(place + p) + powers[p + l]);
        }
    }
};

/** All lanes of a but the first, then the first of b. */
template <int W>
KML_INLINE Real<W> next_lanes(Real<W> a, Real<W> b) {
    if constexpr (W == 4)
        return shuffle<4, 1, 2, 3, 4>(a, b);
    else
        return shuffle<2, 1, 2>(a, b);
}

/** Make the weights of n coefficients, halves of pairs, from moments (n + 1, 4), which become zero. */
void weights_of_moments(double* moments, int n, double* weights) {
    constexpr int parts = 4 / L;
    R w[parts] = {}; // of the four splines of an interval
    for (int k = 0; k < n; ++k, moments += 4, ++weights)
        KML_UNROLL for (int p = 0; p < parts; ++p) {
            R own = {};
            KML_UNROLL for (int q = 0; q < 4; ++q) own += moments[q] * (0.5 * spline_powers<L>(q, p));
            w[p] = next_lanes<L>(w[p], p + 1 < parts ? w[p + 1] : R{}) + own;
            *reinterpret_cast<Unaligned*>(weights + p * L) = w[p]; // of each store the first number stays
        }
    moments -= 4 * n;
    for (int k = 0; k < 4 * (n + 1); k += L)
        store<L>(moments + k, R{});
}

typedef int Integers __attribute__((vector_size(16), may_alias));

/** The union of two ranges. */
KML_INLINE Integers widened(Integers range, Integers other) { return range > other ? range : other; }

/** Weights of the coefficients of triples. */
struct TripleWeights {
    static constexpr bool wanted = true;
    double* sums;        // (pairs, term.block)
    MemberRange* ranges; // by pair of neighbors and interval of the first one's distance
    int n_elements;

    KML_INLINE void add(const ThreeBody& term, int first_element, int second_element, const Side& j, const Side& k,
                        const FarSide<L>& far) const {
        // Equal neighbors have a symmetric function: half of the pairs of intervals serve.
        const bool exchange = first_element == second_element && j.interval > k.interval;
        const Side &first = exchange ? k : j, &second = exchange ? j : k;
        const long pair = pair_of(first_element, second_element, n_elements);
        Integers& range = reinterpret_cast<Integers&>(ranges[pair * term.near.n + first.interval]);
        range = widened(range, Integers{term.near.n + 3 - second.interval, second.interval + 4,
                                        term.far.n + 3 - far.interval, far.interval + 4});
        // Read before the first store, which could change them for all that the compiler knows.
        const long row = term.row, plane = term.plane;
        double* start = sums + pair * term.block + first.interval * plane + second.interval * row + far.interval;
        R wa[4], wb[4][4 / L];
        KML_UNROLL for (int a = 0; a < 4; ++a) wa[a] = broadcast<L>(first.weights[a]);
        KML_UNROLL for (int b = 0; b < 4; ++b) KML_UNROLL for (int p = 0; p < 4 / L; ++p) wb[b][p] =
            second.weights[b] * far.weights[p];
        KML_UNROLL for (int a = 0; a < 4; ++a, start += plane) {
            double* place = start;
            KML_UNROLL for (int b = 0; b < 4; ++b, place += row) KML_UNROLL for (int p = 0; p < 4 / L; ++p)
                add_unaligned(place + p * L, wa[a] * wb[b][p]);
        }
    }
};

/** Whether the function of this pair of neighbors is symmetric. */
bool is_equal(int pair, int n_elements) {
    for (int element = 0; element < n_elements; ++element)
        if (pair == pair_of(element, element, n_elements))
            return true;
    return false;
}

/** to[…] += from[…] */
KML_INLINE void add_weights(const double* from, double* to, long n) {
    long k = 0;
    for (; k + L <= n; k += L)
        add_unaligned(to + k, load_unaligned<L>(from + k));
    for (; k < n; ++k)
        to[k] += from[k];
}

KML_INLINE void clear_weights(double* weights, long n) {
    long k = 0;
    for (; k + L <= n; k += L)
        *reinterpret_cast<Unaligned*>(weights + k) = R{};
    for (; k < n; ++k)
        weights[k] = 0;
}

/** Makes segments of what all waiting environments touched. */
struct Collector {
    const LocalTerms& terms;
    const Members& members;
    const MemberMemory& memory;
    MemberSegment* segment;

    /** One segment for each function of pairs. */
    KML_INLINE void add(const MemberPairs& pairs) {
        for (int other = 0; other < terms.n_elements; ++other) {
            const long pair = pair_of(memory.center, other, terms.n_elements),
                       place = pairs.weights + other * pairs.row;
            for (int q = 0; q < memory.n; ++q) {
                double* numbers = memory.numbers + q * members.n_numbers;
                weights_of_moments(numbers + pairs.moments + pair * (pairs.n + 1) * 4, pairs.n, numbers + place);
            }
            *segment++ = {place, pairs.table + pair * pairs.n * members.width, pairs.n};
        }
    }

    KML_INLINE void clear(long place, long n) {
        for (int q = 0; q < memory.n; ++q)
            clear_weights(memory.numbers + q * members.n_numbers + place, n);
    }

    /** A segment for each row of one function's weights with this first spline. */
    KML_INLINE void add_rows(const MemberTriples& triples, long pair, bool equal, int a, Integers range) {
        const ThreeBody& term = *triples.term;
        const int K = term.near.n, far = term.far.n + 3 - range[2], n = range[3] - far;
        const long function = long(memory.center) * terms.n_pairs + pair;
        const long weights = triples.weights + pair * term.block + far;
        for (int b = K + 3 - range[0]; b < range[1]; ++b) {
            const long place = weights + a * term.plane + b * term.row;
            if (a >= K || b >= K) // where all coefficients are zero
                clear(place, n);
            else if (equal && a > b) {
                for (int q = 0; q < memory.n; ++q) {
                    double* numbers = memory.numbers + q * members.n_numbers;
                    add_weights(numbers + place, numbers + weights + b * term.plane + a * term.row, n);
                }
                clear(place, n);
            } else
                *segment++ = {place, triples.table + (((function * K + a) * K + b) * term.row + far) * members.width,
                              n};
        }
    }

    /** All rows of weights that triples touched; forgets which these are. */
    KML_INLINE void add(const MemberTriples& triples) {
        const int K = triples.term->near.n;
        for (int pair = 0; pair < terms.n_pairs; ++pair) {
            MemberRange* ranges = memory.ranges + triples.first_range + long(pair) * K;
            const bool equal = is_equal(pair, terms.n_elements);
            for (int a = 0; a < K + 3; ++a) { // it counts for the four intervals up to its own
                Integers all = {};
                for (int interval = a < 3 ? 0 : a - 3; interval <= a && interval < K; ++interval)
                    all = widened(all, reinterpret_cast<const Integers&>(ranges[interval]));
                if (all[3])
                    add_rows(triples, pair, equal, a, all);
            }
            for (int a = 0; a < K; ++a)
                ranges[a] = {};
        }
    }
};

/** Where the weights of an environment's coefficients go. */
struct Watched {
    const LocalTerms& terms;
    const Members& members;
    double* numbers;
    MemberRange* ranges;

    KML_INLINE PairMoments pairs(int m) const { return {numbers + members.two_body[m].moments}; }
    KML_INLINE TripleWeights triples(int m) const {
        const MemberTriples& triples = members.three_body[m];
        return {numbers + triples.weights, ranges + triples.first_range, terms.n_elements};
    }
};

void weigh_members(const LocalTerms& terms, const Members& members, int center, const Neighbors& neighbors,
                   double* scratch, MemberMemory& memory, EnvironmentResult& result) {
    const Watched watch = {terms, members, memory.numbers + memory.n * members.n_numbers, memory.ranges};
    watched_environment(terms, center, neighbors, scratch, watch, result);
    if (result.closest < coincident_square)
        return;
    memory.center = center;
    ++memory.n;
}

void multiply_members(const LocalTerms& terms, const Members& members, MemberMemory& memory, double* energies) {
    Collector collector = {terms, members, memory, memory.segments};
    for (int m = 0; m < members.n_two_body; ++m)
        collector.add(members.two_body[m]);
    const MemberSegment* touched = collector.segment;
    for (int m = 0; m < members.n_three_body; ++m)
        collector.add(members.three_body[m]);
    const int n = int(collector.segment - memory.segments);
    switch (memory.n) {
    case 1:
        multiply_waiting<1>(members, memory, n, energies);
        break;
    case 2:
        multiply_waiting<2>(members, memory, n, energies);
        break;
    case 3:
        multiply_waiting<3>(members, memory, n, energies);
        break;
    default:
        multiply_waiting<4>(members, memory, n, energies);
    }
    for (; touched < collector.segment; ++touched)
        collector.clear(touched->weights, touched->n);
    memory.n = 0;
}

} // namespace

#define KML_MEMBERS(name) KML_JOIN(members_, name)

extern const MemberFunctions KML_MEMBERS(KML_NAME);
const MemberFunctions KML_MEMBERS(KML_NAME) = {weigh_members, multiply_members};

} // namespace kml
