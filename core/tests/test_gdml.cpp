// Every instruction set against the formulas of docs/theory.md, written as scalar loops in long double.
#include "check.h"
#include "kml/gdml.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

using namespace kml;
using kml_tests::Random;

typedef long double Exact;

struct Model {
    int n;
    GDMLTerm term;
};

static Model random_model(int n, size_t n_train, size_t n_permutations, RadialKernel kernel, double power,
                          bool energies, uint64_t seed) {
    Random random(seed);
    Model m;
    m.n = n;
    GDMLTerm& t = m.term;
    t.power = power, t.kernel = kernel, t.length_scale = 1.7, t.energy_offset = -2.0;
    t.n_train = n_train, t.n_entries = size_t(n * (n - 1) / 2), t.n_permutations = n_permutations;
    t.descriptor_weights.assign(t.n_entries, 0.8);
    t.training_descriptors.resize(n_train * t.n_entries);
    t.descriptor_coefficients.resize(n_train * t.n_entries);
    for (double& x : t.training_descriptors)
        x = random.uniform(0.3, 0.9);
    for (double& u : t.descriptor_coefficients)
        u = random.uniform(-1, 1);
    if (energies) {
        t.energy_coefficients.resize(n_train);
        for (double& b : t.energy_coefficients)
            b = random.uniform(-1, 1);
    }
    std::vector<int32_t> row(static_cast<size_t>(n));
    for (int i = 0; i < n; ++i)
        row[size_t(i)] = i;
    for (size_t p = 0; p < n_permutations; ++p) { // rotations: a group when n_permutations divides n
        t.permutations.insert(t.permutations.end(), row.begin(), row.end());
        std::rotate(row.begin(), row.begin() + n / int(n_permutations), row.end());
    }
    return m;
}

static Exact radial(RadialKernel kernel, Exact a, int derivative) {
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

/** E and the forces by the definition: over training points, permutations, descriptor entries. */
static Exact direct(const Model& m, const double* r, std::vector<Exact>& forces) {
    const GDMLTerm& t = m.term;
    const size_t D = t.n_entries;
    const Exact nu2[] = {5, 7, 9, 1};
    const Exact s = std::sqrt(nu2[int(t.kernel)]) / Exact(t.length_scale);
    std::vector<Exact> q(D), gradient(D, 0), u(D), x(D);
    size_t d = 0;
    for (int i = 1; i < m.n; ++i)
        for (int j = 0; j < i; ++j, ++d) {
            Exact r2 = 0;
            for (int k = 0; k < 3; ++k)
                r2 += (Exact(r[3 * i + k]) - r[3 * j + k]) * (Exact(r[3 * i + k]) - r[3 * j + k]);
            q[d] = t.descriptor_weights[d] * std::pow(r2, -Exact(t.power) / 2);
        }
    Exact energy = t.energy_offset;
    for (size_t p = 0; p < t.n_permutations; ++p)
        for (size_t k = 0; k < t.n_train; ++k) {
            const int32_t* perm = t.permutations.data() + p * size_t(m.n);
            Exact a2 = 0, h = 0;
            d = 0;
            for (int i = 1; i < m.n; ++i)
                for (int j = 0; j < i; ++j, ++d) {
                    const int b = std::max(perm[i], perm[j]), c = std::min(perm[i], perm[j]);
                    const size_t from = k * D + size_t(b * (b - 1) / 2 + c);
                    x[d] = t.training_descriptors[from], u[d] = t.descriptor_coefficients[from];
                    a2 += s * s * (q[d] - x[d]) * (q[d] - x[d]);
                    h += s * s * (q[d] - x[d]) * u[d];
                }
            const Exact a = std::sqrt(a2);
            const Exact f0 = radial(t.kernel, a, 0), f1 = radial(t.kernel, a, 1), f2 = radial(t.kernel, a, 2);
            const Exact beta = t.energy_coefficients.empty() ? 0.0 : t.energy_coefficients[k];
            energy += f1 * h + beta * f0;
            for (d = 0; d < D; ++d)
                gradient[d] += f1 * s * s * u[d] - (f2 * h + beta * f1) * s * s * (q[d] - x[d]);
        }
    forces.assign(size_t(3 * m.n), 0);
    d = 0;
    for (int i = 1; i < m.n; ++i)
        for (int j = 0; j < i; ++j, ++d) {
            Exact r2 = 0;
            for (int k = 0; k < 3; ++k)
                r2 += (Exact(r[3 * i + k]) - r[3 * j + k]) * (Exact(r[3 * i + k]) - r[3 * j + k]);
            for (int k = 0; k < 3; ++k) {
                const Exact f = gradient[d] * t.power * q[d] / r2 * (Exact(r[3 * i + k]) - r[3 * j + k]);
                forces[size_t(3 * i + k)] += f;
                forces[size_t(3 * j + k)] -= f;
            }
        }
    return energy;
}

static void check(const char* name, const Model& m, long geometries, const char* label) {
    const GDML gdml(m.term, m.n, instruction_set(name));
    Random random(5);
    std::vector<double> r(size_t(geometries * 3 * m.n));
    for (long g = 0; g < geometries; ++g)
        for (int i = 0; i < m.n; ++i)
            for (int k = 0; k < 3; ++k)
                r[size_t((g * m.n + i) * 3 + k)] =
                    1.5 * ((i >> k) & 1) + (k == 0 ? 3.0 * (i / 8) : 0) + random.uniform(-0.2, 0.2);
    AlignedVector shared(gdml.shared_size(geometries)), own(gdml.thread_size(geometries));
    std::vector<double> e(static_cast<size_t>(geometries)), f(r.size()), v(size_t(9 * geometries));
    const Failure failure = gdml.begin(geometries, r.data(), shared.data());
    CHECK(failure.reason == Failure::none, "%s %s", name, label);
    gdml.clear(geometries, own.data());
    for (long p = 0; p < gdml.n_panels; p += gdml.block_panels)
        gdml.block(geometries, p, std::min(gdml.block_panels, gdml.n_panels - p), shared.data(), own.data());
    gdml.finish(geometries, r.data(), own.data(), shared.data(), e.data(), f.data(), v.data());
    for (long g = 0; g < geometries; ++g) {
        std::vector<Exact> exact;
        const Exact energy = direct(m, r.data() + g * 3 * m.n, exact);
        // Rounding grows with the number of terms; their size is some 1, times N P.
        const Exact tolerance = 2e-14L * Exact(m.term.n_train * m.term.n_permutations);
        CHECK(std::fabs(e[size_t(g)] - energy) < tolerance, "%s %s: energy %.17g, expected %.17Lg", name, label,
              e[size_t(g)], energy);
        Exact largest = 0, off = 0, trace = 0;
        for (int k = 0; k < 3 * m.n; ++k) {
            off = std::max(off, std::fabs(f[size_t(g * 3 * m.n + k)] - exact[size_t(k)]));
            largest = std::max(largest, std::fabs(exact[size_t(k)]));
            trace += exact[size_t(k)] * r[size_t(g * 3 * m.n + k)];
        }
        CHECK(largest > 1e-3, "%s %s: forces vanish", name, label);
        CHECK(off < tolerance, "%s %s: forces differ by %Lg", name, label, off);
        const double* vg = v.data() + 9 * g;
        CHECK(std::fabs(vg[0] + vg[4] + vg[8] - trace) < 20 * tolerance, "%s %s: trace of the virial", name, label);
    }
}

int main() {
    const RadialKernel kernels[] = {RadialKernel::matern52, RadialKernel::matern72, RadialKernel::matern92,
                                    RadialKernel::squared_exponential};
    for (const char* name : {"baseline", "avx2", "avx512"}) {
        if (!instruction_set(name)) {
            std::printf("%s: not on this processor, not tested\n", name);
            continue;
        }
        for (RadialKernel kernel : kernels)
            for (bool energies : {false, true})
                check(name, random_model(6, 21, 3, kernel, 0.5, energies, 11), 1, "kernels");
        for (double power : {0.25, 0.5, 0.9, 1.0, 2.0, 3.0})
            check(name, random_model(5, 9, 5, RadialKernel::matern52, power, true, 3), 1, "powers");
        for (int n : {2, 3, 4, 5, 7, 12})
            for (size_t n_train : {1, 7, 8, 9, 40, 400})
                check(name, random_model(n, n_train, 1, RadialKernel::matern52, 1.0, false, 17), 1, "sizes");
        for (long geometries = 1; geometries <= 26; ++geometries) // every number of rows in a group
            check(name, random_model(5, 35, 1, RadialKernel::matern92, 1.0, true, 23), geometries, "rows");
        check(name, random_model(12, 50, 12, RadialKernel::matern72, 1.0, true, 29), 5, "stacked symmetry");
    }
    return kml_tests::finish();
}
