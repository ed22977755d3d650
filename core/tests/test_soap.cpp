// The `soap` term on every instruction set: blocks against single centers, gradients against differences, polynomial
// forms against the sum over sparse points, and limits.
#include "kml/soap.h"

#include "check.h"
#include "kml/instruction_set.h"
#include "kml/soap_batch.h"

#include <cmath>
#include <string>

using namespace kml;
using kml_tests::Random;

namespace {

/** What a random term has; two elements. */
struct Options {
    const char* name;
    long channels = 2, radial = 4, angular = 4, sparse = 5;
    double zeta = 4, exponent = 0, central = 1;
    bool normalize = true, diagonal = false, offsets = false, one_hot = true;
};

SoapTerm random_term(const Options& options) {
    Random random(17);
    SoapTerm term;
    term.cutoff = 4.0, term.cutoff_width = 0.7, term.atom_sigma = 0.6, term.zeta = options.zeta;
    term.decay_exponent = options.exponent, term.decay_scale = 2.0, term.decay_rate = 0.7;
    term.normalize = options.normalize, term.diagonal_radial = options.diagonal;
    term.n_channels = options.channels, term.n_radial = options.radial, term.n_nodes = options.radial + 1;
    term.n_angular = options.angular, term.n_sparse = options.sparse;
    const long C = options.channels, N = options.radial, K = C * N;
    term.dimension = options.angular * (options.diagonal ? N * C * (C + 1) / 2 : K * (K + 1) / 2);
    const auto fill = [&](std::vector<double>& values, long count, double low, double high) {
        for (long k = 0; k < count; ++k)
            values.push_back(random.uniform(low, high));
    };
    term.centers = {1, 1};
    for (long k = 0; k < 2 * C; ++k) {
        const double hot = k / C == k % C || C == 1;
        term.species_weights.push_back(options.one_hot ? hot : random.uniform(-1, 1));
        term.central_weights.push_back(options.central * hot);
    }
    for (long l = 0; l < options.angular; ++l)
        term.angular_weights.push_back(1 / std::sqrt(2.0 * double(l) + 1));
    for (long a = 0; a < term.n_nodes; ++a)
        term.radial_nodes.push_back(1.1 * double(a));
    fill(term.radial_transforms, options.angular * term.n_nodes * N, -1, 1);
    fill(term.central_radial, N, -1, 1);
    fill(term.sparse_points, term.n_sparse * term.dimension, -0.1, 0.2);
    fill(term.coefficients, term.n_sparse, -3, 3);
    if (options.offsets)
        fill(term.sparse_offsets, term.n_sparse, 0.2, 0.6);
    return term;
}

/** Random environments; some neighbors are beyond the cutoff. */
struct Environments {
    std::vector<AlignedVector> vectors, gradients;
    std::vector<std::vector<int>> elements;
    std::vector<SoapCenter> centers;

    Environments(Random& random, const std::vector<int>& counts) {
        for (int n : counts) {
            const size_t room = whole_lines(size_t(n) + 1);
            AlignedVector v(4 * room);
            std::vector<int> element(room);
            for (size_t k = 0; k < size_t(n); ++k) {
                double square = 0;
                while (square < 0.5 || square > 20) {
                    square = 0;
                    for (size_t c = 0; c < 3; ++c) {
                        v[c * room + k] = random.uniform(-4.5, 4.5);
                        square += v[c * room + k] * v[c * room + k];
                    }
                }
                v[3 * room + k] = square;
                element[k] = int(random.below(2));
            }
            vectors.push_back(v);
            gradients.emplace_back(4 * room);
            elements.push_back(element);
        }
        for (size_t i = 0; i < counts.size(); ++i) {
            const size_t room = vectors[i].size() / 4;
            double* v = vectors[i].data();
            centers.push_back({int(random.below(2)),
                               {counts[i], v, v + room, v + 2 * room, v + 3 * room, elements[i].data()},
                               gradients[i].data(),
                               0,
                               {}});
        }
    }

    void evaluate(const Soap& soap, size_t first, size_t n) {
        long neighbors = 0;
        for (size_t i = first; i < first + n; ++i) {
            neighbors += centers[i].neighbors.n;
            gradients[i].assign(gradients[i].size(), 0.0);
            centers[i].gradient = gradients[i].data();
        }
        AlignedVector scratch(soap.scratch(long(n), neighbors));
        soap.evaluate(centers.data() + first, int(n), scratch.data());
    }

    /** Move one neighbor along one axis. */
    void move(size_t i, size_t k, size_t axis, double step) {
        const size_t room = vectors[i].size() / 4;
        double square = 0;
        vectors[i][axis * room + k] += step;
        for (size_t c = 0; c < 3; ++c)
            square += vectors[i][c * room + k] * vectors[i][c * room + k];
        vectors[i][3 * room + k] = square;
    }
};

void test_differences(const Soap& soap, Environments& sample, size_t i, const char* name) {
    sample.evaluate(soap, i, 1);
    const AlignedVector gradient = sample.gradients[i];
    for (size_t k = 0; k < size_t(sample.centers[i].neighbors.n); ++k)
        for (size_t axis = 0; axis < 3; ++axis) {
            const double h = 1e-4;
            double difference = 0;
            for (int sign : {-1, 1}) {
                sample.move(i, k, axis, sign * h);
                sample.evaluate(soap, i, 1);
                difference += sign * sample.centers[i].energy / (2 * h);
                sample.move(i, k, axis, -sign * h);
            }
            CHECK(std::fabs(difference - gradient[4 * k + axis]) < 2e-6 * (1 + std::fabs(difference)),
                  "%s: slope %g, difference %g", name, gradient[4 * k + axis], difference);
        }
}

void test_options(const Options& options) {
    const SoapTerm term = random_term(options);
    std::vector<double> energies;
    for (const char* isa : {"baseline", "avx2", "avx512"}) {
        if (!instruction_set(isa))
            continue;
        const Soap soap(term, isa);
        Random random(3);
        Environments sample(random, {3, 0, 1, 17, 40, 2, 9, 8, 7, 16, 33, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5});
        test_differences(soap, sample, 3, options.name);
        std::vector<double> alone;
        for (size_t i = 0; i < sample.centers.size(); ++i) {
            sample.evaluate(soap, i, 1);
            alone.push_back(sample.centers[i].energy);
        }
        const AlignedVector gradient = sample.gradients[4];
        for (size_t n : {size_t(2), size_t(9), size_t(17), sample.centers.size()}) {
            const size_t first = sample.centers.size() - n;
            sample.evaluate(soap, first, n);
            for (size_t i = first; i < sample.centers.size(); ++i)
                CHECK(sample.centers[i].energy == alone[i], "%s, %s: a block of %zu", options.name, isa, n);
        }
        CHECK(sample.gradients[4] == gradient, "%s, %s: the gradient in a block", options.name, isa);
        if (energies.empty())
            energies = alone;
        for (size_t i = 0; i < alone.size(); ++i)
            CHECK(std::fabs(alone[i] - energies[i]) < 1e-12 * (1 + std::fabs(energies[i])), "%s, %s: %.17g, not %.17g",
                  options.name, isa, alone[i], energies[i]);
    }
}

/** ζ = 2 with many sparse points is a quadratic form; with few it is a sum. */
void test_forms(const char* isa, double zeta) {
    Options options = {"forms"};
    options.radial = 2, options.angular = 2, options.sparse = 60, options.zeta = zeta, options.offsets = true;
    const SoapTerm all = random_term(options);
    const Soap soap(all, isa);
    CHECK(soap.info().form == (zeta == 2 ? SoapForm::quadratic : SoapForm::linear), "the cheaper form");
    Random random(4);
    Environments sample(random, {12, 30});
    sample.evaluate(soap, 0, 2);
    const double energy = sample.centers[0].energy;
    const AlignedVector gradient = sample.gradients[0];
    double sum = 0;
    AlignedVector slopes(gradient.size());
    for (size_t s = 0; s < 60; s += 4) {
        SoapTerm part = all;
        part.n_sparse = 4;
        const auto keep = [&](std::vector<double>& values, size_t size) {
            values = std::vector<double>(values.begin() + long(s * size), values.begin() + long((s + 4) * size));
        };
        keep(part.sparse_points, size_t(all.dimension)), keep(part.coefficients, 1), keep(part.sparse_offsets, 1);
        const Soap few(part, isa);
        sample.evaluate(few, 0, 2);
        CHECK(zeta == 1 || few.info().form == SoapForm::sum, "the sum");
        sum += sample.centers[0].energy;
        for (size_t k = 0; k < slopes.size(); ++k)
            slopes[k] += sample.gradients[0][k];
    }
    CHECK(std::fabs(sum - energy) < 1e-11, "%s: %.15g as a polynomial, %.15g as a sum", isa, energy, sum);
    for (size_t k = 0; k < slopes.size(); ++k)
        CHECK(std::fabs(slopes[k] - gradient[k]) < 1e-11, "%s: slope %g, not %g", isa, gradient[k], slopes[k]);
}

/** Limits: nobody around and no weight of its own; hundreds of neighbors. */
void test_limits(const char* isa) {
    Options options = {"limits"};
    options.central = 0, options.offsets = true;
    const SoapTerm term = random_term(options);
    Random random(5);
    Environments sample(random, {0, 700});
    const Soap soap(term, isa);
    sample.evaluate(soap, 0, 2);
    double expected = 0;
    for (size_t s = 0; s < term.coefficients.size(); ++s)
        expected += term.coefficients[s] * std::pow(term.sparse_offsets[s], term.zeta);
    CHECK(std::fabs(sample.centers[0].energy - expected) < 1e-13 * std::fabs(expected), "an atom alone: %g, not %g",
          sample.centers[0].energy, expected);
    test_differences(soap, sample, 0, "an atom alone");
    CHECK(std::isfinite(sample.centers[1].energy), "many neighbors");
    Environments few(random, {30});
    few.evaluate(soap, 0, 1);
    const double before = few.centers[0].energy;
    for (size_t k = 0; k < 30; ++k) // beyond the cutoff the vector does not matter
        if (few.vectors[0][3 * few.elements[0].size() + k] > 16)
            few.vectors[0][few.elements[0].size() + k] = 1e6;
    few.evaluate(soap, 0, 1);
    CHECK(few.centers[0].energy == before, "beyond the cutoff");
    for (int n : {1, 2, 3, 9}) { // the scratch memory suffices, to the last number
        Environments block(random, std::vector<int>(soap_most_block, n));
        block.evaluate(soap, 0, soap_most_block);
        const double last = block.centers.back().energy;
        block.evaluate(soap, soap_most_block - 1, 1);
        CHECK(block.centers.back().energy == last, "%d neighbors of each of many centers", n);
    }
}

} // namespace

int main() {
    Options table[] = {{"one hot"}, {"mixed"},      {"raw"},        {"diagonal"},
                       {"decay"},   {"real power"}, {"high power"}, {"one l"}};
    table[1].one_hot = false, table[1].channels = 3, table[1].offsets = true;
    table[2].normalize = false, table[2].zeta = 1;
    table[3].diagonal = true, table[3].zeta = 3;
    table[4].exponent = 2.5, table[4].radial = 9;
    table[5].zeta = 2.5, table[5].offsets = true;
    table[6].zeta = 7, table[6].channels = 1;
    table[7].angular = 1, table[7].radial = 1, table[7].zeta = 2;
    for (const Options& options : table)
        test_options(options);
    for (const char* isa : {"baseline", "avx2", "avx512"})
        if (instruction_set(isa)) {
            test_forms(isa, 2);
            test_forms(isa, 1);
            test_limits(isa);
        }
    return kml_tests::finish();
}
