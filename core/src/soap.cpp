#include "kml/soap.h"

#include "soap_preparation.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace kml {

extern const SoapFunctions soap_functions_baseline;
#if defined(__x86_64__)
extern const SoapFunctions soap_functions_avx2, soap_functions_avx512;
#endif

const SoapFunctions* soap_functions(const char* isa) {
#if defined(__x86_64__)
    if (!std::strcmp(isa, "avx512"))
        return &soap_functions_avx512;
    if (!std::strcmp(isa, "avx2"))
        return &soap_functions_avx2;
#endif
    return std::strcmp(isa, "baseline") ? nullptr : &soap_functions_baseline;
}

static double pi() { return 3.14159265358979323846; }

Soap::Soap(const SoapTerm& term, const char* isa, SoapPurpose purpose) : functions(soap_functions(isa)) {
    Preparation work;
    work.nodes = radial_nodes(term);
    set_sizes(term);
    rotate(term, purpose, work);
    set_ranks(term, purpose, work);
    set_layout(term);
    set_radial(term, work);
    set_angular(term);
    set_elements(term, work);
    set_order(term, purpose, work);
    set_panels(term, purpose, work);
    if (purpose == SoapPurpose::evaluation) {
        set_members(term, work);
        set_polynomial(term);
    }
    summarize(term);
}

void Soap::set_sizes(const SoapTerm& term) {
    tables.n_elements = int(term.centers.size());
    tables.n_channels = int(term.n_channels);
    tables.n_angular = int(term.n_angular);
    tables.cutoff = term.cutoff, tables.cutoff_width = term.cutoff_width;
    tables.decay_exponent = term.decay_exponent, tables.decay_scale = term.decay_scale;
    tables.decay_rate = term.decay_rate;
    tables.normalize = term.normalize;
    tables.zeta = term.zeta;
    tables.power = term.zeta == std::floor(term.zeta) && term.zeta < 1e6 ? int(term.zeta) : 0;
    if (!term.diagonal_radial)
        return;
    const long N = term.n_radial, K = N * term.n_channels;
    for (long k = 0; k < K; ++k)
        for (long j = k % N; j <= k; j += N) {
            pairs.push_back(int(k));
            pairs.push_back(int(j));
        }
    tables.pairs = pairs.data();
    tables.n_pairs = int(pairs.size() / 2);
}

void Soap::set_layout(const SoapTerm& term) {
    const int L1 = tables.n_angular, C = tables.n_channels;
    int functions_here = 0, rows = 0, columns = 0, entries = 0;
    for (int l = 0; l < L1; ++l) {
        const int kept = rank[size_t(l)], K = C * kept;
        first.push_back(functions_here);
        functions_here += kept;
        for (int m = 0; m <= 2 * l; ++m) {
            row.push_back(rows);
            rows += int(whole_lines(size_t(kept)));
        }
        column.push_back(columns);
        columns += (2 * l + 1) * K;
        power_first.push_back(entries);
        const int count = term.diagonal_radial ? tables.n_pairs : K * (K + 1) / 2;
        entries += kept ? count : 0;
        for (int q = 0, k = 0, j = 0; q < count && kept; ++q) {
            const bool same = term.diagonal_radial ? pairs[size_t(2 * q)] == pairs[size_t(2 * q + 1)] : k == j;
            multiplicity.push_back(same ? 1.0 : 2.0);
            if (++j > k)
                ++k, j = 0;
        }
    }
    row.push_back(rows);
    summary.reduced_dimension = entries;
    tables.n_functions = long(whole_lines(size_t(functions_here)));
    tables.n_coefficients = rows, tables.n_columns = columns;
    tables.dimension = long(whole_lines(size_t(std::max(1, entries))));
    multiplicity.resize(size_t(tables.dimension), 0.0);
    tables.rank = rank.data(), tables.first = first.data(), tables.row = row.data();
    tables.column = column.data(), tables.power_first = power_first.data();
    tables.multiplicity = multiplicity.data();
}

void Soap::set_radial(const SoapTerm& term, const Preparation& work) {
    const size_t N = size_t(term.n_radial), F = size_t(tables.n_functions), margin = RadialNodes::margin;
    const size_t last = work.nodes.n_intervals + margin, rows = work.nodes.n_intervals + 7;
    radial.assign(rows * F, 0.0);
    const SplineFilter filter(margin + last + 1);
    std::vector<long double> values(margin + last + 1);
    for (size_t l = 0; l < size_t(term.n_angular); ++l)
        for (size_t n = 0; n < size_t(rank[l]); ++n) {
            for (size_t k = 0; k <= last; ++k) {
                long double sum = 0;
                for (size_t m = 0; m < N; ++m)
                    sum += static_cast<long double>(work.nodes.at(k, l)[m]) * work.rotation[(l * N + m) * N + n];
                values[margin + k] = sum;
                if (k <= margin) // as polynomials in r, they are even or odd
                    values[margin - k] = l % 2 ? -sum : sum;
            }
            filter.solve(values);
            for (size_t k = 0; k < rows; ++k)
                radial[k * F + size_t(first[l]) + n] = double(values[margin - 3 + k]);
        }
    tables.n_intervals = int(work.nodes.n_intervals);
    tables.inverse_spacing = 1 / work.nodes.spacing;
    tables.radial = radial.data();
}

void Soap::set_angular(const SoapTerm& term) {
    const int L1 = tables.n_angular;
    for (int m = 0; m < L1; ++m)
        for (int l = m + 1; l < L1; ++l) {
            const double q = 1.0 / ((l + m) * (l - m));
            recursion.push_back((2 * l - 1) * q);
            recursion.push_back(q);
        }
    recursion.resize(recursion.size() + 2); // never empty
    for (int l = 0; l < L1; ++l)
        for (int m = -l; m <= l; ++m) {
            const int size = std::abs(m);
            const double norm = (2 * l + 1) / (4 * pi()) * std::tgamma(l - size + 1.0) * std::tgamma(l + size + 1.0);
            scale.push_back(std::sqrt((m ? 2.0 : 1.0) * norm) * std::sqrt(term.angular_weights[size_t(l)]));
        }
    tables.recursion = recursion.data(), tables.scale = scale.data();
}

void Soap::set_elements(const SoapTerm& term, const Preparation& work) {
    const size_t n = term.centers.size(), C = size_t(term.n_channels), N = size_t(term.n_radial);
    const size_t width = whole_lines(size_t(rank[0]));
    central.assign(n * C * width + 8, 0.0);
    species_weights.assign(term.species_weights.begin(), term.species_weights.end());
    for (size_t e = 0; e < n; ++e) {
        centers.push_back(term.centers[e] != 0);
        int only = -1, entered = 0;
        for (size_t c = 0; c < C; ++c) {
            const double weight = species_weights[e * C + c];
            entered += weight != 0;
            if (weight == 1)
                only = int(c);
            for (size_t k = 0; k < size_t(rank[0]); ++k) {
                double sum = 0;
                for (size_t m = 0; m < N; ++m)
                    sum += term.central_radial[m] * work.rotation[m * N + k];
                central[(e * C + c) * width + k] = term.central_weights[e * C + c] * sum;
            }
        }
        counts.push_back(entered > 0);
        channel.push_back(entered == 1 ? only : -1);
    }
    tables.species_weights = species_weights.data(), tables.central = central.data();
    tables.counts = counts.data(), tables.centers = centers.data(), tables.channel = channel.data();
}

void Soap::summarize(const SoapTerm& term) {
    const double D = double(summary.reduced_dimension), M = double(term.n_sparse), neighbors = 30;
    summary.form = tables.form;
    summary.ranks = rank;
    summary.kernel_operations = tables.form == SoapForm::sum         ? 4 * D * M
                                : tables.form == SoapForm::quadratic ? 2 * D * D
                                                                     : 4 * D;
    double sums = 0, power = 0;
    for (int l = 0; l < tables.n_angular; ++l) {
        const double kept = rank[size_t(l)], K = kept * tables.n_channels, rows = 2 * l + 1;
        sums += rows * (3 * kept + 6) + 12 * kept; // density and back, harmonics, radial functions
        power += rows * 1.5 * K * K;
    }
    summary.other_operations = 2 * (neighbors * sums + power);
    summary.bytes = (radial.size() + panels.size() + central.size() + linear.size()) * sizeof(double);
}

void Soap::rows(SoapCenter& center, int atom, const int* atoms, long first_row, long last_row, const SoapRows& out,
                double* scratch) const {
    SoapTables part = tables;
    part.panels += first_row * tables.dimension;
    part.n_rows = last_row - first_row;
    if (part.offsets)
        part.offsets += first_row;
    functions->rows(part, center, atom, atoms, out, scratch);
}

void Soap::descriptors(SoapCenter* block, int n, double* scratch, double* out) const {
    const size_t D = size_t(tables.dimension), L1 = size_t(tables.n_angular);
    const size_t count = size_t(summary.dimension) / L1;
    std::vector<double> spectra(size_t(n) * D);
    functions->spectra(tables, block, n, scratch, spectra.data());
    for (size_t i = 0; i < size_t(n); ++i)
        for (size_t l = 0; l < L1; ++l)
            for (size_t q = 0; q < count; ++q) {
                const size_t place = size_t(power_first[l]) + q;
                out[(i * count + q) * L1 + l] =
                    spectra[i * D + place] * (multiplicity[place] == 2 ? std::sqrt(2.0) : 1.0);
            }
}

} // namespace kml
