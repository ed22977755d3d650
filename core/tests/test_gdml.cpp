// Every instruction set against the formulas of docs/theory.md, written as scalar loops in long double.
#include "check.h"
#include "gdml_direct.h"
#include "kml/gdml.h"

#include <algorithm>
#include <string>

using namespace kml;
using namespace kml_tests;

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
        const Exact energy = direct(m.term, m.n, r.data() + g * 3 * m.n, exact);
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
