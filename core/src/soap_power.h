/** From density coefficients to the power spectrum and back, with lanes over the centers of a group. */
#ifndef KML_SOAP_POWER_H
#define KML_SOAP_POWER_H

#include "soap_neighbors.h"

namespace kml {
namespace {

/** Arrays of one group of centers; G lanes are 8, 16 or 24. */
struct Group {
    int first, n, lanes;
    double* columns;  // (n_columns, G): density coefficients
    double* spectrum; // (dimension, G): normalized power spectrum, without √2
    double* slope;    // (dimension, G): dE/dp, then dE/dP with the diagonal twice
    double* inverse;  // (G): 1/|P|, zero where |P| = 0; one without normalization
    double* energy;   // (G)
};

Group group_memory(const SoapTables& tables, int first, int n, Arena& arena) {
    Group group;
    group.first = first, group.n = n, group.lanes = int(round_up(n, 8));
    group.columns = arena.doubles(tables.n_columns * group.lanes);
    group.spectrum = arena.doubles(tables.dimension * group.lanes);
    group.slope = arena.doubles(tables.dimension * group.lanes);
    group.inverse = arena.doubles(group.lanes);
    group.energy = arena.doubles(group.lanes);
    return group;
}

/**
 * Exchange lanes: density coefficients of each center (C, n_coefficients) to or from the columns of a group. Both ways
 * they are multiplied by the normalization of the harmonics.
 */
template <bool Back>
KML_INLINE void exchange(const SoapTables& tables, const Group& group, double* coefficients, double* columns) {
    const long all = tables.n_coefficients * tables.n_channels, G = group.lanes;
    for (int at = 0; at < group.lanes; at += W) {
        double* own = coefficients + at * all;
        for (int channel = 0; channel < tables.n_channels; ++channel, own += tables.n_coefficients)
            for (int l = 0; l < tables.n_angular; ++l) {
                const int rank = tables.rank[l], K = rank * tables.n_channels;
                for (int lm = l * l; lm < (l + 1) * (l + 1); ++lm) {
                    double* column = columns + (tables.column[l] + long(lm - l * l) * K + channel * rank) * G + at;
                    double* row = own + tables.row[lm];
                    const R scale = broadcast<W>(tables.scale[lm]);
                    for (int v = 0; v < rank; v += W) {
                        const int count = rank - v < W ? rank - v : W;
                        R t[W];
                        if constexpr (Back) {
                            KML_UNROLL for (int q = 0; q < W; ++q) t[q] =
                                q < count ? load<W>(column + (v + q) * G) * scale : R{};
                            transpose<W>(t);
                            KML_UNROLL for (int q = 0; q < W; ++q) store<W>(row + q * all + v, t[q]);
                        } else {
                            KML_UNROLL for (int q = 0; q < W; ++q) t[q] = load<W>(row + q * all + v);
                            transpose<W>(t);
                            KML_UNROLL for (int q = 0; q < W; ++q) if (q < count)
                                store<W>(column + (v + q) * G, scale * t[q]);
                        }
                    }
                }
            }
    }
}

/** p[k (k + 1)/2 + k'] = Σ_m c_k c_k' for I x J pairs (k, k') from (k0, j0) on, one vector of centers. */
template <int I, int J>
KML_INLINE void power_tile(const double* c, long G, int K, int rows, int k0, int j0, double* p) {
    R sums[I][J];
    KML_UNROLL for (int i = 0; i < I; ++i) KML_UNROLL for (int j = 0; j < J; ++j) sums[i][j] = R{};
    for (int m = 0; m < rows; ++m, c += K * G) {
        R a[I];
        KML_UNROLL for (int i = 0; i < I; ++i) a[i] = load<W>(c + (k0 + i) * G);
        KML_UNROLL for (int j = 0; j < J; ++j) {
            const R b = load<W>(c + (j0 + j) * G);
            KML_UNROLL for (int i = 0; i < I; ++i) sums[i][j] += a[i] * b;
        }
    }
    KML_UNROLL for (int i = 0; i < I; ++i) KML_UNROLL for (int j = 0; j < J; ++j) {
        const long k = k0 + i;
        if (j0 + j <= k)
            store<W>(p + (k * (k + 1) / 2 + j0 + j) * G, sums[i][j]);
    }
}

template <int I>
KML_INLINE void power_rows(const double* c, long G, int K, int rows, int k0, double* p) {
    constexpr int tile = W == 8 ? 4 : W == 4 ? 3 : 2;
    int j = 0;
    for (; j + tile <= k0 + I; j += tile)
        power_tile<I, tile>(c, G, K, rows, k0, j, p);
    for (; j < k0 + I; ++j)
        power_tile<I, 1>(c, G, K, rows, k0, j, p);
}

/** The power spectrum of one vector of centers, not normalized; pointers are to its lanes. */
void power_spectrum(const SoapTables& tables, const double* columns, long G, double* spectrum) {
    constexpr int tile = W == 8 ? 4 : W == 4 ? 3 : 2;
    for (int l = 0; l < tables.n_angular; ++l) {
        const int K = tables.rank[l] * tables.n_channels, rows = 2 * l + 1;
        const double* c = columns + long(tables.column[l]) * G;
        double* p = spectrum + long(tables.power_first[l]) * G;
        if (tables.pairs) {
            for (int q = 0; q < tables.n_pairs && K; ++q) {
                const double *a = c + tables.pairs[2 * q] * G, *b = c + tables.pairs[2 * q + 1] * G;
                R sum = {};
                for (int m = 0; m < rows; ++m)
                    sum += load<W>(a + m * K * G) * load<W>(b + m * K * G);
                store<W>(p + q * G, sum);
            }
            continue;
        }
        int k = 0;
        for (; k + tile <= K; k += tile)
            power_rows<tile>(c, G, K, rows, k, p);
        for (; k < K; ++k)
            power_rows<1>(c, G, K, rows, k, p);
    }
}

/** Power spectra of a group from its columns. */
void find_spectra(const SoapTables& tables, Group& group) {
    const long G = group.lanes, D = tables.dimension;
    for (long d = tables.dimension - 8; d < D; ++d)
        for (int at = 0; at < G; at += W)
            store<W>(group.spectrum + d * G + at, R{});
    for (int at = 0; at < G; at += W) {
        double* p = group.spectrum + at;
        power_spectrum(tables, group.columns + at, G, p);
        R inverse = broadcast<W>(1.0);
        if (tables.normalize) {
            R square[4] = {};
            for (long d = 0; d < D; d += 4)
                KML_UNROLL for (int q = 0; q < 4; ++q) {
                    const R x = load<W>(p + (d + q) * G);
                    square[q] += tables.multiplicity[d + q] * (x * x);
                }
            const R all = (square[0] + square[1]) + (square[2] + square[3]);
            inverse = select(all > 0.0, 1.0 / square_root<W>(all), R{});
            for (long d = 0; d < D; ++d)
                store<W>(p + d * G, load<W>(p + d * G) * inverse);
        }
        store<W>(group.inverse + at, inverse);
    }
}

/** dE/dP, its diagonal twice, from dE/dp in group.slope. */
void normalize_slope(const SoapTables& tables, Group& group) {
    const long G = group.lanes, D = tables.dimension;
    for (int at = 0; at < G; at += W) {
        double *g = group.slope + at, *p = group.spectrum + at;
        const R inverse = load<W>(group.inverse + at);
        R along = {};
        if (tables.normalize) {
            R sum[4] = {};
            for (long d = 0; d < D; d += 4)
                KML_UNROLL for (int q = 0; q < 4; ++q) sum[q] += load<W>(g + (d + q) * G) * load<W>(p + (d + q) * G);
            along = (sum[0] + sum[1]) + (sum[2] + sum[3]);
        }
        for (long d = 0; d < D; ++d) {
            const double w = tables.multiplicity[d];
            const R slope = (load<W>(g + d * G) - w * along * load<W>(p + d * G)) * inverse;
            store<W>(g + d * G, w == 1 ? 2.0 * slope : slope);
        }
    }
}

/** Number of the pair (k, k') in the lower triangle. */
KML_INLINE long pair_place(long k, long j) { return k > j ? k * (k + 1) / 2 + j : j * (j + 1) / 2 + k; }

/** to[m][k] = Σ_j h_kj from[m][j] for I values of k and M of m, one vector of centers. */
template <int I, int M>
KML_INLINE void back_tile(const double* h, const double* from, long G, int K, int k0, int m0, double* to) {
    R sums[I][M];
    KML_UNROLL for (int i = 0; i < I; ++i) KML_UNROLL for (int m = 0; m < M; ++m) sums[i][m] = R{};
    for (int j = 0; j < K; ++j) {
        R c[M];
        KML_UNROLL for (int m = 0; m < M; ++m) c[m] = load<W>(from + (long(m0 + m) * K + j) * G);
        KML_UNROLL for (int i = 0; i < I; ++i) {
            const R w = load<W>(h + pair_place(k0 + i, j) * G);
            KML_UNROLL for (int m = 0; m < M; ++m) sums[i][m] += w * c[m];
        }
    }
    KML_UNROLL for (int i = 0; i < I; ++i) KML_UNROLL for (int m = 0; m < M; ++m)
        store<W>(to + (long(m0 + m) * K + k0 + i) * G, sums[i][m]);
}

template <int I>
KML_INLINE void back_rows_of(const double* h, const double* from, long G, int K, int rows, int k0, double* to) {
    int m = 0;
    for (; m + 3 <= rows; m += 3)
        back_tile<I, 3>(h, from, G, K, k0, m, to);
    for (; m < rows; ++m)
        back_tile<I, 1>(h, from, G, K, k0, m, to);
}

/** dE/dc in columns (n_columns, G) from dE/dP in group.slope. */
void power_back(const SoapTables& tables, const Group& group, double* columns) {
    constexpr int tile = W == 2 ? 2 : 3;
    const long G = group.lanes;
    for (int at = 0; at < G; at += W)
        for (int l = 0; l < tables.n_angular; ++l) {
            const int K = tables.rank[l] * tables.n_channels, rows = 2 * l + 1;
            const double* c = group.columns + long(tables.column[l]) * G + at;
            const double* h = group.slope + long(tables.power_first[l]) * G + at;
            double* to = columns + long(tables.column[l]) * G + at;
            if (tables.pairs) {
                for (long k = 0; k < long(K) * rows; ++k)
                    store<W>(to + k * G, R{});
                for (int q = 0; q < tables.n_pairs && K; ++q) {
                    const long a = tables.pairs[2 * q] * G, b = tables.pairs[2 * q + 1] * G;
                    const R w = load<W>(h + q * G);
                    for (long m = 0; m < long(rows) * K * G; m += K * G) {
                        store<W>(to + m + a, load<W>(to + m + a) + w * load<W>(c + m + b));
                        if (a != b)
                            store<W>(to + m + b, load<W>(to + m + b) + w * load<W>(c + m + a));
                    }
                }
                continue;
            }
            int k = 0;
            for (; k + tile <= K; k += tile)
                back_rows_of<tile>(h, c, G, K, rows, k, to);
            for (; k < K; ++k)
                back_rows_of<1>(h, c, G, K, rows, k, to);
        }
}

} // namespace
} // namespace kml

#endif
