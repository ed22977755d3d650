/**
 * SoapFunctions for one instruction set.
 *
 * Each of soap_{baseline,avx2,avx512}.cpp sets the target for everything in it, before it includes anything, then
 * includes this file with KML_NAME and KML_WIDTH (see gdml_instructions.h for why).
 */
#include "soap_density.h"
#include "soap_gradient.h"
#include "soap_kernel.h"
#include "soap_members.h"
#include "soap_rows.h"

namespace kml {
namespace {

constexpr int most_groups = (soap_most_block + soap_group - 1) / soap_group + 1;

/** The memory of one block. */
struct Block {
    Neighborhood hoods[soap_most_block];
    Group groups[most_groups];
    int n_groups;
    double* coefficients; // (centers, C, n_coefficients), padded centers of all groups included
    double* columns;      // (n_columns, soap_group): dE/dc of one group
    double* values;       // (groups, block_rows, soap_group)
    ChunkMemory chunk;
};

long scratch(const SoapTables& tables, long n_centers, long n_neighbors) {
    const long lanes = round_up(n_centers, 8);
    const long hoods = n_centers * (neighborhood_size(tables, tables.n_elements) + 96) + 10 * n_neighbors;
    const long group = tables.n_columns + 2 * tables.dimension + 2;
    const long rows = tables.n_rows * 34 + 24 * tables.dimension + 64 +
                      (2 * soap_most_angular * 3 + 3 * tables.n_columns + 3 * 64) * 8 + 64;
    long widest = 0;
    for (int l = 0; l < tables.n_angular; ++l)
        widest = tables.rank[l] > widest ? tables.rank[l] : widest;
    return hoods + lanes * (tables.n_channels * tables.n_coefficients + group) + soap_group * tables.n_columns +
           (lanes + soap_group) * tables.block_rows + (lanes + soap_group) * tables.members.n_sums +
           soap_group * tables.block_rows + chunk_memory_size(tables) + rows +
           widest * widest * tables.n_channels * 3 * 8 + 1024;
}

/** Divide n centers into groups of even numbers of vectors. */
void set_groups(const SoapTables& tables, int n, Block& block, Arena& arena) {
    const int eighths = (n + 7) / 8, groups = (eighths + 2) / 3;
    block.n_groups = groups;
    for (int g = 0, first = 0; g < groups; ++g) {
        const int width = 8 * ((eighths - first / 8 + groups - g - 1) / (groups - g));
        const int count = n - first < width ? n - first : width;
        block.groups[g] = group_memory(tables, first, count, arena);
        first += width;
    }
}

/** Power spectra of all centers of a block; what the way back needs stays in the block. */
void forward(const SoapTables& tables, SoapCenter* centers, int n, Block& block, Arena& arena) {
    block.chunk = chunk_memory(tables, arena);
    for (int j = 0; j < soap_chunk; ++j) // rows are read past their end by less than a vector
        for (int q = 0; q < 8; ++q)
            block.chunk.radial[j * (tables.n_functions + 8) + tables.n_functions + q] = 0;
    const long all = tables.n_channels * tables.n_coefficients;
    block.coefficients = arena.doubles(round_up(n, 8) * all);
    block.columns = arena.doubles(tables.n_columns * soap_group);
    block.values = arena.doubles(tables.block_rows * (round_up(n, 8) + soap_group));
    set_groups(tables, n, block, arena);
    for (int i = 0; i < n; ++i) {
        block.hoods[i] = lay_out(tables, centers[i].neighbors.n, arena);
        prepare_neighbors(tables, centers[i].neighbors, block.hoods[i]);
        density(tables, centers[i].element, block.hoods[i], block.chunk, block.coefficients + i * all);
    }
    for (long k = n * all; k < round_up(n, 8) * all; k += W)
        store<W>(block.coefficients + k, R{});
    for (int g = 0; g < block.n_groups; ++g) {
        Group& group = block.groups[g];
        exchange<false>(tables, group, block.coefficients + group.first * all, group.columns);
        find_spectra(tables, group);
    }
}

/** Energies and slopes of all groups, of the term or of a sum of its members. */
void evaluate_groups(const SoapTables& tables, Block& block, Arena& arena, const SoapMemberCall* call) {
    if (!call)
        return kernel(tables, block.groups, block.n_groups, block.values);
    const Group& last = block.groups[block.n_groups - 1];
    double* sums = arena.doubles(tables.members.n_sums * (last.first + last.lanes));
    double* rows = arena.doubles(tables.block_rows * soap_group);
    if (call->weights) {
        for (int g = 0; g < block.n_groups; ++g)
            combine_members(tables, block.groups[g], block.values, sums, rows, *call);
        return;
    }
    const KernelSums out = {rows, sums};
    const bool sum = tables.form == SoapForm::sum;
    kernel(tables, block.groups, block.n_groups, block.values, sum ? &out : nullptr);
    if (!sum)
        member_sums(tables, block.groups, block.n_groups, block.values, out);
    evaluate_members(tables, block.groups, block.n_groups, sums, *call);
}

void evaluate(const SoapTables& tables, SoapCenter* centers, int n, double* scratch, const SoapMemberCall* call) {
    Block block;
    Arena arena = {scratch};
    forward(tables, centers, n, block, arena);
    evaluate_groups(tables, block, arena, call);
    const long all = tables.n_channels * tables.n_coefficients;
    for (int g = 0; g < block.n_groups; ++g) {
        Group& group = block.groups[g];
        for (int i = 0; i < group.n; ++i)
            centers[group.first + i].energy = group.energy[i];
        if (!centers->gradient)
            continue;
        normalize_slope(tables, group);
        power_back(tables, group, block.columns);
        exchange<true>(tables, group, block.coefficients + group.first * all, block.columns);
        for (int i = group.first; i < group.first + group.n; ++i)
            pull_back(tables, block.hoods[i], block.coefficients + i * all, block.chunk, centers[i]);
    }
}

void spectra(const SoapTables& tables, SoapCenter* centers, int n, double* scratch, double* out) {
    Block block;
    Arena arena = {scratch};
    forward(tables, centers, n, block, arena);
    for (int g = 0; g < block.n_groups; ++g) {
        const Group& group = block.groups[g];
        for (int i = 0; i < group.n; ++i)
            for (long d = 0; d < tables.dimension; ++d)
                out[(group.first + i) * tables.dimension + d] = group.spectrum[d * group.lanes + i];
    }
}

/** Kernel values of the block's one center: energies, and what the slopes need. */
void row_values(const SoapTables& tables, const Group& group, const SoapRows& rows, RowMemory& memory) {
    multiply(8, tables.dimension, tables.dimension, tables.n_rows / soap_panel, tables.panels, group.spectrum, true,
             memory.values);
    for (long s = 0; s < tables.n_rows; s += W) {
        R value;
        KML_UNROLL for (int q = 0; q < W; ++q) value[q] = memory.values[(s + q) * 8];
        store<W>(memory.kernel + s, value);
        R base = value;
        if (tables.offsets)
            base += load<W>(tables.offsets + s);
        R lower;
        switch (tables.power) {
        case 0:
            lower = lower_power<0>(tables, base);
            break;
        case 1:
            lower = lower_power<1>(tables, base);
            break;
        default:
            lower = lower_power<5>(tables, base);
        }
        store<W>(memory.slope + s, tables.zeta * lower);
        const R energy = lower * base;
        KML_UNROLL for (int q = 0; q < W; ++q) rows.energies[s + q] += energy[q];
    }
}

void rows(const SoapTables& tables, SoapCenter& center, int atom, const int* atoms, const SoapRows& rows,
          double* scratch) {
    Block block;
    Arena arena = {scratch};
    forward(tables, &center, 1, block, arena);
    const Group& group = block.groups[0];
    int widest = 0;
    for (int l = 0; l < tables.n_angular; ++l)
        widest = tables.rank[l] > widest ? tables.rank[l] : widest;
    RowMemory memory;
    memory.values = arena.doubles(tables.n_rows * 8);
    memory.kernel = arena.doubles(tables.n_rows), memory.slope = arena.doubles(tables.n_rows);
    memory.power = arena.doubles(tables.dimension * jacobian_lanes);
    memory.products = arena.doubles(tables.n_rows * jacobian_lanes);
    memory.density = arena.doubles((2 * tables.n_angular - 1) * long(widest) * 3 * W);
    memory.T = arena.doubles(long(widest) * widest * tables.n_channels * 3 * W);
    row_values(tables, group, rows, memory);
    if (!rows.forces || (tables.normalize && group.inverse[0] == 0))
        return;
    const Neighborhood& hood = block.hoods[0];
    for (int element = 0; element < tables.n_elements; ++element)
        for (int k = hood.begin[element]; k < hood.begin[element + 1]; k += 8) {
            const int end = hood.begin[element + 1] < k + 8 ? hood.begin[element + 1] : k + 8;
            for (long d = 0; d < tables.dimension * jacobian_lanes; d += W)
                store<W>(memory.power + d, R{});
            R along[3 * 8 / W] = {};
            for (int at = 0; k + at < end; at += W) {
                harmonics_of(tables, hood, k + at, W, block.chunk.harmonics);
                radial_rows<true>(tables, hood, k + at, 0, block.chunk);
                turn(block.chunk.radial, tables.n_functions + 8, tables.n_functions, block.chunk.across);
                turn(block.chunk.slope, tables.n_functions, tables.n_functions, block.chunk.across_slope);
                for (int l = 0; l < tables.n_angular; ++l) {
                    density_jacobian(tables, hood, k + at, l, block.chunk.harmonics, block.chunk, memory.density);
                    power_jacobian(tables, element, l, group.columns, memory.density, memory.T, memory.power, at);
                }
                if (tables.normalize)
                    for (long d = 0; d < tables.dimension; ++d) {
                        const double p = tables.multiplicity[d] * group.spectrum[d * 8];
                        for (int a = 0; a < 3; ++a)
                            along[a * 8 / W + at / W] += p * load<W>(memory.power + d * jacobian_lanes + a * 8 + at);
                    }
            }
            multiply(jacobian_lanes, tables.dimension, tables.dimension, tables.n_rows / soap_panel, tables.panels,
                     memory.power, true, memory.products);
            scatter_rows(tables, rows, memory, hood, k, end, along, group.inverse[0], atom, atoms);
        }
}

void contract_all(int G, long dimension, long panels, const double* x, const double* a, double* g) {
    contract(G, dimension, dimension, panels, x, a, true, g);
}

} // namespace

#define KML_JOIN(a, b) a##b
#define KML_FUNCTIONS(name) KML_JOIN(soap_functions_, name)

extern const SoapFunctions KML_FUNCTIONS(KML_NAME);
const SoapFunctions KML_FUNCTIONS(KML_NAME) = {evaluate, spectra, rows, contract_all, scratch};

} // namespace kml
