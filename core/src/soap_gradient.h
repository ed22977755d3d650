/** The way back from density coefficients to the neighbors: gradient and virial of one center. */
#ifndef KML_SOAP_GRADIENT_H
#define KML_SOAP_GRADIENT_H

#include "soap_basis.h"

namespace kml {
namespace {

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
