/** Kernel rows of single sparse points: one center's share of their energies, forces and virials. */
#ifndef KML_SOAP_ROWS_H
#define KML_SOAP_ROWS_H

#include "soap_gradient.h"
#include "soap_kernel.h"

namespace kml {
namespace {

constexpr int jacobian_lanes = 24; // x, y, z for 8 neighbors

/** Derivatives of the density coefficients of one element by the vectors to W neighbors: (row of n, 3, W) for one l. */
KML_INLINE void density_jacobian(const SoapTables& tables, const Neighborhood& hood, int k, int l, const double* H,
                                 const ChunkMemory& memory, double* jacobian) {
    const R ux = load<W>(hood.x + k), uy = load<W>(hood.y + k), uz = load<W>(hood.z + k);
    const R inverse = load<W>(hood.inverse + k), one = broadcast<W>(1.0);
    const int rank = tables.rank[l];
    for (int m = -l; m <= l; ++m) {
        // One harmonic alone: its weight is one.
        for (int r = 0; r <= 2 * l; ++r)
            store<W>(memory.angular + r * W, R{});
        store<W>(memory.angular + (l + m) * W, one);
        AngularSums sums;
        if (l > 0)
            add_gradient(l, memory.angular, H + ((l - 1) * (l - 1) + l - 1) * soap_chunk, sums);
        const R tx = 0.5 * (sums.x1 - sums.x2) - sums.x0, ty = 0.5 * (sums.y1 + sums.y2) - sums.y0, tz = sums.z;
        const R along = tx * ux + ty * uy + tz * uz;
        const R scale = broadcast<W>(tables.scale[l * l + l + m]), value = load<W>(H + (l * l + l + m) * soap_chunk);
        const R gx = (tx - along * ux) * inverse * scale, gy = (ty - along * uy) * inverse * scale,
                gz = (tz - along * uz) * inverse * scale;
        for (int n = 0; n < rank; ++n) {
            const R f = load<W>(memory.across + (tables.first[l] + n) * W);
            const R d = load<W>(memory.across_slope + (tables.first[l] + n) * W) * value * scale;
            double* to = jacobian + ((l + m) * rank + n) * 3 * W;
            store<W>(to, f * gx + d * ux);
            store<W>(to + W, f * gy + d * uy);
            store<W>(to + 2 * W, f * gz + d * uz);
        }
    }
}

/**
 * The Jacobian of the power spectrum by W neighbors into some lanes of (dimension, 24); T is the memory for
 * Σ_m dc_mn c_mk of one l, (rank, K, 3, W).
 */
KML_INLINE void power_jacobian(const SoapTables& tables, int element, int l, const double* columns,
                               const double* jacobian, double* T, double* out, int at) {
    const int rank = tables.rank[l], C = tables.n_channels, K = rank * C;
    const double* weights = tables.species_weights + element * C;
    for (int n = 0; n < rank; ++n)
        for (int k = 0; k < K; ++k) {
            R sum[3] = {};
            for (int m = 0; m <= 2 * l; ++m) {
                const R c = broadcast<W>(columns[(tables.column[l] + long(m) * K + k) * 8]);
                for (int a = 0; a < 3; ++a)
                    sum[a] += c * load<W>(jacobian + ((m * rank + n) * 3 + a) * W);
            }
            for (int a = 0; a < 3; ++a)
                store<W>(T + ((long(n) * K + k) * 3 + a) * W, sum[a]);
        }
    const long pairs = tables.pairs ? tables.n_pairs : long(K) * (K + 1) / 2;
    for (long q = 0, k = 0, j = 0; q < pairs; ++q) {
        if (tables.pairs)
            k = tables.pairs[2 * q], j = tables.pairs[2 * q + 1];
        const double wk = weights[k / rank], wj = weights[j / rank];
        for (int a = 0; a < 3; ++a)
            store<W>(out + (tables.power_first[l] + q) * jacobian_lanes + a * 8 + at,
                     wk * load<W>(T + ((k % rank * K + j) * 3 + a) * W) +
                         wj * load<W>(T + ((j % rank * K + k) * 3 + a) * W));
        if (++j > k)
            ++k, j = 0;
    }
}

/** Kernel values of one center with all sparse points and the powers that its energy and its slope need. */
struct RowMemory {
    double *values, *kernel, *slope; // (n_rows, 8), (n_rows), (n_rows)
    double *power, *products;        // (dimension, 24), (n_rows, 24)
    double *density, *T;             // of one l
};

/** Add the lanes of one group of neighbors to the forces and virials of each sparse point. */
void scatter_rows(const SoapTables& tables, const SoapRows& rows, const RowMemory& memory, const Neighborhood& hood,
                  int k, int n, const R* along, double inverse_length, int atom, const int* atoms) {
    for (long s = 0; s < tables.n_rows; ++s) {
        double* force = rows.forces + s * rows.n_atoms * 3;
        double *virial = rows.virials + 6 * s, total[3] = {};
        const double factor = memory.slope[s] * inverse_length, value = memory.kernel[s];
        for (int at = 0; at < 8 && k + at < n; at += W) {
            R g[3];
            for (int a = 0; a < 3; ++a)
                g[a] = factor *
                       (load<W>(memory.products + s * jacobian_lanes + a * 8 + at) - value * along[a * 8 / W + at / W]);
            const R r = 1.0 / load<W>(hood.inverse + k + at);
            const R x = r * load<W>(hood.x + k + at), y = r * load<W>(hood.y + k + at),
                    z = r * load<W>(hood.z + k + at);
            virial[0] -= lane_sum<W>(x * g[0]);
            virial[1] -= lane_sum<W>(y * g[1]);
            virial[2] -= lane_sum<W>(z * g[2]);
            virial[3] -= 0.5 * lane_sum<W>(y * g[2] + z * g[1]);
            virial[4] -= 0.5 * lane_sum<W>(x * g[2] + z * g[0]);
            virial[5] -= 0.5 * lane_sum<W>(x * g[1] + y * g[0]);
            for (int q = 0; q < W; ++q) {
                const int place = hood.place[k + at + q];
                if (place < 0)
                    break;
                for (int a = 0; a < 3; ++a) {
                    force[3 * atoms[place] + a] -= g[a][q];
                    total[a] += g[a][q];
                }
            }
        }
        for (int a = 0; a < 3; ++a)
            force[3 * atom + a] += total[a];
    }
}

} // namespace
} // namespace kml

#endif
