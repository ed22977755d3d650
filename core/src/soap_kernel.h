/** The energy of power spectra and its derivative, as products of matrices with lanes over the centers of a group. */
#ifndef KML_SOAP_KERNEL_H
#define KML_SOAP_KERNEL_H

#include "soap_power.h"

#include "kml/power.h"

namespace kml {
namespace {

/** Sums for some rows (or entries) and V vectors of centers, in registers. */
template <int V>
struct Tile {
    static constexpr int rows = W == 8 ? 8 : 4;
    R sums[rows][V];

    /** Begin with what stands in `from`, G numbers a row, or with zero. */
    KML_INLINE Tile(const double* from, long G, bool zero) {
        KML_UNROLL for (int s = 0; s < rows; ++s) KML_UNROLL for (int v = 0; v < V; ++v) sums[s][v] =
            zero ? R{} : load<W>(from + s * G + v * W);
    }
    /** Row s += x[s * step] c. */
    KML_INLINE void add(const double* x, int step, const double* c) {
        R factor[V];
        KML_UNROLL for (int v = 0; v < V; ++v) factor[v] = load<W>(c + v * W);
        KML_UNROLL for (int s = 0; s < rows; ++s) {
            const R w = broadcast<W>(x[s * step]);
            KML_UNROLL for (int v = 0; v < V; ++v) sums[s][v] += w * factor[v];
        }
    }
    KML_INLINE void keep(double* to, long G) const {
        KML_UNROLL for (int s = 0; s < rows; ++s) KML_UNROLL for (int v = 0; v < V; ++v)
            store<W>(to + s * G + v * W, sums[s][v]);
    }
};

/** out[row] += Σ_d x[d][row] p[d] for a tile of rows and V vectors of centers; `first` sets instead. */
template <int V>
KML_INLINE void multiply_tile(long n, const double* x, const double* p, long G, bool first, double* out) {
    Tile<V> tile(out, G, first);
    for (long d = 0; d < n; ++d, x += soap_panel, p += G)
        tile.add(x, 1, p);
    tile.keep(out, G);
}

/** out (rows, G) += x p for the rows of some panels and n entries; x and p begin with the first of them. */
template <int G>
KML_INLINE void multiply_group(long dimension, long n, long panels, const double* x, const double* p, bool first,
                               double* out) {
    constexpr int vectors = G / W, V = vectors % 3 == 0 ? 3 : vectors % 2 == 0 ? 2 : 1;
    constexpr long depth = 256; // entries of the power spectrum whose rows stay in the first cache
    for (long d = 0; d < n; d += depth) {
        const long here = n - d < depth ? n - d : depth;
        for (long panel = 0; panel < panels; ++panel)
            for (int at = 0; at < G; at += V * W)
                for (int s = 0; s < soap_panel; s += Tile<V>::rows)
                    multiply_tile<V>(here, x + (panel * dimension + d) * soap_panel + s, p + d * G + at, G,
                                     first && d == 0, out + (panel * soap_panel + s) * G + at);
    }
}

void multiply(int G, long dimension, long n, long panels, const double* x, const double* p, bool first, double* out) {
    if (G == 24)
        multiply_group<24>(dimension, n, panels, x, p, first, out);
    else if (G == 16)
        multiply_group<16>(dimension, n, panels, x, p, first, out);
    else
        multiply_group<8>(dimension, n, panels, x, p, first, out);
}

/** g[d] += Σ_rows x[row][d] a[row] for a tile of entries d and V vectors of centers. */
template <int V>
KML_INLINE void contract_tile(long panels, long stride, const double* x, const double* a, long G, bool first,
                              double* g) {
    Tile<V> tile(g, G, first);
    for (long panel = 0; panel < panels; ++panel, x += stride, a += soap_panel * G)
        KML_UNROLL for (int s = 0; s < soap_panel; ++s) tile.add(x + s, soap_panel, a + s * G);
    tile.keep(g, G);
}

/** g (n, G) += xᵀ a for the rows of some panels and n entries; x and g begin with the first of them. */
template <int G>
KML_INLINE void contract_group(long dimension, long n, long panels, const double* x, const double* a, bool first,
                               double* g) {
    constexpr int vectors = G / W, V = vectors % 3 == 0 ? 3 : vectors % 2 == 0 ? 2 : 1;
    for (long d = 0; d < n; d += Tile<V>::rows)
        for (int at = 0; at < G; at += V * W)
            contract_tile<V>(panels, dimension * soap_panel, x + d * soap_panel, a + at, G, first, g + d * G + at);
}

void contract(int G, long dimension, long n, long panels, const double* x, const double* a, bool first, double* g) {
    if (G == 24)
        contract_group<24>(dimension, n, panels, x, a, first, g);
    else if (G == 16)
        contract_group<16>(dimension, n, panels, x, a, first, g);
    else
        contract_group<8>(dimension, n, panels, x, a, first, g);
}

/** base^ζ as slope times base: returns base^(ζ - 1), zero where ζ is no integer and base is not positive. */
template <int Power>
KML_INLINE R lower_power(const SoapTables& tables, R base) {
    if constexpr (Power == 1)
        return broadcast<W>(1.0);
    else if constexpr (Power == 2)
        return base;
    else if constexpr (Power == 3)
        return base * base;
    else if constexpr (Power == 4)
        return base * base * base;
    else if constexpr (Power > 4) { // any integer, by squaring
        R result = broadcast<W>(1.0), factor = base;
        for (int n = tables.power - 1; n; n /= 2) {
            if (n % 2)
                result = result * factor;
            factor = factor * factor;
        }
        return result;
    } else {
        return raise<W>(base, tables.zeta - 1);
    }
}

/** In place: p·x_s to the derivative of the energy by it; adds to the energies. */
template <int Power>
KML_INLINE void weigh(const SoapTables& tables, const Group& group, long first, long rows, double* values) {
    const long G = group.lanes;
    for (int at = 0; at < G; at += W) {
        R energy = load<W>(group.energy + at);
        for (long s = 0; s < rows; ++s) {
            R base = load<W>(values + s * G + at);
            if (tables.offsets)
                base += tables.offsets[first + s];
            const R slope = tables.coefficients[first + s] * lower_power<Power>(tables, base);
            energy += slope * base;
            store<W>(values + s * G + at, tables.zeta * slope);
        }
        store<W>(group.energy + at, energy);
    }
}

void weigh_rows(const SoapTables& tables, const Group& group, long first, long rows, double* values) {
    switch (tables.power) {
    case 0:
        return weigh<0>(tables, group, first, rows, values);
    case 1:
        return weigh<1>(tables, group, first, rows, values);
    case 2:
        return weigh<2>(tables, group, first, rows, values);
    case 3:
        return weigh<3>(tables, group, first, rows, values);
    case 4:
        return weigh<4>(tables, group, first, rows, values);
    default:
        return weigh<5>(tables, group, first, rows, values);
    }
}

/** Entries of the power spectrum whose part of `rows` sparse points stays in the second cache. */
KML_INLINE long entries_together(long rows) { return round_up((1 << 16) / rows, soap_panel); }

/** values (rows, G) of each group, rows · soap_group apart, = p·x for the rows x of some panels. */
void multiply_groups(const SoapTables& tables, const Group* groups, int n_groups, const double* x, long rows,
                     double* values) {
    const long D = tables.dimension, together = entries_together(rows);
    for (long d = 0; d < D; d += together)
        for (int g = 0; g < n_groups; ++g)
            multiply(groups[g].lanes, D, D - d < together ? D - d : together, rows / soap_panel, x + d * soap_panel,
                     groups[g].spectrum + d * groups[g].lanes, d == 0, values + g * rows * soap_group);
}

/** Energies of a polynomial form of degree one or two; sets the slopes to dE/dp. */
void polynomial(const SoapTables& tables, Group* groups, int n_groups) {
    const long D = tables.dimension;
    for (long first = 0; first < tables.n_rows; first += tables.block_rows) {
        const long rows = tables.n_rows - first < tables.block_rows ? tables.n_rows - first : tables.block_rows;
        for (long d = 0, n = entries_together(rows); d < D; d += n)
            for (int g = 0; g < n_groups; ++g) {
                const long G = groups[g].lanes;
                multiply(groups[g].lanes, D, D - d < n ? D - d : n, rows / soap_panel,
                         tables.panels + first * D + d * soap_panel, groups[g].spectrum + d * G, d == 0,
                         groups[g].slope + first * G);
            }
    }
    for (int g = 0; g < n_groups; ++g)
        for (int at = 0; at < groups[g].lanes; at += W) {
            R energy = broadcast<W>(tables.constant);
            for (long d = 0; d < D; ++d) {
                const long place = d * groups[g].lanes + at;
                const R linear = broadcast<W>(tables.linear[d]);
                const R half = tables.form == SoapForm::quadratic ? load<W>(groups[g].slope + place) : R{};
                energy += (half + linear) * load<W>(groups[g].spectrum + place);
                store<W>(groups[g].slope + place, half + half + linear);
            }
            store<W>(groups[g].energy + at, energy);
        }
}

/** What else is made of the kernel values of a form that sums over sparse points; see soap_members.h. */
struct KernelSums {
    double* powers; // (block_rows, soap_group)
    double* sums;   // (n_sums, G) of each group, one after the other
};
void add_kernel_sums(const SoapTables& tables, const Group& group, long first, long rows, const double* products,
                     const KernelSums& out);

/**
 * Energies of some groups and dE/dp in their slopes.
 *
 * @param values  has room for block_rows sparse points of each group
 * @param out     NULL, or for a form that sums over sparse points what its members need
 */
void kernel(const SoapTables& tables, Group* groups, int n_groups, double* values, const KernelSums* out = nullptr) {
    if (tables.form != SoapForm::sum)
        return polynomial(tables, groups, n_groups);
    const long D = tables.dimension;
    for (int g = 0; g < n_groups; ++g)
        for (int at = 0; at < groups[g].lanes; at += W)
            store<W>(groups[g].energy + at, R{});
    for (long first = 0; first < tables.n_rows; first += tables.block_rows) {
        const long rows = tables.n_rows - first < tables.block_rows ? tables.n_rows - first : tables.block_rows;
        const long together = entries_together(rows), room = rows * soap_group;
        const double* x = tables.panels + first * D;
        multiply_groups(tables, groups, n_groups, x, rows, values);
        for (int g = 0; g < n_groups && out; ++g)
            add_kernel_sums(tables, groups[g], first, rows, values + g * room, *out);
        for (int g = 0; g < n_groups; ++g)
            weigh_rows(tables, groups[g], first, rows, values + g * room);
        for (long d = 0; d < D; d += together)
            for (int g = 0; g < n_groups; ++g)
                contract(groups[g].lanes, D, D - d < together ? D - d : together, rows / soap_panel, x + d * soap_panel,
                         values + g * room, first == 0, groups[g].slope + d * groups[g].lanes);
    }
}

} // namespace
} // namespace kml

#endif
