#include "kml/soap.h"

#include "soap_radial.h"

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

/** What is needed only while a term is made ready. */
struct Soap::Preparation {
    RadialNodes nodes;
    std::vector<double> rotation; // (L + 1, N, N): c' = Vᵀ c
    std::vector<double> reach;    // (L + 1, N): largest relative size of a rotated function
    std::vector<double> points;   // (M, D) in the order of the file, rotated, without √2
    std::vector<size_t> order;    // (M): number in the file of each sparse point as they stand in panels
};

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

/** Pairs (k, k') of one l as the file orders them. */
static std::vector<std::pair<int, int>> file_pairs(const SoapTerm& term) {
    std::vector<std::pair<int, int>> result;
    const int N = int(term.n_radial), K = N * int(term.n_channels);
    for (int k = 0; k < K; ++k)
        for (int j = 0; j <= k; ++j)
            if (!term.diagonal_radial || k % N == j % N)
                result.emplace_back(k, j);
    return result;
}

/**
 * Samples (n_intervals, N) of the radial functions of one l, as large as they can become beside all the others in one
 * environment: in units of the center's own density where that always counts.
 */
static std::vector<double> weighed_samples(const SoapTerm& term, const RadialNodes& nodes, size_t l) {
    const size_t N = nodes.n_radial;
    double own = 0;
    for (double c : term.central_radial)
        own += c * c;
    double least = own > 0 && term.normalize ? 1e300 : 0;
    for (size_t e = 0; e < term.centers.size() && least > 0; ++e) {
        double weight = 0;
        for (size_t c = 0; c < size_t(term.n_channels); ++c)
            weight += std::pow(term.central_weights[e * size_t(term.n_channels) + c], 2);
        if (term.centers[e])
            least = std::min(least, own * weight * term.angular_weights[0]);
    }
    std::vector<double> samples(nodes.n_intervals * N);
    double largest = 0;
    for (size_t k = 1; k <= nodes.n_intervals; ++k) {
        double size = 0;
        for (size_t m = 0; m < nodes.n_angular; ++m)
            for (size_t n = 0; n < N; ++n)
                size += double(2 * m + 1) * term.angular_weights[m] * std::pow(nodes.at(k, m)[n], 2);
        // Some ten neighbors may add up.
        const double weight = 10 * radial_weight(term, nodes.spacing * double(k));
        double factor = 1 / std::sqrt(size);
        if (!term.normalize)
            factor = weight, largest = std::max(largest, weight * std::sqrt(size));
        else if (least > 0 && std::isfinite(weight))
            factor = weight / std::sqrt(least + weight * weight * size);
        factor *= std::sqrt(double(2 * l + 1) * term.angular_weights[l]);
        for (size_t n = 0; n < N; ++n)
            samples[(k - 1) * N + n] = size > 0 ? factor * nodes.at(k, l)[n] : 0.0;
    }
    if (l == 0 && own > 0)
        for (double c : term.central_radial)
            samples.push_back(c / std::sqrt(own) * (term.normalize ? 1.0 : std::max(largest, 1.0)));
    if (!term.normalize && largest > 0)
        for (double& sample : samples)
            sample /= largest;
    return samples;
}

void Soap::rotate(const SoapTerm& term, SoapPurpose purpose, Preparation& work) {
    const size_t N = size_t(term.n_radial), L1 = size_t(term.n_angular), M = size_t(term.n_sparse);
    const size_t C = size_t(term.n_channels), D = size_t(term.dimension);
    work.rotation.assign(L1 * N * N, 0.0);
    work.reach.assign(L1 * N, 1.0);
    const bool rotates = purpose != SoapPurpose::descriptors && !term.diagonal_radial;
    for (size_t l = 0; l < L1; ++l) {
        double* V = work.rotation.data() + l * N * N;
        if (!rotates) {
            for (size_t n = 0; n < N; ++n)
                V[n * N + n] = 1;
            continue;
        }
        std::vector<double> samples = weighed_samples(term, work.nodes, l);
        const std::vector<double> found = order_by_size(samples, N);
        std::copy(found.begin(), found.end(), V);
        for (size_t n = 0; n < N; ++n) {
            double largest = 0;
            for (size_t k = n; k < samples.size(); k += N)
                largest = std::max(largest, std::fabs(samples[k]));
            work.reach[l * N + n] = largest;
        }
    }
    if (purpose == SoapPurpose::descriptors)
        return;
    work.points = term.sparse_points;
    const auto pairs_of = file_pairs(term);
    const double half = std::sqrt(0.5);
    std::vector<double> X(C * N * C * N), Y(N * N);
    for (size_t s = 0; s < M; ++s)
        for (size_t l = 0; l < L1; ++l) {
            double* point = work.points.data() + s * D;
            for (size_t q = 0; q < pairs_of.size(); ++q) {
                const size_t k = size_t(pairs_of[q].first), j = size_t(pairs_of[q].second);
                X[k * C * N + j] = X[j * C * N + k] = point[q * L1 + l] * (k == j ? 1.0 : half);
            }
            const double* V = work.rotation.data() + l * N * N;
            for (size_t a = 0; rotates && a < C; ++a)
                for (size_t b = 0; b <= a; ++b) { // block (a, b) becomes Vᵀ X V
                    double* block = X.data() + a * N * C * N + b * N;
                    for (size_t i = 0; i < N; ++i)
                        for (size_t n = 0; n < N; ++n) {
                            double sum = 0;
                            for (size_t j = 0; j < N; ++j)
                                sum += block[i * C * N + j] * V[j * N + n];
                            Y[i * N + n] = sum;
                        }
                    for (size_t n = 0; n < N; ++n)
                        for (size_t m = 0; m < N; ++m) {
                            double sum = 0;
                            for (size_t i = 0; i < N; ++i)
                                sum += V[i * N + n] * Y[i * N + m];
                            block[n * C * N + m] = sum;
                        }
                }
            for (size_t q = 0; q < pairs_of.size(); ++q)
                point[q * L1 + l] = X[size_t(pairs_of[q].first) * C * N + size_t(pairs_of[q].second)];
        }
}

void Soap::set_ranks(const SoapTerm& term, SoapPurpose purpose, Preparation& work) {
    const size_t N = size_t(term.n_radial), L1 = size_t(term.n_angular), M = size_t(term.n_sparse);
    const size_t D = size_t(term.dimension);
    rank.assign(L1, 0);
    for (size_t l = 0; l < L1; ++l)
        rank[l] = term.angular_weights[l] > 0 || purpose == SoapPurpose::descriptors ? int(N) : 0;
    summary.neglected = 0;
    if (purpose == SoapPurpose::descriptors || term.diagonal_radial)
        return;
    // Energy that pairs of functions n >= n' can have at most, if no entry of p is larger than reach[n] reach[n'].
    std::vector<double> energy(L1 * N, 0.0);
    double all = 0;
    const auto pairs_of = file_pairs(term);
    for (size_t s = 0; s < M; ++s) {
        double weight = purpose == SoapPurpose::rows ? 1e5 : std::fabs(term.coefficients[s]) * term.zeta;
        if (!term.sparse_offsets.empty())
            weight *= std::pow(1 + std::fabs(term.sparse_offsets[s]), std::max(0.0, term.zeta - 1));
        all += weight;
        const double* point = work.points.data() + s * D;
        for (size_t q = 0; q < pairs_of.size(); ++q)
            for (size_t l = 0; l < L1; ++l) {
                const size_t n = size_t(pairs_of[q].first) % N, m = size_t(pairs_of[q].second) % N;
                energy[l * N + std::max(n, m)] +=
                    weight * 2 * std::fabs(point[q * L1 + l]) * work.reach[l * N + n] * work.reach[l * N + m];
            }
    }
    // The estimate adds absolute values; what is neglected turns out a hundred times smaller, as much as rounding does.
    const double limit = 1e-14 * all;
    while (true) { // the function that matters least among the last ones of all l
        size_t least = L1;
        for (size_t l = 0; l < L1; ++l)
            if (rank[l] > 1 &&
                (least == L1 || energy[l * N + size_t(rank[l]) - 1] < energy[least * N + size_t(rank[least]) - 1]))
                least = l;
        if (least == L1 || summary.neglected + energy[least * N + size_t(rank[least]) - 1] > limit)
            break;
        summary.neglected += energy[least * N + size_t(rank[least]) - 1];
        --rank[least];
    }
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

/** The first explained row that has more than zero for a sparse point; their number where none has. */
static size_t first_row(const SoapTerm& term, size_t point) {
    const size_t M = size_t(term.n_sparse);
    size_t row = 0;
    while (row < term.n_explained && term.explained[row * M + point] == 0)
        ++row;
    return row;
}

/** Sort the sparse points such that a permuted triangle of explained rows stands as a triangle. */
void Soap::set_order(const SoapTerm& term, SoapPurpose purpose, Preparation& work) {
    std::vector<size_t> rows;
    for (size_t s = 0; s < size_t(term.n_sparse); ++s) {
        work.order.push_back(s);
        rows.push_back(purpose == SoapPurpose::evaluation ? first_row(term, s) : 0);
    }
    std::stable_sort(work.order.begin(), work.order.end(), [&](size_t a, size_t b) { return rows[a] < rows[b]; });
}

void Soap::set_panels(const SoapTerm& term, SoapPurpose purpose, const Preparation& work) {
    const size_t M = size_t(term.n_sparse), D = size_t(tables.dimension), rows = whole_lines(M);
    const size_t L1 = size_t(term.n_angular), N = size_t(term.n_radial);
    summary.dimension = term.dimension, summary.n_sparse = term.n_sparse;
    // The weights of 128 rows for one group of centers fill half of a first cache. Spectra that leave the second cache
    // are better passed less often.
    tables.block_rows = D <= 4096 ? 128 : 256;
    block_centers = rows * D > (1 << 17) ? soap_most_block : soap_group;
    if (purpose == SoapPurpose::descriptors) {
        tables.n_rows = 0;
        return;
    }
    panels.assign(rows * D, 0.0);
    const auto pairs_of = file_pairs(term);
    for (size_t q = 0; q < pairs_of.size(); ++q)
        for (size_t l = 0; l < L1; ++l) {
            const size_t k = size_t(pairs_of[q].first), j = size_t(pairs_of[q].second);
            const size_t kept = size_t(rank[l]), n = k % N, m = j % N;
            if (n >= kept || m >= kept)
                continue;
            const size_t K = k / N * kept + n, J = j / N * kept + m;
            const size_t place = size_t(power_first[l]) + (term.diagonal_radial ? q : K * (K + 1) / 2 + J);
            for (size_t s = 0; s < M; ++s)
                panels[(s / 8 * D + place) * 8 + s % 8] =
                    work.points[work.order[s] * size_t(term.dimension) + q * L1 + l] * (k == j ? 1.0 : 2.0);
        }
    coefficients.assign(rows, 0.0);
    offsets.assign(term.sparse_offsets.empty() ? 0 : rows, 0.0);
    for (size_t s = 0; s < M; ++s) {
        coefficients[s] = term.coefficients[work.order[s]];
        if (!offsets.empty())
            offsets[s] = term.sparse_offsets[work.order[s]];
    }
    if (!offsets.empty())
        tables.offsets = offsets.data();
    tables.form = SoapForm::sum;
    tables.n_rows = long(rows);
    tables.panels = panels.data(), tables.coefficients = coefficients.data();
}

/** What a term with uncertainty needs besides: the sparse points again, deviations and explained rows by panels. */
void Soap::set_members(const SoapTerm& term, const Preparation& work) {
    const size_t M = size_t(term.n_sparse), rows = size_t(tables.n_rows), S = term.deviations.size() / M;
    if (S == 0)
        return;
    const size_t width = whole_lines(S), n_sums = width + whole_lines(term.n_explained);
    points = panels; // `panels` may become a polynomial's
    deviations.assign(rows * n_sums, 0.0);
    for (size_t k = 0; k < S + term.n_explained; ++k)
        for (size_t s = 0; s < M; ++s) {
            const size_t given = work.order[s];
            const double value = k < S ? term.deviations[k * M + given] : term.explained[(k - S) * M + given];
            deviations[(s / 8 * n_sums + (k < S ? k : width + k - S)) * 8 + s % 8] = value;
        }
    for (size_t s = 0; s < M; s += soap_member_panels * soap_panel) // the first of the sorted points begins first
        first_explained.push_back(long(std::min(n_sums, width + first_row(term, work.order[s]) / 8 * 8)));
    tables.members = {points.data(),          tables.offsets, long(rows),   deviations.data(),
                      first_explained.data(), long(width),    long(n_sums), term.n_explained ? term.prior_variance : 0};
}

/** Replace the sum over sparse points where a polynomial of degree one or two costs less. */
void Soap::set_polynomial(const SoapTerm& term) {
    const size_t D = size_t(tables.dimension), M = size_t(term.n_sparse), G = soap_group;
    if (tables.power != 1 && (tables.power != 2 || D >= 2 * M))
        return;
    linear.assign(D, 0.0);
    tables.constant = 0;
    for (size_t s = 0; s < M; ++s) {
        const double a = coefficients[s], b = offsets.empty() ? 0.0 : offsets[s];
        tables.constant += a * std::pow(b, term.zeta);
        for (size_t d = 0; d < D; ++d)
            linear[d] += a * (tables.power == 1 ? 1.0 : 2 * b) * panels[(s / 8 * D + d) * 8 + s % 8];
    }
    if (tables.power == 2) { // A = Σ a x xᵀ, some columns at a time
        AlignedVector square(D * D, 0.0), right(whole_lines(M) * G), columns(D * G);
        for (size_t start = 0; start < D; start += G) {
            for (size_t s = 0; s < M; ++s)
                for (size_t g = 0; g < G; ++g)
                    right[s * G + g] =
                        start + g < D ? coefficients[s] * panels[(s / 8 * D + start + g) * 8 + s % 8] : 0.0;
            functions->contract(int(G), long(D), long(whole_lines(M) / 8), panels.data(), right.data(), columns.data());
            for (size_t g = 0; g < G && start + g < D; ++g)
                for (size_t d = 0; d < D; ++d)
                    square[((start + g) / 8 * D + d) * 8 + (start + g) % 8] = columns[d * G + g];
        }
        panels = std::move(square);
        tables.n_rows = long(D);
    } else {
        panels.clear();
        panels.shrink_to_fit();
        tables.n_rows = 0;
    }
    tables.form = tables.power == 2 ? SoapForm::quadratic : SoapForm::linear;
    tables.panels = panels.data(), tables.linear = linear.data();
    tables.coefficients = nullptr, tables.offsets = nullptr;
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
