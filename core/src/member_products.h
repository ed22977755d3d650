/** Energies of all members: what their coefficients, in segments, add up to with the weights of some environments. */
#ifndef KML_MEMBER_PRODUCTS_H
#define KML_MEMBER_PRODUCTS_H

#include "kml/members.h"

namespace kml {
namespace {

constexpr int V = KML_MEMBER_WIDTH;

/** Sums that stay in registers. */
constexpr int most_sums = V == 8 ? 16 : 8;

/** sums += the coefficients' members times the weights of Q environments, for B vectors of members. */
template <int Q, int B>
KML_INLINE void add_products(const double* weights, long stride, const double* table, Real<V> (&sums)[Q][B]) {
    KML_UNROLL for (int q = 0; q < Q; ++q) {
        const Real<V> weight = broadcast<V>(weights[q * stride]);
        KML_UNROLL for (int b = 0; b < B; ++b) sums[q][b] += weight * load<V>(table + b * V);
    }
}

/** Set energies (Q, width) of some environments for B vectors of members from `at` on. */
template <int Q, int B>
KML_INLINE void multiply_segments(const Members& members, const MemberMemory& memory, int n_segments, int at,
                                  double* energies) {
    constexpr int U = Q * B < 8 ? 8 / (Q * B) : 1; // some eight sums must be in flight
    const long stride = members.n_numbers, width = members.width;
    Real<V> sums[U][Q][B];
    KML_UNROLL for (int u = 0; u < U; ++u) KML_UNROLL for (int q = 0; q < Q; ++q) KML_UNROLL for (int b = 0; b < B; ++b)
        sums[u][q][b] = u ? Real<V>{} : load<V>(members.one_body + memory.center * width + at + b * V);
    for (int s = 0; s < n_segments; ++s) {
        const MemberSegment& segment = memory.segments[s];
        const double *weights = memory.numbers + segment.weights, *table = segment.table + at;
        int k = segment.n;
        for (; k >= U; k -= U)
            KML_UNROLL for (int u = 0; u < U; ++u, ++weights, table += width)
                add_products<Q, B>(weights, stride, table, sums[u]);
        KML_UNROLL for (int u = 0; u < U - 1; ++u, ++weights, table += width) {
            if (u >= k)
                break;
            add_products<Q, B>(weights, stride, table, sums[u]);
        }
    }
    KML_UNROLL for (int q = 0; q < Q; ++q) KML_UNROLL for (int b = 0; b < B; ++b) {
        Real<V> sum = sums[0][q][b];
        KML_UNROLL for (int u = 1; u < U; ++u) sum += sums[u][q][b];
        store<V>(energies + q * width + at + b * V, sum);
    }
}

/** The same as often as B vectors of members are left; returns the first that is. */
template <int Q, int B>
KML_INLINE int multiply_vectors(const Members& members, const MemberMemory& memory, int n_segments, int at,
                                double* energies) {
    if constexpr (Q * B <= most_sums)
        for (; at + B * V <= members.width; at += B * V)
            multiply_segments<Q, B>(members, memory, n_segments, at, energies);
    return at;
}

template <int Q>
void multiply_waiting(const Members& members, const MemberMemory& memory, int n_segments, double* energies) {
    int at = multiply_vectors<Q, 8>(members, memory, n_segments, 0, energies);
    at = multiply_vectors<Q, 4>(members, memory, n_segments, at, energies);
    at = multiply_vectors<Q, 2>(members, memory, n_segments, at, energies);
    multiply_vectors<Q, 1>(members, memory, n_segments, at, energies);
}

} // namespace
} // namespace kml

#endif
