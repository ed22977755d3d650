#include "kml/gdml_uncertainty.h"

#include "kml/descriptor.h"

#include <algorithm>
#include <cmath>

namespace kml {

GDMLUncertainty::GDMLUncertainty(const GDMLTerm& file, const GDML& term)
    : n_atoms(term.n_atoms), n_points(long(file.n_explained_points)), n_entries(term.n_entries),
      n_permutations(term.n_permutations), n_rows(long(file.n_explained)),
      row(long(whole_lines(size_t(n_points * (n_entries + 1))))), power(term.power), scale(term.scale),
      prior_variance(file.prior_variance), kernel(term.kernel), descriptor_weights(term.descriptor_weights),
      points(file.training_descriptors.begin(), file.training_descriptors.begin() + n_points * n_entries),
      index(term.index.begin(), term.index.end()), explained(size_t(n_rows * row), 0.0) {
    const size_t u = size_t(n_points * n_entries), b = size_t(n_points);
    for (size_t r = 0; r < size_t(n_rows); ++r) {
        double* to = explained.data() + r * size_t(row);
        std::copy_n(file.explained_descriptor_coefficients.data() + r * u, u, to);
        if (!file.explained_energy_coefficients.empty())
            std::copy_n(file.explained_energy_coefficients.data() + r * b, b, to + u);
    }
}

template <class Kernel>
static void radial_functions(double a2, double* result) {
    Real<2> a = Kernel::template exponent<2>(broadcast<2>(a2)), g0, g1, g2;
    Kernel::template evaluate<2>(a, broadcast<2>(std::exp(-a[0])), g0, g1, g2);
    result[0] = g0[0] / Kernel::norm, result[1] = g1[0] / Kernel::norm, result[2] = g2[0] / Kernel::norm;
}

GDMLUncertainty::Radial GDMLUncertainty::radial(double a2) const {
    double g[3];
    switch (kernel) {
    case RadialKernel::matern52:
        radial_functions<Matern52>(a2, g);
        break;
    case RadialKernel::matern72:
        radial_functions<Matern72>(a2, g);
        break;
    case RadialKernel::matern92:
        radial_functions<Matern92>(a2, g);
        break;
    default:
        radial_functions<SquaredExponential>(a2, g);
    }
    return {g[0], g[1], g[2]};
}

// Sums in eight parts, so that the compiler may use vectors: their order is the same everywhere.
static double dot(const double* a, const double* b, long n) {
    double sums[8] = {};
    long k = 0;
    for (; k + 8 <= n; k += 8)
        for (long q = 0; q < 8; ++q)
            sums[q] += a[k + q] * b[k + q];
    for (; k < n; ++k)
        sums[0] += a[k] * b[k];
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

static double square_distance(const double* a, const double* b, long n) {
    double sums[8] = {};
    long k = 0;
    for (; k + 8 <= n; k += 8)
        for (long q = 0; q < 8; ++q)
            sums[q] += (a[k + q] - b[k + q]) * (a[k + q] - b[k + q]);
    for (; k < n; ++k)
        sums[0] += (a[k] - b[k]) * (a[k] - b[k]);
    return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

/** The query as permutation p's inverse moves it: |π x_i - x| = |x_i - query|. */
void GDMLUncertainty::set_query(long p, const Memory& memory, double* query) const {
    for (long d = 0; d < n_entries; ++d)
        query[permuted(p)[d]] = memory.x[size_t(d)];
}

void GDMLUncertainty::prepare(const double* positions, Memory& memory) const {
    for (AlignedVector* array : {&memory.x, &memory.slope, &memory.query, &memory.gradient})
        array->resize(whole_lines(size_t(n_entries)));
    inverse_distances(n_atoms, positions, power, descriptor_weights.data(), memory.x.data(), memory.slope.data());
    memory.features.resize(size_t(row)), memory.coefficients.resize(size_t(row));
    memory.energies.resize(whole_lines(size_t(n_rows)));
}

/** What u and β are multiplied with: E_r = Σ features × row r. */
void GDMLUncertainty::set_features(Memory& memory) const {
    const long D = n_entries;
    double *of_u = memory.features.data(), *of_b = of_u + n_points * D, *query = memory.query.data();
    std::fill(memory.features.begin(), memory.features.end(), 0.0);
    for (long p = 0; p < n_permutations; ++p) {
        set_query(p, memory, query);
        for (long i = 0; i < n_points; ++i) {
            const double* point = points.data() + i * D;
            const Radial k = radial(scale * scale * square_distance(query, point, D));
            const double factor = scale * scale * k.first;
            double* to = of_u + i * D;
            for (long d = 0; d < D; ++d)
                to[d] += factor * (query[d] - point[d]);
            of_b[i] += k.f;
        }
    }
}

/** Return k(x, x); add half of its derivative by x to `gradient`, unless it is NULL. */
double GDMLUncertainty::prior(const Memory& memory, double* gradient) const {
    const long D = n_entries;
    const double* x = memory.x.data();
    std::vector<double> moved(static_cast<size_t>(D));
    double sum = 0;
    for (long p = 0; p < n_permutations; ++p) {
        const int* at = permuted(p);
        for (long d = 0; d < D; ++d)
            moved[size_t(d)] = x[at[d]];
        const Radial k = radial(scale * scale * square_distance(x, moved.data(), D));
        const double factor = 0.5 * prior_variance * scale * scale * k.first;
        sum += k.f;
        for (long d = 0; d < D && gradient; ++d) {
            const double change = factor * (x[d] - moved[size_t(d)]);
            gradient[d] -= change;
            gradient[at[d]] += change;
        }
    }
    return prior_variance * sum;
}

/** Add the derivative by x of the energy with these coefficients u, β (row,) to memory.gradient. */
void GDMLUncertainty::add_gradient(const double* coefficients, Memory& memory) const {
    const long D = n_entries;
    const double s2 = scale * scale, *of_b = coefficients + n_points * D;
    double* query = memory.query.data();
    std::vector<double> sum(static_cast<size_t>(D));
    for (long p = 0; p < n_permutations; ++p) {
        set_query(p, memory, query);
        std::fill(sum.begin(), sum.end(), 0.0);
        for (long i = 0; i < n_points; ++i) {
            const double *point = points.data() + i * D, *u = coefficients + i * D;
            const Radial k = radial(s2 * square_distance(query, point, D));
            const double h = dot(query, u, D) - dot(point, u, D);
            const double of_u = s2 * k.first, of_difference = -s2 * (s2 * k.second * h + of_b[i] * k.first);
            for (long d = 0; d < D; ++d)
                sum[size_t(d)] += of_u * u[d] + of_difference * (query[d] - point[d]);
        }
        const int* at = permuted(p);
        for (long d = 0; d < D; ++d)
            memory.gradient[size_t(d)] += sum[size_t(at[d])];
    }
}

double GDMLUncertainty::variance(const double* positions, Memory& memory, double* forces, double* virial) const {
    prepare(positions, memory);
    set_features(memory);
    std::fill(memory.gradient.begin(), memory.gradient.end(), 0.0);
    const bool slope = forces || virial;
    double result = prior(memory, slope ? memory.gradient.data() : nullptr);
    double* effective = memory.coefficients.data();
    std::fill(effective, effective + row, 0.0);
    // Each row is used for both products while it is in the cache.
    for (long r = 0; r < n_rows; ++r) {
        const double* one = explained.data() + r * row;
        const double energy = dot(one, memory.features.data(), row);
        result -= energy * energy;
        for (long k = 0; k < row && slope; ++k)
            effective[k] -= energy * one[k];
    }
    if (result <= 0) // rounding; NaN passes
        return 0;
    if (slope) {
        add_gradient(effective, memory);
        add_forces(n_atoms, positions, memory.gradient.data(), memory.slope.data(), forces, virial);
    }
    return result;
}

void GDMLUncertainty::prior_force_variance(Memory& memory, const double* positions, double* variances) const {
    const long D = n_entries, columns = 3L * n_atoms;
    const double *x = memory.x.data(), s2 = scale * scale;
    memory.jacobian.assign(size_t(columns * D), 0.0); // dx_d/dr_k, (columns, D)
    long d = 0;
    for (int i = 1; i < n_atoms; ++i)
        for (int j = 0; j < i; ++j, ++d)
            for (int a = 0; a < 3; ++a) {
                const double v = -memory.slope[size_t(d)] * (positions[3 * i + a] - positions[3 * j + a]);
                memory.jacobian[size_t((3 * i + a) * D + d)] = v;
                memory.jacobian[size_t((3 * j + a) * D + d)] = -v;
            }
    std::vector<double> difference(static_cast<size_t>(D)), moved(static_cast<size_t>(D));
    for (long p = 0; p < n_permutations; ++p) {
        const int* at = permuted(p);
        for (long e = 0; e < D; ++e)
            difference[size_t(e)] = x[e] - x[at[e]];
        double square = 0;
        for (double one : difference)
            square += one * one;
        const Radial k = radial(s2 * square);
        for (long c = 0; c < columns; ++c) {
            const double* jacobian = memory.jacobian.data() + c * D;
            for (long e = 0; e < D; ++e)
                moved[size_t(e)] = jacobian[at[e]];
            const double both = dot(jacobian, moved.data(), D), left = dot(jacobian, difference.data(), D),
                         right = dot(moved.data(), difference.data(), D);
            variances[c] += prior_variance * s2 * (k.first * both - s2 * k.second * left * right);
        }
    }
}

void GDMLUncertainty::force_variance(const double* positions, Memory& memory, double* variances) const {
    const size_t size = 3 * size_t(n_atoms);
    std::vector<double> left(size), forces(size);
    prepare(positions, memory);
    prior_force_variance(memory, positions, left.data());
    for (long r = 0; r < n_rows; ++r) {
        std::fill(memory.gradient.begin(), memory.gradient.end(), 0.0);
        std::fill(forces.begin(), forces.end(), 0.0);
        add_gradient(explained.data() + r * row, memory);
        add_forces(n_atoms, positions, memory.gradient.data(), memory.slope.data(), forces.data(), nullptr);
        for (size_t k = 0; k < size; ++k)
            left[k] -= forces[k] * forces[k];
    }
    for (size_t k = 0; k < size; ++k)
        variances[k] += std::max(left[k], 0.0);
}

} // namespace kml
