#include "kml/gdml.h"
#include "kml/descriptor.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace kml {

// --- instruction sets, chosen at run time

const InstructionSet* instruction_set(const char* name) {
    const bool any = !name || !*name;
#if defined(__x86_64__)
    if ((any || !std::strcmp(name, "avx512")) && __builtin_cpu_supports("avx512f") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &instructions_avx512;
    if ((any || !std::strcmp(name, "avx2")) && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &instructions_avx2;
#endif
    return any || !std::strcmp(name, "baseline") ? &instructions_baseline : nullptr;
}

// --- preparation

static void kernel_constants(RadialKernel kernel, double& norm, double& two_nu) {
    switch (kernel) {
    case RadialKernel::matern52:
        norm = Matern52::norm, two_nu = Matern52::two_nu;
        return;
    case RadialKernel::matern72:
        norm = Matern72::norm, two_nu = Matern72::two_nu;
        return;
    case RadialKernel::matern92:
        norm = Matern92::norm, two_nu = Matern92::two_nu;
        return;
    default:
        norm = SquaredExponential::norm, two_nu = SquaredExponential::two_nu;
    }
}

// Panels of one block: its two passes should find the panels in the second-level cache, and the weights of a group of
// rows in the first. Half or twice as much is 5 % slower.
static long panels_of_block(long entries) {
    const long bytes = entries * panel_stride * long(sizeof(double));
    return std::clamp(400000 / bytes, 4L, 24L);
}

GDML::GDML(const GDMLTerm& term, int n_atoms_, const InstructionSet* instructions_)
    : n_atoms(n_atoms_), n_train(long(term.n_train)), n_entries(long(term.n_entries)),
      n_permutations(long(term.n_permutations)),
      entries((n_entries + entry_multiple - 1) / entry_multiple * entry_multiple),
      n_panels((n_train + panel_points - 1) / panel_points), block_panels(panels_of_block(entries)), power(term.power),
      energy_offset(term.energy_offset), kernel(term.kernel), has_energies(!term.energy_coefficients.empty()),
      descriptor_weights(term.descriptor_weights), instructions(instructions_) {
    double norm, two_nu;
    kernel_constants(kernel, norm, two_nu);
    scale = std::sqrt(two_nu) / term.length_scale;
    set_index(term);
    set_mean(term);
    set_panels(term);
}

// (π x)_d = x_{index(π[i], π[j])}
void GDML::set_index(const GDMLTerm& term) {
    index.resize(size_t(n_permutations) * size_t(n_entries));
    size_t k = 0;
    for (long p = 0; p < n_permutations; ++p) {
        const int32_t* perm = term.permutations.data() + size_t(p) * size_t(n_atoms);
        for (int i = 1; i < n_atoms; ++i)
            for (int j = 0; j < i; ++j) {
                const int64_t a = std::max(perm[i], perm[j]), b = std::min(perm[i], perm[j]);
                index[k++] = int32_t(a * (a - 1) / 2 + b);
            }
    }
}

// The mean of the training descriptors, averaged over each orbit of entries under the permutations: subtracting it
// commutes with them to the last bit.
void GDML::set_mean(const GDMLTerm& term) {
    const size_t D = size_t(n_entries);
    std::vector<int32_t> orbit(D);
    std::iota(orbit.begin(), orbit.end(), 0);
    auto root = [&](int32_t d) {
        while (orbit[d] != d)
            d = orbit[d] = orbit[orbit[d]];
        return d;
    };
    for (size_t k = 0; k < index.size(); ++k)
        orbit[root(int32_t(k % D))] = root(index[k]);
    std::vector<double> sum(D), count(D);
    for (long t = 0; t < n_train; ++t)
        for (size_t d = 0; d < D; ++d)
            sum[root(int32_t(d))] += term.training_descriptors[size_t(t) * D + d];
    for (size_t d = 0; d < D; ++d)
        count[root(int32_t(d))] += double(n_train);
    mean.resize(D);
    for (size_t d = 0; d < D; ++d)
        mean[d] = sum[root(int32_t(d))] / count[root(int32_t(d))];
}

void GDML::set_panels(const GDMLTerm& term) {
    double norm, two_nu;
    kernel_constants(kernel, norm, two_nu);
    panels.assign(size_t(n_panels) * size_t(entries) * panel_stride, 0.0);
    constants.assign(size_t(n_panels) * panel_constants, 0.0);
    const size_t D = size_t(n_entries);
    for (size_t t = 0; t < size_t(n_train); ++t) {
        const size_t p = t / panel_points, lane = t % panel_points;
        double* panel = panels.data() + p * size_t(entries) * panel_stride + lane;
        long double xx = 0, xu = 0; // summed once, kept to the last digit
        for (size_t d = 0; d < D; ++d) {
            const double x = scale * (term.training_descriptors[t * D + d] - mean[d]);
            const double u = term.descriptor_coefficients[t * D + d] * (scale / norm);
            panel[d * panel_stride] = x;
            panel[d * panel_stride + panel_points] = u;
            xx += (long double)x * x;
            xu += (long double)x * u;
        }
        double* known = constants.data() + p * panel_constants + lane;
        known[0] = double(xx);
        known[panel_points] = double(xu);
        if (has_energies)
            known[2 * panel_points] = term.energy_coefficients[t] / norm;
    }
}

// --- evaluation. Query rows r = (geometry, permutation) form groups of at most max_rows, as even as possible.

namespace {

struct Groups {
    long rows, count;
    Groups(long rows_, long most) : rows(rows_), count((rows_ + most - 1) / most) {}
    long first(long k) const { return rows * k / count; }
};

/** Places in the shared scratch memory. */
struct Shared {
    double *x, *slope, *centered, *gradient, *norms, *Q;
    Shared(const GDML& m, long geometries, double* memory) {
        const size_t each = whole_lines(size_t(geometries) * size_t(m.n_entries));
        x = memory;
        slope = x + each;
        centered = slope + each;
        gradient = centered + each;
        norms = gradient + each;
        Q = norms + whole_lines(size_t(geometries));
    }
};

/** Places in the scratch memory of one thread: F (rows, entries), sums (rows, 2), and the weights of a group. */
struct Own {
    double *F, *sums, *W;
    Own(const GDML& m, long geometries, double* memory) {
        const size_t rows = size_t(geometries) * size_t(m.n_permutations);
        F = memory;
        sums = F + whole_lines(rows * size_t(m.entries));
        W = sums + whole_lines(2 * rows);
    }
};

} // namespace

long GDML::stack() const { return std::max(1L, 48 / n_permutations); }

size_t GDML::shared_size(long geometries) const {
    const size_t g = size_t(geometries);
    return 4 * whole_lines(g * size_t(n_entries)) + whole_lines(g) +
           whole_lines(g * size_t(n_permutations) * size_t(entries));
}

size_t GDML::thread_size(long geometries) const {
    const size_t rows = size_t(geometries) * size_t(n_permutations);
    return whole_lines(rows * size_t(entries)) + whole_lines(2 * rows) +
           size_t(instructions->max_rows) * size_t(block_panels) * panel_stride;
}

static Failure coincidence(int n_atoms, const double* positions, long geometry, long entry) {
    Failure failure;
    failure.reason = Failure::coincident;
    failure.geometry = geometry;
    long d = 0;
    for (int i = 1; i < n_atoms; ++i)
        for (int j = 0; j < i; ++j, ++d)
            if (d == entry) {
                failure.i = i, failure.j = j;
                failure.distance =
                    std::hypot(positions[3 * i] - positions[3 * j], positions[3 * i + 1] - positions[3 * j + 1],
                               positions[3 * i + 2] - positions[3 * j + 2]);
            }
    return failure;
}

Failure GDML::begin(long geometries, const double* positions, double* memory) const {
    const Shared shared(*this, geometries, memory);
    const long D = n_entries, P = n_permutations;
    for (long g = 0; g < geometries; ++g) {
        const double* r = positions + g * 3 * n_atoms;
        for (int k = 0; k < 3 * n_atoms; ++k)
            if (!std::isfinite(r[k])) {
                Failure failure;
                failure.reason = Failure::not_finite;
                failure.geometry = g;
                failure.i = k / 3;
                return failure;
            }
        double* x = shared.x + g * D;
        const long bad = inverse_distances(n_atoms, r, power, descriptor_weights.data(), x, shared.slope + g * D);
        if (bad >= 0)
            return coincidence(n_atoms, r, g, bad);
        double* centered = shared.centered + g * D;
        double norm = 0;
        for (long d = 0; d < D; ++d) {
            centered[d] = scale * (x[d] - mean[d]);
            norm += centered[d] * centered[d];
        }
        shared.norms[g] = norm; // the same for all permutations
    }
    // Row (g, π) is π⁻¹ applied to the query: |q - π x| = |π⁻¹ q - x|.
    const Groups groups(geometries * P, instructions->max_rows);
    for (long k = 0; k < groups.count; ++k) {
        const long first = groups.first(k), m = groups.first(k + 1) - first;
        double* Q = shared.Q + first * entries;
        for (long d = D * m; d < entries * m; ++d)
            Q[d] = 0.0;
        for (long r = 0; r < m; ++r) {
            const double* centered = shared.centered + (first + r) / P * D;
            const int32_t* at = index.data() + (first + r) % P * D;
            for (long d = 0; d < D; ++d)
                Q[at[d] * m + r] = centered[d];
        }
    }
    return Failure();
}

void GDML::clear(long geometries, double* memory) const {
    const Own own(*this, geometries, memory);
    std::fill(own.F, own.W, 0.0);
}

void GDML::block(long geometries, long panel, long count, const double* shared_memory, double* memory) const {
    const Shared shared(*this, geometries, const_cast<double*>(shared_memory));
    const Own own(*this, geometries, memory);
    const BlockShape shape = {count, entries};
    const double* x = panels.data() + panel * entries * panel_stride;
    const double* known = constants.data() + panel * panel_constants;
    const auto weigh = instructions->weigh[int(kernel)][has_energies];
    const Groups groups(geometries * n_permutations, instructions->max_rows);
    for (long k = 0; k < groups.count; ++k) {
        const long first = groups.first(k);
        const int m = int(groups.first(k + 1) - first);
        instructions->multiply(shape, x, m, shared.Q + first * entries, own.W);
        for (int r = 0; r < m; ++r)
            weigh(shape, known, shared.norms[(first + r) / n_permutations], m, own.W + r * panel_stride,
                  own.sums + 2 * (first + r));
        instructions->contract(shape, x, m, own.W, own.F + first * entries);
    }
}

void GDML::gather(long geometries, const double* other_memory, double* memory) const {
    const Own own(*this, geometries, memory);
    for (long k = 0; k < own.W - own.F; ++k)
        memory[k] += other_memory[k];
}

void GDML::finish(long geometries, const double* positions, const double* own_memory, double* shared_memory,
                  double* energies, double* forces, double* virials) const {
    const Shared shared(*this, geometries, shared_memory);
    const Own own(*this, geometries, const_cast<double*>(own_memory));
    const long D = n_entries, P = n_permutations;
    for (long g = 0; g < geometries; ++g) {
        double energy = 0, sum = 0;
        for (long p = 0; p < P; ++p) {
            energy += own.sums[2 * (g * P + p)];
            sum += own.sums[2 * (g * P + p) + 1];
        }
        energies[g] += energy_offset + energy;
        if (!forces && !virials)
            continue;
        double* gradient = shared.gradient + g * D; // dE/dx
        const double* centered = shared.centered + g * D;
        for (long d = 0; d < D; ++d)
            gradient[d] = -sum * centered[d];
        for (long p = 0; p < P; ++p) {
            const double* F = own.F + (g * P + p) * entries;
            const int32_t* at = index.data() + p * D;
            for (long d = 0; d < D; ++d)
                gradient[d] += F[at[d]];
        }
        for (long d = 0; d < D; ++d)
            gradient[d] *= scale;
        add_forces(n_atoms, positions + g * 3 * n_atoms, gradient, shared.slope + g * D,
                   forces ? forces + g * 3 * n_atoms : nullptr, virials ? virials + g * 9 : nullptr);
    }
}

} // namespace kml
