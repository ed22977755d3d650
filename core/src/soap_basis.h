/** Radial functions and harmonics of some neighbors together. */
#ifndef KML_SOAP_BASIS_H
#define KML_SOAP_BASIS_H

#include "soap_neighbors.h"

namespace kml {
namespace {

/** Memory for one chunk of neighbors. */
struct ChunkMemory {
    double* radial; // (soap_chunk, n_functions + 8)
    double* slope;  // (W, n_functions): only on the way back
    double* across; // (n_functions, W): radial functions with lanes over neighbors
    double* across_slope;
    double* harmonics; // ((L + 1)², soap_chunk)
    double* sums;      // (n_coefficients): of one element
    double* angular;   // (2 L + 1, W)
};

ChunkMemory chunk_memory(const SoapTables& tables, Arena& arena) {
    const long F = tables.n_functions, l = tables.n_angular;
    ChunkMemory memory;
    memory.radial = arena.doubles(soap_chunk * (F + 8));
    memory.slope = arena.doubles(8 * F);
    memory.across = arena.doubles(8 * F);
    memory.across_slope = arena.doubles(8 * F);
    memory.harmonics = arena.doubles(l * l * soap_chunk);
    memory.sums = arena.doubles(tables.n_coefficients + 8);
    memory.angular = arena.doubles((2 * l - 1) * 8);
    return memory;
}

long chunk_memory_size(const SoapTables& tables) {
    const long F = tables.n_functions, l = tables.n_angular;
    return soap_chunk * (F + 8) + 24 * F + l * l * soap_chunk + round_up(tables.n_coefficients + 8, 8) +
           (2 * l - 1) * 8;
}

/**
 * The eight B-splines of degree 7 (times 7!) for W neighbors, times the cutoff function, by the recursion of Cox and de
 * Boor; with `Slopes` also the weights of the derivative by r.
 */
template <bool Slopes>
KML_INLINE void radial_weights(const Neighborhood& hood, int k, double inverse_spacing, double* weights) {
    const R t = load<W>(hood.fraction + k), s = 1.0 - t, f = load<W>(hood.cutoff + k);
    R b[8] = {s, t}, below[7];
    KML_UNROLL for (int d = 2; d <= 7; ++d) {
        if (d == 7) {
            KML_UNROLL for (int j = 0; j < 7; ++j) below[j] = b[j];
        }
        b[d] = t * b[d - 1];
        KML_UNROLL for (int j = d - 1; j > 0; --j) b[j] = (t + double(d - j)) * b[j - 1] + (s + double(j)) * b[j];
        b[0] = s * b[0];
    }
    KML_UNROLL for (int i = 0; i < 8; ++i) store<W>(weights + i * W, b[i] * f);
    if constexpr (Slopes) {
        const R g = f * (7 * inverse_spacing), df = load<W>(hood.slope + k);
        KML_UNROLL for (int i = 0; i < 8; ++i) {
            const R by_t = i == 0 ? -below[0] : i == 7 ? below[6] : below[i - 1] - below[i];
            store<W>(weights + (8 + i) * W, by_t * g + b[i] * df);
        }
    }
}

/** Radial functions of the neighbors k <= . < k + W into rows of memory.radial from `at` on, their slopes into
 * memory.slope. */
template <bool Slopes>
KML_INLINE void radial_rows(const SoapTables& tables, const Neighborhood& hood, int k, int at, ChunkMemory& memory) {
    alignas(64) double weights[16 * W];
    radial_weights<Slopes>(hood, k, tables.inverse_spacing, weights);
    const long F = tables.n_functions;
    for (int q = 0; q < W; ++q) {
        const double* table = tables.radial + long(hood.interval[k + q]) * F;
        double *values = memory.radial + (at + q) * (F + 8), *slopes = memory.slope + q * F;
        if (hood.place[k + q] < 0) { // padding
            for (long v = 0; v < F; v += W) {
                store<W>(values + v, R{});
                if constexpr (Slopes)
                    store<W>(slopes + v, R{});
            }
            continue;
        }
        R w[8], d[8];
        KML_UNROLL for (int i = 0; i < 8; ++i) {
            w[i] = broadcast<W>(weights[i * W + q]);
            if constexpr (Slopes)
                d[i] = broadcast<W>(weights[(8 + i) * W + q]);
        }
        for (long v = 0; v < F; v += W) {
            R a[2] = {}, da[2] = {};
            KML_UNROLL for (int i = 0; i < 8; ++i) {
                const R c = load<W>(table + i * F + v);
                a[i % 2] += w[i] * c;
                if constexpr (Slopes)
                    da[i % 2] += d[i] * c;
            }
            store<W>(values + v, a[0] + a[1]);
            if constexpr (Slopes)
                store<W>(slopes + v, da[0] + da[1]);
        }
    }
}

/** to[v + n][lane] = from[lane][v + n] */
KML_INLINE void turn(const double* from, long stride, long n, double* to) {
    for (long v = 0; v < n; v += W) {
        R rows[W];
        KML_UNROLL for (int q = 0; q < W; ++q) rows[q] = load<W>(from + q * stride + v);
        transpose<W>(rows);
        KML_UNROLL for (int q = 0; q < W; ++q) store<W>(to + (v + q) * W, rows[q]);
    }
}

/**
 * Unnormalized real solid harmonics on the unit sphere, H_lm = r^l P_l^m e^{imφ}/(l + m)! without the sign (-1)^m:
 * cosines at l² + l + m, sines at l² + l - m, for V vectors of neighbors.
 */
template <int V>
KML_INLINE void harmonics(int n_angular, const double* recursion, const double* const xyz[3], double* H) {
    R x[V], y[V], z[V], c[V], s[V];
    KML_UNROLL for (int v = 0; v < V; ++v) {
        x[v] = load<W>(xyz[0] + v * W), y[v] = load<W>(xyz[1] + v * W), z[v] = load<W>(xyz[2] + v * W);
        c[v] = broadcast<W>(1.0), s[v] = R{};
    }
    for (int m = 0; m < n_angular; ++m) {
        if (m > 0) {
            const double half = 0.5 / m;
            KML_UNROLL for (int v = 0; v < V; ++v) {
                const R next = (x[v] * c[v] - y[v] * s[v]) * half;
                s[v] = (y[v] * c[v] + x[v] * s[v]) * half;
                c[v] = next;
            }
        }
        R a[V], b[V], a1[V], b1[V];
        KML_UNROLL for (int v = 0; v < V; ++v) {
            a[v] = c[v], b[v] = s[v], a1[v] = b1[v] = R{};
            store<W>(H + (m * m + 2 * m) * soap_chunk + v * W, c[v]);
            if (m > 0)
                store<W>(H + m * m * soap_chunk + v * W, s[v]);
        }
        for (int l = m + 1; l < n_angular; ++l, recursion += 2) {
            const R p = broadcast<W>(recursion[0]), q = broadcast<W>(recursion[1]);
            double* row = H + (l * l + l) * soap_chunk;
            KML_UNROLL for (int v = 0; v < V; ++v) {
                const R zp = z[v] * p, next = zp * a[v] - q * a1[v];
                a1[v] = a[v], a[v] = next;
                store<W>(row + m * soap_chunk + v * W, next);
                if (m > 0) {
                    const R other = zp * b[v] - q * b1[v];
                    b1[v] = b[v], b[v] = other;
                    store<W>(row - m * soap_chunk + v * W, other);
                }
            }
        }
    }
}

/** Harmonics of n neighbors (a multiple of W) from k on. */
KML_INLINE void harmonics_of(const SoapTables& tables, const Neighborhood& hood, int k, int n, double* H) {
    int at = 0;
    for (; at + 2 * W <= n; at += 2 * W) {
        const double* const xyz[3] = {hood.x + k + at, hood.y + k + at, hood.z + k + at};
        harmonics<2>(tables.n_angular, tables.recursion, xyz, H + at);
    }
    if (at < n) {
        const double* const xyz[3] = {hood.x + k + at, hood.y + k + at, hood.z + k + at};
        harmonics<1>(tables.n_angular, tables.recursion, xyz, H + at);
    }
}

} // namespace
} // namespace kml

#endif
