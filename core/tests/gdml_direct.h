/** A `gdml` term by the formulas of docs/theory.md, written as scalar loops in long double. */
#ifndef KML_TESTS_GDML_DIRECT_H
#define KML_TESTS_GDML_DIRECT_H

#include "kml/weight_file.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace kml_tests {

using kml::GDMLTerm;
using kml::RadialKernel;

typedef long double Exact;

inline Exact radial(RadialKernel kernel, Exact a, int derivative) {
    const Exact e = std::exp(kernel == RadialKernel::squared_exponential ? -a * a / 2 : -a);
    const Exact g[5] = {e, (1 + a) * e, (3 + 3 * a + a * a) * e, (15 + 15 * a + 6 * a * a + a * a * a) * e,
                        (105 + 105 * a + 45 * a * a + 10 * a * a * a + a * a * a * a) * e};
    switch (kernel) {
    case RadialKernel::matern52:
        return g[2 - derivative] / 3;
    case RadialKernel::matern72:
        return g[3 - derivative] / 15;
    case RadialKernel::matern92:
        return g[4 - derivative] / 105;
    default:
        return e;
    }
}

/** The descriptor of a geometry: pairs i > j, row by row. */
inline std::vector<Exact> descriptor(const GDMLTerm& t, int n, const Exact* r) {
    std::vector<Exact> q;
    for (int i = 1; i < n; ++i)
        for (int j = 0; j < i; ++j) {
            Exact r2 = 0;
            for (int k = 0; k < 3; ++k)
                r2 += (r[3 * i + k] - r[3 * j + k]) * (r[3 * i + k] - r[3 * j + k]);
            q.push_back(t.descriptor_weights[q.size()] * std::pow(r2, -Exact(t.power) / 2));
        }
    return q;
}

/** Coefficients that the term is evaluated with: `points` of its training points, or others. */
struct Coefficients {
    size_t n_points;
    const Exact *points, *u; // (n_points, D)
    const Exact* beta;       // (n_points,)
};

/** E without the offset and the forces, by the definition: over points, permutations, descriptor entries. */
inline Exact direct(const GDMLTerm& t, int n, const Coefficients& given, const Exact* r, std::vector<Exact>& forces) {
    const size_t D = t.n_entries;
    const Exact nu2[] = {5, 7, 9, 1};
    const Exact s = std::sqrt(nu2[int(t.kernel)]) / Exact(t.length_scale);
    const std::vector<Exact> q = descriptor(t, n, r);
    std::vector<Exact> gradient(D, 0), u(D), x(D);
    Exact energy = 0;
    for (size_t p = 0; p < t.n_permutations; ++p)
        for (size_t k = 0; k < given.n_points; ++k) {
            const int32_t* perm = t.permutations.data() + p * size_t(n);
            Exact a2 = 0, h = 0;
            size_t d = 0;
            for (int i = 1; i < n; ++i)
                for (int j = 0; j < i; ++j, ++d) {
                    const int b = std::max(perm[i], perm[j]), c = std::min(perm[i], perm[j]);
                    const size_t from = k * D + size_t(b * (b - 1) / 2 + c);
                    x[d] = given.points[from], u[d] = given.u[from];
                    a2 += s * s * (q[d] - x[d]) * (q[d] - x[d]);
                    h += s * s * (q[d] - x[d]) * u[d];
                }
            const Exact a = std::sqrt(a2);
            const Exact f0 = radial(t.kernel, a, 0), f1 = radial(t.kernel, a, 1), f2 = radial(t.kernel, a, 2);
            const Exact beta = given.beta[k];
            energy += f1 * h + beta * f0;
            for (d = 0; d < D; ++d)
                gradient[d] += f1 * s * s * u[d] - (f2 * h + beta * f1) * s * s * (q[d] - x[d]);
        }
    forces.assign(size_t(3 * n), 0);
    size_t d = 0;
    for (int i = 1; i < n; ++i)
        for (int j = 0; j < i; ++j, ++d) {
            Exact r2 = 0;
            for (int k = 0; k < 3; ++k)
                r2 += (r[3 * i + k] - r[3 * j + k]) * (r[3 * i + k] - r[3 * j + k]);
            for (int k = 0; k < 3; ++k) {
                const Exact f = gradient[d] * t.power * q[d] / r2 * (r[3 * i + k] - r[3 * j + k]);
                forces[size_t(3 * i + k)] += f;
                forces[size_t(3 * j + k)] -= f;
            }
        }
    return energy;
}

/** E and the forces of the term itself. */
inline Exact direct(const GDMLTerm& t, int n, const double* positions, std::vector<Exact>& forces) {
    const std::vector<Exact> r(positions, positions + 3 * n),
        x(t.training_descriptors.begin(), t.training_descriptors.end()),
        u(t.descriptor_coefficients.begin(), t.descriptor_coefficients.end());
    std::vector<Exact> beta(t.energy_coefficients.begin(), t.energy_coefficients.end());
    beta.resize(t.n_train, 0);
    return t.energy_offset + direct(t, n, {t.n_train, x.data(), u.data(), beta.data()}, r.data(), forces);
}

} // namespace kml_tests

#endif
