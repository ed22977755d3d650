/** Radial functions, harmonics and density coefficients of one center, and the way back to its neighbors. */
#ifndef KML_SOAP_DENSITY_H
#define KML_SOAP_DENSITY_H

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

/** c[row][·] += Σ_j H[row][j] R[j][·] for some rows and one vector of radial functions; S sums run side by side. */
template <int Rows, int S>
KML_INLINE void add_density_rows(const double* H, const double* radial, long stride, int n, double* c, long width) {
    R sums[S][Rows];
    KML_UNROLL for (int s = 0; s < S; ++s) KML_UNROLL for (int r = 0; r < Rows; ++r) sums[s][r] = R{};
    for (int j = 0; j < n; j += S)
        KML_UNROLL for (int s = 0; s < S; ++s) {
            const R f = load_unaligned<W>(radial + (j + s) * stride);
            KML_UNROLL for (int r = 0; r < Rows; ++r) sums[s][r] += broadcast<W>(H[r * soap_chunk + j + s]) * f;
        }
    KML_UNROLL for (int r = 0; r < Rows; ++r) {
        R sum = load<W>(c + r * width) + sums[0][r];
        KML_UNROLL for (int s = 1; s < S; ++s) sum += sums[s][r];
        store<W>(c + r * width, sum);
    }
}

/** The same for any number of rows. */
KML_INLINE void add_density(const double* H, const double* radial, long stride, int n, int rows, double* c,
                            long width) {
    constexpr int most = W == 8 ? 12 : W == 4 ? 10 : 6;
    const int parts = (rows + most - 1) / most;
    for (int part = 0, at = 0; part < parts; ++part) {
        const int here = (rows - at + parts - part - 1) / (parts - part);
        const double* Hr = H + at * soap_chunk;
        double* cr = c + at * width;
#define KML_CASE(n_rows, splits)                                                                                       \
    case n_rows:                                                                                                       \
        add_density_rows<n_rows, splits>(Hr, radial, stride, n, cr, width);                                            \
        break;
        switch (here) {
            KML_CASE(1, (W < 4 ? W : 4))
            KML_CASE(2, 2)
            KML_CASE(3, 2)
            KML_CASE(4, 2)
            KML_CASE(5, 1)
            KML_CASE(6, 1)
        default:
            if constexpr (most > 6)
                switch (here) {
                    KML_CASE(7, 1)
                    KML_CASE(8, 1)
                    KML_CASE(9, 1)
                    KML_CASE(10, 1)
                default:
                    if constexpr (most > 10)
                        switch (here) {
                            KML_CASE(11, 1)
                            KML_CASE(12, 1)
                        }
                }
        }
#undef KML_CASE
        at += here;
    }
}

/** Add the neighbors of one element to c (n_coefficients), not normalized. */
KML_INLINE void add_element(const SoapTables& tables, const Neighborhood& hood, int begin, int end, ChunkMemory& memory,
                            double* c) {
    for (int k = begin; k < end; k += soap_chunk) {
        const int n = end - k < soap_chunk ? end - k : soap_chunk;
        for (int at = 0; at < n; at += W)
            radial_rows<false>(tables, hood, k + at, at, memory);
        harmonics_of(tables, hood, k, n, memory.harmonics);
        for (int l = 0; l < tables.n_angular; ++l) {
            const long width = round_up(tables.rank[l], 8);
            for (int v = 0; v < tables.rank[l]; v += W)
                add_density(memory.harmonics + l * l * soap_chunk, memory.radial + tables.first[l] + v,
                            tables.n_functions + 8, n, 2 * l + 1, c + tables.row[l * l] + v, width);
        }
    }
}

/** Density coefficients (C, n_coefficients) of one center with its own share, to be multiplied by `scale`. */
void density(const SoapTables& tables, int center, const Neighborhood& hood, ChunkMemory& memory, double* c) {
    const long all = tables.n_coefficients, width = round_up(tables.rank[0], 8);
    for (long k = 0; k < all * tables.n_channels; k += W)
        store<W>(c + k, R{});
    for (int channel = 0; channel < tables.n_channels; ++channel)
        for (long k = 0; k < width; k += W)
            store<W>(c + channel * all + k,
                     load<W>(tables.central + (center * tables.n_channels + channel) * width + k));
    for (int element = 0; element < tables.n_elements; ++element) {
        const int begin = hood.begin[element], end = hood.begin[element + 1];
        if (begin == end)
            continue;
        if (tables.channel[element] >= 0) {
            add_element(tables, hood, begin, end, memory, c + tables.channel[element] * all);
            continue;
        }
        for (long k = 0; k < all; k += W)
            store<W>(memory.sums + k, R{});
        add_element(tables, hood, begin, end, memory, memory.sums);
        for (int channel = 0; channel < tables.n_channels; ++channel) {
            const double weight = tables.species_weights[element * tables.n_channels + channel];
            if (weight == 0)
                continue;
            double* out = c + channel * all;
            for (long k = 0; k < all; k += W)
                store<W>(out + k, load<W>(out + k) + weight * load<W>(memory.sums + k));
        }
    }
}

/** Set memory.sums to Σ_channel S dE/dc of one element and return it, or a pointer to the one channel that matters. */
const double* element_gradient(const SoapTables& tables, int element, const double* gradient, ChunkMemory& memory) {
    const long all = tables.n_coefficients;
    if (tables.channel[element] >= 0)
        return gradient + tables.channel[element] * all;
    for (long k = 0; k < all; k += W) {
        R sum = {};
        for (int channel = 0; channel < tables.n_channels; ++channel)
            sum +=
                tables.species_weights[element * tables.n_channels + channel] * load<W>(gradient + channel * all + k);
        store<W>(memory.sums + k, sum);
    }
    return memory.sums;
}

/** a[row] = Σ_n g[row][n] R_n and the sum of (Σ_n g[row][n] R'_n) H[row] over M rows, for W neighbors. */
template <int M, int Rank>
KML_INLINE R back_rows(const double* g, long width, int rank, const double* across, const double* across_slope,
                       const double* H, double* a) {
    R f[M], d[M];
    KML_UNROLL for (int r = 0; r < M; ++r) f[r] = d[r] = R{};
    const auto add = [&](int n) __attribute__((always_inline)) {
        const R value = load<W>(across + n * W), slope = load<W>(across_slope + n * W);
        KML_UNROLL for (int r = 0; r < M; ++r) {
            const R w = broadcast<W>(g[r * width + n]);
            f[r] += w * value;
            d[r] += w * slope;
        }
    };
    if constexpr (Rank > 0) {
        KML_UNROLL for (int n = 0; n < Rank; ++n) add(n);
    } else {
        for (int n = 0; n < rank; ++n)
            add(n);
    }
    R sum[2] = {};
    KML_UNROLL for (int r = 0; r < M; ++r) {
        store<W>(a + r * W, f[r]);
        sum[r % 2] += d[r] * load<W>(H + r * soap_chunk);
    }
    return sum[0] + sum[1];
}

/** The same for all 2 l + 1 rows; Rank is zero or the rank. */
template <int Rank>
KML_INLINE R back_degree(const double* g, long width, int rank, int rows, const double* across, const double* slope,
                         const double* H, double* a) {
    R sum = {};
    int r = 0;
    for (; r + 4 <= rows; r += 4)
        sum += back_rows<4, Rank>(g + r * width, width, rank, across, slope, H + r * soap_chunk, a + r * W);
    if (rows - r == 3)
        sum += back_rows<3, Rank>(g + r * width, width, rank, across, slope, H + r * soap_chunk, a + r * W);
    else
        sum += back_rows<1, Rank>(g + r * width, width, rank, across, slope, H + r * soap_chunk, a + r * W);
    return sum;
}

/** The same with frequent ranks known to the compiler. */
KML_INLINE R back_any(const double* g, int rank, int rows, const double* across, const double* slope, const double* H,
                      double* a) {
    switch (rank) {
    case 4:
        return back_degree<4>(g, 8, rank, rows, across, slope, H, a);
    case 5:
        return back_degree<5>(g, 8, rank, rows, across, slope, H, a);
    case 6:
        return back_degree<6>(g, 8, rank, rows, across, slope, H, a);
    case 7:
        return back_degree<7>(g, 8, rank, rows, across, slope, H, a);
    case 8:
        return back_degree<8>(g, 8, rank, rows, across, slope, H, a);
    default:
        return back_degree<0>(g, round_up(rank, 8), rank, rows, across, slope, H, a);
    }
}

/** Derivatives of Σ_lm a_lm H_lm by x, y, z as a homogeneous polynomial: one degree l, H those of l - 1 at m = 0. */
struct AngularSums {
    R x1 = {}, x2 = {}, y1 = {}, y2 = {}, x0 = {}, y0 = {}, z = {};
};

KML_INLINE void add_gradient(int l, const double* angular, const double* H, AngularSums& sums) {
    const auto cosine = [&](int m) __attribute__((always_inline)) { return load<W>(H + m * soap_chunk); };
    const auto sine = [&](int m) __attribute__((always_inline)) { return load<W>(H - m * soap_chunk); };
    const double* a = angular + l * W;
    const R a0 = load<W>(a), c1 = load<W>(a + W), s1 = load<W>(a - W), h0 = cosine(0);
    sums.z += a0 * h0;
    sums.x1 += c1 * h0;
    sums.y1 += s1 * h0;
    if (l == 1)
        return;
    const R C1 = cosine(1), S1 = sine(1);
    sums.x0 += a0 * C1;
    sums.y0 += a0 * S1;
    sums.z += c1 * C1 + s1 * S1;
    if (l > 2) {
        const R C2 = cosine(2), S2 = sine(2);
        sums.x2 += c1 * C2 + s1 * S2;
        sums.y2 += s1 * C2 - c1 * S2;
    }
    R C0 = C1, S0 = S1;
    for (int m = 2; m < l; ++m) {
        const R c = load<W>(a + m * W), s = load<W>(a - m * W), C = cosine(m), S = sine(m);
        sums.x1 += c * C0 + s * S0;
        sums.y1 += s * C0 - c * S0;
        sums.z += c * C + s * S;
        if (m + 1 < l) {
            const R high = cosine(m + 1), other = sine(m + 1);
            sums.x2 += c * high + s * other;
            sums.y2 += s * high - c * other;
        }
        C0 = C, S0 = S;
    }
    const R c = load<W>(a + l * W), s = load<W>(a - l * W);
    sums.x1 += c * C0 + s * S0;
    sums.y1 += s * C0 - c * S0;
}

/** The vectors dE/dr_ij of W neighbors, given dE/dc of their element. */
KML_INLINE void back_to_neighbors(const SoapTables& tables, const Neighborhood& hood, int k, const double* gradient,
                                  const double* H, ChunkMemory& memory, R result[3]) {
    R radial = {};
    AngularSums sums;
    for (int l = 0; l < tables.n_angular; ++l) {
        const int rank = tables.rank[l], rows = 2 * l + 1;
        if (!rank)
            continue;
        const double *across = memory.across + tables.first[l] * W, *slope = memory.across_slope + tables.first[l] * W;
        radial +=
            back_any(gradient + tables.row[l * l], rank, rows, across, slope, H + l * l * soap_chunk, memory.angular);
        if (l > 0)
            add_gradient(l, memory.angular, H + ((l - 1) * (l - 1) + l - 1) * soap_chunk, sums);
    }
    const R ux = load<W>(hood.x + k), uy = load<W>(hood.y + k), uz = load<W>(hood.z + k);
    const R inverse = load<W>(hood.inverse + k);
    const R tx = 0.5 * (sums.x1 - sums.x2) - sums.x0, ty = 0.5 * (sums.y1 + sums.y2) - sums.y0, tz = sums.z;
    const R along = radial - (tx * ux + ty * uy + tz * uz) * inverse;
    result[0] = tx * inverse + along * ux;
    result[1] = ty * inverse + along * uy;
    result[2] = tz * inverse + along * uz;
}

/** Add dE/dr_ij to the center's gradient and set its virial, given dE/dc (C, n_coefficients). */
void pull_back(const SoapTables& tables, const Neighborhood& hood, const double* gradient, ChunkMemory& memory,
               SoapCenter& center) {
    R virial[8] = {};
    for (int element = 0; element < tables.n_elements; ++element) {
        const int begin = hood.begin[element], end = hood.begin[element + 1];
        if (begin == end)
            continue;
        const double* own = element_gradient(tables, element, gradient, memory);
        for (int k = begin; k < end; k += W) {
            if ((k - begin) % soap_chunk == 0)
                harmonics_of(tables, hood, k, end - k < soap_chunk ? end - k : soap_chunk, memory.harmonics);
            radial_rows<true>(tables, hood, k, 0, memory);
            turn(memory.radial, tables.n_functions + 8, tables.n_functions, memory.across);
            turn(memory.slope, tables.n_functions, tables.n_functions, memory.across_slope);
            R g[4] = {};
            back_to_neighbors(tables, hood, k, own, memory.harmonics + (k - begin) % soap_chunk, memory, g);
            const R r = 1.0 / load<W>(hood.inverse + k);
            const R x = r * load<W>(hood.x + k), y = r * load<W>(hood.y + k), z = r * load<W>(hood.z + k);
            virial[0] -= x * g[0];
            virial[1] -= y * g[1];
            virial[2] -= z * g[2];
            virial[3] -= 0.5 * (y * g[2] + z * g[1]);
            virial[4] -= 0.5 * (x * g[2] + z * g[0]);
            virial[5] -= 0.5 * (x * g[1] + y * g[0]);
            for (int q = 0; q < W; ++q) {
                const int place = hood.place[k + q];
                if (place < 0)
                    break; // padding ends an element's neighbors
                for (int c = 0; c < 3; ++c)
                    center.gradient[4 * place + c] += g[c][q];
            }
        }
    }
    for (int c = 0; c < 6; ++c)
        center.virial[c] = lane_sum<W>(virial[c]);
}

} // namespace
} // namespace kml

#endif
