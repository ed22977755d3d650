// Standard deviations of molecules against the formulas of docs/theory.md in long double.
#include "deviations.h"
#include "gdml_direct.h"
#include "sample.h"

using namespace kml_tests;

namespace {

Deviations deviations_of_molecule(const kml_potential& potential, const std::vector<double>& r) {
    Deviations result;
    result.forces.resize(r.size()), result.of_forces.resize(r.size());
    kml_workspace workspace;
    const kml::Failure failure = kml::molecule_std(potential, workspace, r.data(), &result.energy, result.forces.data(),
                                                   result.virial, result.of_forces.data());
    CHECK(failure.reason == kml::Failure::none, "failure %d", int(failure.reason));
    return result;
}

/** The raw variances of the energy and of the forces; that of the prior by a difference of its forces. */
struct Explained {
    const kml::GDMLTerm& term;
    int n;

    /** Energy and forces of one training point, the other geometry, with an energy coefficient of one. */
    Exact prior(const std::vector<Exact>& r, const std::vector<Exact>& other, std::vector<Exact>& forces) const {
        const std::vector<Exact> x = descriptor(term, n, other.data()), zeros(x.size(), 0);
        const Exact one = 1;
        return direct(term, n, {1, x.data(), zeros.data(), &one}, r.data(), forces);
    }

    Exact row(size_t number, const std::vector<Exact>& r, std::vector<Exact>& forces) const {
        const size_t points = term.n_explained_points, size = points * term.n_entries;
        const auto begin = term.explained_descriptor_coefficients.begin() + long(number * size);
        const std::vector<Exact> x(term.training_descriptors.begin(), term.training_descriptors.begin() + long(size)),
            u(begin, begin + long(size));
        std::vector<Exact> beta(points, 0);
        for (size_t k = 0; k < points && !term.explained_energy_coefficients.empty(); ++k)
            beta[k] = term.explained_energy_coefficients[number * points + k];
        return direct(term, n, {points, x.data(), u.data(), beta.data()}, r.data(), forces);
    }

    Exact energy(const std::vector<Exact>& r) const {
        std::vector<Exact> forces;
        Exact variance = term.prior_variance * prior(r, r, forces);
        for (size_t k = 0; k < term.n_explained; ++k) {
            const Exact e = row(k, r, forces);
            variance -= e * e;
        }
        return variance;
    }

    std::vector<Exact> forces(const std::vector<Exact>& r) const {
        const Exact h = 1e-5L;
        std::vector<Exact> result(r.size()), f, up, down, other(r);
        for (size_t k = 0; k < r.size(); ++k) {
            other[k] = r[k] + h;
            prior(r, other, up);
            other[k] = r[k] - h;
            prior(r, other, down);
            other[k] = r[k];
            result[k] = term.prior_variance * (down[k] - up[k]) / (2 * h);
        }
        for (size_t k = 0; k < term.n_explained; ++k) {
            row(k, r, f);
            for (size_t c = 0; c < r.size(); ++c)
                result[c] -= f[c] * f[c];
        }
        return result;
    }
};

void test_molecule(const Sample& sample) {
    const Bytes bytes = sample.bytes();
    const kml::WeightFile file = kml::read_weight_file(bytes.data(), bytes.size());
    const kml::Uncertainty& scales = file.uncertainty;
    const int n = int(file.species.size());
    const Explained explained{file.terms[0], n};
    Random random(3);
    std::vector<double> r;
    for (int i = 0; i < n; ++i)
        for (double x : {1.4 * (i & 1), 1.4 * (i >> 1 & 1), 0.7 * i}) // a coil
            r.push_back(x + random.uniform(-0.2, 0.2));
    const std::vector<Exact> exact(r.begin(), r.end());
    const auto deviation = [&](const std::vector<double>& at) {
        return scales.energy_scale * std::sqrt(explained.energy({at.begin(), at.end()}) +
                                               Exact(n) * scales.energy_floor * scales.energy_floor);
    };
    const Deviations found = deviations_of_molecule(*open(bytes, nullptr), r);
    CHECK(explained.energy(exact) > 0.01, "the data explain everything");
    check_close("σ_E", found.energy, double(deviation(r)), 1e-13);
    check_gradients(found, r, deviation, 1e-8);
    const std::vector<Exact> variances = explained.forces(exact);
    for (size_t k = 0; k < r.size(); ++k) {
        CHECK(variances[k] > 1e-4, "the data explain the force %zu", k);
        const double expected =
            scales.force_scale * std::sqrt(double(variances[k]) + scales.force_floor * scales.force_floor);
        check_close("σ_F", found.of_forces[k], expected, 1e-8);
    }
}

/** Where the data explain more than the prior, by rounding or in a damaged file, the floor remains, without a gradient.
 */
void test_everything_explained() {
    Sample s = uncertain_molecule();
    s.document["terms"][0]["prior_variance"] = 1e-12;
    const double floor = 1.3 * std::sqrt(4.0) * 0.01;
    const Deviations found =
        deviations_of_molecule(*open(s.bytes(), nullptr), {0, 0, 0, 1.4, 0, 0, 0, 1.5, 0, 0, 0.2, 1.3});
    check_close("σ_E", found.energy, floor, 1e-15);
    for (size_t k = 0; k < 12; ++k) {
        CHECK(found.forces[k] == 0, "the gradient of the floor");
        check_close("σ_F", found.of_forces[k], 2.0 * 0.03, 1e-15);
    }
}

} // namespace

int main() {
    for (const char* kernel : {"matern52", "matern72", "matern92", "squared_exponential"})
        test_molecule(uncertain_molecule(4, 5, 4, true, kernel, 1.0));
    test_molecule(uncertain_molecule(5, 12, 9, false, "matern52", 0.5));
    test_molecule(uncertain_molecule(3, 3, 3, true, "matern72", 2.0));
    test_everything_explained();
    return finish();
}
