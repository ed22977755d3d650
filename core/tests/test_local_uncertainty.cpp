// Standard deviations of local terms: a dimer by hand, and clusters by models that have single members for
// coefficients.
#include "deviations.h"
#include "local_driver.h"
#include "sample.h"

using namespace kml_tests;

namespace {

struct Cluster {
    std::vector<double> r;
    std::vector<int> numbers;

    kml::Structure structure() const { return {long(numbers.size()), r.data(), numbers.data(), nullptr, nullptr}; }
};

Deviations deviations_of_cluster(const kml_potential& potential, const Cluster& cluster) {
    const kml::LocalModel& model = potential.local;
    const size_t n = cluster.numbers.size();
    kml::LocalEvaluation evaluation;
    Deviations result;
    result.forces.resize(3 * n), result.of_forces.resize(3 * n), result.atoms.resize(n);
    double* f = result.forces.data();
    CHECK(begin(evaluation, model, cluster.structure(), true).reason == kml::Failure::none, "begin");
    CHECK(evaluate(evaluation, model, f).reason == kml::Failure::none, "the mean");
    evaluation.finish_members(model, &result.energy, result.atoms.data());
    for (int s = 0; s < model.members.n_members; ++s) {
        CHECK(evaluation.begin_member(model, s).reason == kml::Failure::none, "member %d", s);
        CHECK(evaluate(evaluation, model, f).reason == kml::Failure::none, "member %d", s);
        for (size_t k = 0; k < 3 * n; ++k)
            result.of_forces[k] += f[k] * f[k];
    }
    const double scale = model.members.force_scale, floor = model.members.force_floor;
    for (double& x : result.of_forces)
        x = scale * std::sqrt(x + floor * floor);
    // Members leave their coefficients behind, so that the gradient starts from the mean again.
    CHECK(begin(evaluation, model, cluster.structure(), true).reason == kml::Failure::none, "begin again");
    CHECK(evaluate(evaluation, model, f).reason == kml::Failure::none, "the mean");
    double energy;
    evaluation.finish_members(model, &energy, nullptr);
    CHECK(energy == result.energy, "the same digits");
    CHECK(evaluation.begin_gradient(model).reason == kml::Failure::none, "the gradient");
    CHECK(evaluate(evaluation, model, f).reason == kml::Failure::none, "the gradient");
    evaluation.finish(&energy, result.virial, nullptr);
    return result;
}

/** Energies of atoms, and forces, of a model without uncertainty. */
std::vector<double> atomic_energies(const kml::WeightFile& file, const Cluster& cluster, std::vector<double>& forces) {
    const kml::LocalModel model(file, "baseline");
    std::vector<double> atoms(cluster.numbers.size());
    double energy;
    kml::LocalEvaluation evaluation;
    forces.resize(cluster.r.size());
    CHECK(begin(evaluation, model, cluster.structure(), false).reason == kml::Failure::none, "begin");
    CHECK(evaluate(evaluation, model, forces.data()).reason == kml::Failure::none, "evaluate");
    evaluation.finish(&energy, nullptr, atoms.data());
    return atoms;
}

std::vector<double> row(const std::vector<double>& table, size_t number, size_t size) {
    const auto begin = table.begin() + long(number * size);
    return {begin, begin + long(size)};
}

/** The model whose coefficients are one member's deviations. */
kml::WeightFile member(const kml::WeightFile& file, size_t number) {
    kml::WeightFile one;
    one.elements = file.elements;
    const std::vector<double> energies = row(file.uncertainty.atom_energies, number, file.elements.size());
    for (size_t k = 0; k < energies.size(); ++k)
        one.atom_energies[file.elements[k]] = energies[k];
    const auto exchange = [&](auto terms) {
        for (auto& term : terms) {
            term.coefficients = row(term.deviations, number, term.coefficients.size());
            term.deviations.clear();
        }
        return terms;
    };
    one.spline2 = exchange(file.spline2), one.spline3 = exchange(file.spline3), one.soap = exchange(file.soap);
    for (kml::SoapTerm& term : one.soap)
        term.explained.clear(), term.n_explained = 0;
    return one;
}

/** Raw variances: of each atom's energy; of the total and of the forces on request. */
struct Variances {
    double energy = 0;
    std::vector<double> atoms, forces;
};

Variances variances(const kml::WeightFile& file, const Cluster& cluster) {
    const size_t n = cluster.numbers.size();
    Variances result;
    result.atoms.resize(n), result.forces.resize(3 * n);
    std::vector<double> f;
    for (size_t s = 0; s < file.uncertainty.members; ++s) {
        const std::vector<double> e = atomic_energies(member(file, s), cluster, f);
        double sum = 0;
        for (size_t i = 0; i < n; ++i)
            sum += e[i], result.atoms[i] += e[i] * e[i];
        result.energy += sum * sum;
        for (size_t k = 0; k < 3 * n; ++k)
            result.forces[k] += f[k] * f[k];
    }
    for (const kml::SoapTerm& term :
         file.soap) { // normalized: the prior variance of an environment is that of the file
        std::vector<double> left(n);
        for (size_t i = 0; i < n; ++i)
            left[i] = term.centers[cluster.numbers[i] == 14] ? term.prior_variance : 0;
        for (size_t k = 0; k < term.n_explained; ++k) {
            kml::WeightFile one;
            one.elements = file.elements;
            one.soap = {term};
            one.soap[0].coefficients = row(term.explained, k, size_t(term.n_sparse));
            one.soap[0].deviations.clear(), one.soap[0].explained.clear(), one.soap[0].n_explained = 0;
            const std::vector<double> e = atomic_energies(one, cluster, f);
            for (size_t i = 0; i < n; ++i)
                left[i] -= e[i] * e[i];
        }
        for (size_t i = 0; i < n; ++i) {
            const bool center = left[i] != 0;
            CHECK(!center || (left[i] > 0.1 * term.prior_variance && left[i] < 0.95 * term.prior_variance),
                  "the sparse points explain little or all of atom %zu", i);
            result.atoms[i] += left[i], result.energy += left[i];
        }
    }
    return result;
}

void test_local(const char* isa) {
    const Bytes bytes = uncertain_local().bytes();
    const kml::WeightFile file = kml::read_weight_file(bytes.data(), bytes.size());
    const kml::Uncertainty& scales = file.uncertainty;
    const Cluster cluster = {{0, 0, 0, 1.7, 0.2, -0.1, 0.3, 2.1, 0.4, 1.9, 1.8, 1.2, -0.9, 1.2, 1.9},
                             {8, 14, 14, 8, 8}};
    const auto deviation = [&](const std::vector<double>& r) {
        return scales.energy_scale *
               std::sqrt(variances(file, {r, cluster.numbers}).energy + 5 * scales.energy_floor * scales.energy_floor);
    };
    const Deviations found = deviations_of_cluster(*open(bytes, isa), cluster);
    const Variances expected = variances(file, cluster);
    check_close("σ_E", found.energy, deviation(cluster.r), 1e-11);
    for (size_t i = 0; i < 5; ++i)
        check_close("σ_i", found.atoms[i],
                    scales.atom_scale * std::sqrt(expected.atoms[i] + scales.atom_floor * scales.atom_floor), 1e-11);
    for (size_t k = 0; k < 15; ++k)
        check_close("σ_F", found.of_forces[k],
                    scales.force_scale * std::sqrt(expected.forces[k] + scales.force_floor * scales.force_floor),
                    1e-11);
    check_gradients(found, cluster.r, deviation, 1e-8);
}

/** Two atoms at the knot r0 + h of pair functions: f = (c_1 + 4 c_2 + c_3)/6 and f' = (c_3 - c_1)/(2 h). */
void test_dimer(const char* isa) {
    Sample s;
    s.metadata = {{"format", "openmm-kml"}, {"format_version", "1"}};
    s.document = {{"units", {{"energy", "eV"}, {"length", "Angstrom"}}},
                  {"elements", {8, 14}},
                  {"atom_energies", json::object()},
                  {"provenance", json::object()},
                  {"uncertainty", calibration(2)}};
    for (const char* name : {"energy_floor", "atom_floor", "force_floor"})
        s.document["uncertainty"][name] = 0;
    s.document["terms"] = json::array({{{"kind", "spline2"}, {"start", 1.0}, {"cutoff", 3.5}}}); // h = 0.5
    s.add("terms.0.coefficients", "F64", {3, 5}, std::vector<double>(15, 2.0));
    std::vector<double> deviations(30);
    const double first[5] = {9, -0.6, 1.5, 0.6, 7}, second[5] = {-8, 0.3, -0.75, -0.3, 5};
    std::copy(first, first + 5, &deviations[5]); // of the pair O-Si, the second of three
    std::copy(second, second + 5, &deviations[15 + 5]);
    s.add("terms.0.deviations", "F64", {2, 3, 5}, deviations);
    s.add("uncertainty.atom_energies", "F64", {2, 2}, std::vector<double>{0.2, 0.3, 0.1, -0.4});
    // f = 1 and -1/2; E_s = 0.2 + 0.3 + 1 = 3/2 and 0.1 - 0.4 - 1/2 = -4/5; f' = 6/5 and -3/5 eV/Å
    const Deviations found = deviations_of_cluster(*open(s.bytes(), isa), {{0, 0, 0, 0, 1.5, 0}, {8, 14}});
    check_close("σ_E", found.energy, 1.3 * 1.7, 1e-14);
    check_close("σ_i of O", found.atoms[0], 0.9 * std::sqrt(0.7 * 0.7 + 0.15 * 0.15), 1e-14);
    check_close("σ_i of Si", found.atoms[1], 0.9 * std::sqrt(0.8 * 0.8 + 0.65 * 0.65), 1e-14);
    const double slope = 1.3 * (1.5 * 1.2 + 0.8 * 0.6) / 1.7;
    for (size_t k = 0; k < 6; ++k) {
        check_close("-dσ/dr", found.forces[k], k == 1 ? slope : k == 4 ? -slope : 0, 1e-14);
        check_close("σ_F", found.of_forces[k], k % 3 == 1 ? 2.0 * std::sqrt(1.2 * 1.2 + 0.6 * 0.6) : 0, 1e-14);
    }
    check_close("-dσ/dstrain", found.virial[4], -1.5 * slope, 1e-14);
}

} // namespace

int main() {
    for (const char* isa : {"baseline", "avx2", "avx512"})
        if (kml::instruction_set(isa)) {
            test_local(isa);
            test_dimer(isa);
        }
    return finish();
}
