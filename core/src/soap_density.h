/** Density coefficients of one center. */
#ifndef KML_SOAP_DENSITY_H
#define KML_SOAP_DENSITY_H

#include "soap_basis.h"

namespace kml {
namespace {

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

} // namespace
} // namespace kml

#endif
