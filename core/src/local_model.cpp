#include "kml/local_model.h"

#include "kml/instruction_set.h"
#include "kml/molecule_prior.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace kml {

extern EnvironmentFunction* const environment_baseline;
#if defined(__x86_64__)
extern EnvironmentFunction *const environment_avx2, *const environment_avx512;
#endif

EnvironmentFunction* environment_function(const char* isa) {
#if defined(__x86_64__)
    if (!std::strcmp(isa, "avx512"))
        return environment_avx512;
    if (!std::strcmp(isa, "avx2"))
        return environment_avx2;
#endif
    return std::strcmp(isa, "baseline") ? nullptr : environment_baseline;
}

LocalModel::LocalModel(const WeightFile& file, const char* isa) : elements(file.elements) {
    std::fill(places, places + 119, -1);
    for (size_t k = 0; k < elements.size(); ++k) {
        places[elements[k]] = int(k);
        const auto found = file.atom_energies.find(elements[k]);
        atom_energies.push_back(found == file.atom_energies.end() ? 0.0 : found->second);
    }
    terms.n_elements = int(elements.size());
    terms.n_pairs = terms.n_elements * (terms.n_elements + 1) / 2;
    for (const Spline2Term& term : file.spline2)
        add(term);
    for (const Spline3Term& term : file.spline3)
        add(term);
    for (const RepulsionTerm& term : file.repulsion)
        add(term);
    for (const SoapTerm& term : file.soap) {
        soap.emplace_back(term, instruction_set(isa)->name);
        cutoff_soap = std::max(cutoff_soap, term.cutoff);
    }
    terms.n_two_body = int(two_body.size());
    terms.n_three_body = int(three_body.size());
    terms.n_repulsion = int(file.repulsion.size());
    terms.two_body = two_body.data();
    terms.three_body = three_body.data();
    terms.repulsion = repulsions.data();
    terms.cutoff = std::max({terms.cutoff, terms.cutoff_triples, terms.cutoff_repulsion, cutoff_soap});
    function = environment_function(instruction_set(isa)->name);
    members = MemberTables(file, terms, isa);
}

void LocalModel::add(const Spline2Term& file) {
    const size_t K = file.n_intervals, pairs = file.coefficients.size() / K;
    AlignedVector table(pairs * (K + 1) * 4); // zeros
    set_polynomials(pairs, K, file.coefficients.data(), table.data());
    tables.push_back(std::move(table));
    const Grid grid = {file.start, double(K) / (file.cutoff - file.start), int(K)};
    two_body.push_back({grid, file.cutoff, tables.back().data()});
    terms.cutoff = std::max(terms.cutoff, file.cutoff);
}

void LocalModel::add(const Spline3Term& file) {
    const size_t K = file.n_intervals, M = file.n_far, intervals = file.compact ? M : M - 3;
    const size_t row = intervals + 3, plane = (K + 3) * row, block = (K + 3) * plane;
    const size_t functions = file.coefficients.size() / (K * K * M);
    AlignedVector table(functions * block); // zeros
    for (size_t f = 0; f < functions; ++f)
        for (size_t a = 0; a < K; ++a)
            for (size_t b = 0; b < K; ++b)
                std::memcpy(table.data() + f * block + a * plane + b * row,
                            file.coefficients.data() + ((f * K + a) * K + b) * M, M * sizeof(double));
    tables.push_back(std::move(table));
    const double end_far = file.compact ? file.cutoff : 2 * file.cutoff;
    ThreeBody term;
    term.near = {file.start, double(K) / (file.cutoff - file.start), int(K)};
    term.far = {file.start_far, double(intervals) / (end_far - file.start_far), int(intervals)};
    term.cutoff = file.cutoff;
    term.cutoff_far = end_far;
    term.taper_start = file.taper_start;
    term.taper_width = file.taper_width;
    term.n_elements = terms.n_elements;
    term.row = long(row), term.plane = long(plane), term.block = long(block);
    term.coefficients = tables.back().data();
    three_body.push_back(term);
    terms.cutoff_triples = std::max(terms.cutoff_triples, file.cutoff);
}

void LocalModel::add(const RepulsionTerm& file) {
    for (const Repulsion& pair : repulsions_of(file, elements)) {
        repulsions.push_back(pair);
        terms.cutoff_repulsion = std::max(terms.cutoff_repulsion, pair.outer);
    }
}

} // namespace kml
