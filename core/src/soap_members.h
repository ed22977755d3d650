/**
 * The energies of all members of a `soap` term with uncertainty, and what its sparse points leave of the prior: further
 * products of matrices with the kernel values of a group of centers.
 */
#ifndef KML_SOAP_MEMBERS_H
#define KML_SOAP_MEMBERS_H

#include "soap_kernel.h"

namespace kml {
namespace {

/** base^(ζ - 1); see lower_power(). */
R lower_of(const SoapTables& tables, R base) {
    switch (tables.power) {
    case 0:
        return lower_power<0>(tables, base);
    case 1:
        return lower_power<1>(tables, base);
    case 2:
        return lower_power<2>(tables, base);
    case 3:
        return lower_power<3>(tables, base);
    case 4:
        return lower_power<4>(tables, base);
    default:
        return lower_power<5>(tables, base);
    }
}

/**
 * Call product(point, panels, start, table) for some panels at a time from a sparse point on, with the explained rows
 * from `start` on, where others are zero: rows of a triangle are half as many as those of a square.
 */
template <class Product>
KML_INLINE void for_explained(const SoapMembers& members, long first, long rows, Product product) {
    constexpr long together = soap_member_panels * soap_panel;
    for (long point = first; point < first + rows; point += together) {
        const long here = first + rows - point < together ? first + rows - point : together;
        const long start = members.first_explained[point / together];
        if (start < members.n_sums)
            product(point, here / soap_panel, start, members.deviations + point * members.n_sums + start * soap_panel);
    }
}

/** Add some sparse points' share of the energies of all members and of the explained ones, from p·x_s. */
void add_kernel_sums(const SoapTables& tables, const Group& group, long first, long rows, const double* products,
                     const KernelSums& out) {
    const SoapMembers& members = tables.members;
    const long G = group.lanes;
    for (long s = 0; s < rows; ++s)
        for (int at = 0; at < G; at += W) {
            R base = load<W>(products + s * G + at);
            if (members.offsets)
                base += members.offsets[first + s];
            store<W>(out.powers + s * G + at, lower_of(tables, base) * base);
        }
    double* sums = out.sums + group.first * members.n_sums;
    for (long k = members.width * G; first == 0 && k < members.n_sums * G; k += W)
        store<W>(sums + k, R{});
    contract(group.lanes, members.n_sums, members.width, rows / soap_panel, members.deviations + first * members.n_sums,
             out.powers, first == 0, sums);
    for_explained(members, first, rows, [&](long point, long panels, long start, const double* table) {
        contract(group.lanes, members.n_sums, members.n_sums - start, panels, table, out.powers + (point - first) * G,
                 false, sums + start * G);
    });
}

/** Energies of all members, then explained energies, for some groups in any form; values as kernel() has it. */
void member_sums(const SoapTables& tables, const Group* groups, int n_groups, double* values, const KernelSums& out) {
    const SoapMembers& members = tables.members;
    for (long first = 0; first < members.n_rows; first += tables.block_rows) {
        const long rows = members.n_rows - first < tables.block_rows ? members.n_rows - first : tables.block_rows;
        multiply_groups(tables, groups, n_groups, members.points + first * tables.dimension, rows, values);
        for (int g = 0; g < n_groups; ++g)
            add_kernel_sums(tables, groups[g], first, rows, values + g * rows * soap_group, out);
    }
}

/** p·p of one vector of centers. */
R own_product(const SoapTables& tables, const Group& group, int at) {
    R square[4] = {};
    const double* p = group.spectrum + at;
    for (long d = 0; d < tables.dimension; d += 4)
        KML_UNROLL for (int q = 0; q < 4; ++q) {
            const R x = load<W>(p + (d + q) * group.lanes);
            square[q] += tables.multiplicity[d + q] * (x * x);
        }
    return (square[0] + square[1]) + (square[2] + square[3]);
}

/** What the sparse points leave of the prior variance of one vector of centers; below zero by rounding alone. */
R unexplained(const SoapTables& tables, const Group& group, const double* sums, int at, R own) {
    const SoapMembers& members = tables.members;
    R left = members.prior_variance * (lower_of(tables, own) * own);
    for (long r = members.width; r < members.n_sums; ++r) {
        const R energy = load<W>(sums + r * group.lanes + at);
        left -= energy * energy;
    }
    return left;
}

/** Energies of the members (n, width) and variances that are left, from the sums of all groups. */
void evaluate_members(const SoapTables& tables, const Group* groups, int n_groups, const double* all_sums,
                      const SoapMemberCall& call) {
    const SoapMembers& members = tables.members;
    for (int g = 0; g < n_groups; ++g) {
        const Group& group = groups[g];
        const double* sums = all_sums + group.first * members.n_sums;
        for (int at = 0; at < group.lanes; at += W) {
            R left = {};
            if (members.prior_variance > 0)
                left = unexplained(tables, group, sums, at, own_product(tables, group, at));
            for (int l = 0; l < W && at + l < group.n; ++l) {
                const long i = group.first + at + l;
                call.unexplained[i] = left[l] > 0 ? left[l] : 0;
                for (long s = 0; s < members.width; ++s)
                    call.energies[i * members.width + s] = sums[s * group.lanes + at + l];
            }
        }
    }
}

/**
 * Set the slopes of a group to those of Σ_s weights_s e_s + ½ factor v, with the energies e_s of the members and the
 * variance v that is left: the sum over sparse points with coefficients of each center's own.
 */
void combine_members(const SoapTables& tables, Group& group, double* values, double* sums, double* coefficients,
                     const SoapMemberCall& call) {
    const SoapMembers& members = tables.members;
    const long G = group.lanes, D = tables.dimension;
    const bool prior = members.prior_variance > 0 && call.factor != 0;
    if (prior)
        member_sums(tables, &group, 1, values, {values, sums - group.first * members.n_sums}); // the powers in place
    R own_slope[soap_group / W] = {};
    for (int at = 0; at < G; at += W) {
        Integer<W> counts = {};
        if (prior) {
            const R own = own_product(tables, group, at);
            counts = unexplained(tables, group, sums, at, own) > 0.0;
            const R slope = call.factor * members.prior_variance * tables.zeta * lower_of(tables, own);
            if (!tables.normalize) // else p·p does not change
                own_slope[at / W] = select(counts, slope, R{});
        }
        for (long s = 0; s < members.n_sums; ++s) {
            double* sum = sums + s * G + at;
            if (s < members.width)
                store<W>(sum, broadcast<W>(call.weights[s]));
            else
                store<W>(sum, prior ? select(counts, -call.factor * load<W>(sum), R{}) : R{});
        }
        store<W>(group.energy + at, R{});
    }
    for (long first = 0; first < members.n_rows; first += tables.block_rows) {
        const long rows = members.n_rows - first < tables.block_rows ? members.n_rows - first : tables.block_rows;
        multiply_groups(tables, &group, 1, members.points + first * D, rows, values);
        multiply(group.lanes, members.n_sums, members.width, rows / soap_panel,
                 members.deviations + first * members.n_sums, sums, true, coefficients);
        for_explained(members, first, rows, [&](long point, long panels, long start, const double* table) {
            multiply(group.lanes, members.n_sums, members.n_sums - start, panels, table, sums + start * G, false,
                     coefficients + (point - first) * G);
        });
        for (long s = 0; s < rows; ++s)
            for (int at = 0; at < G; at += W) {
                R base = load<W>(values + s * G + at);
                if (members.offsets)
                    base += members.offsets[first + s];
                const R weight = load<W>(coefficients + s * G + at);
                store<W>(values + s * G + at, tables.zeta * weight * lower_of(tables, base));
            }
        const double* x = members.points + first * D;
        for (long d = 0, n = entries_together(rows); d < D; d += n)
            contract(group.lanes, D, D - d < n ? D - d : n, rows / soap_panel, x + d * soap_panel, values, first == 0,
                     group.slope + d * G);
    }
    for (long d = 0; d < D && !tables.normalize && prior; ++d)
        for (int at = 0; at < G; at += W) {
            const R p = load<W>(group.spectrum + d * G + at);
            double* slope = group.slope + d * G + at;
            store<W>(slope, load<W>(slope) + tables.multiplicity[d] * (own_slope[at / W] * p));
        }
}

} // namespace
} // namespace kml

#endif
