// The sparse points of a `soap` term as panels of eight rows, for the energy and for members, or as a polynomial.
#include "soap_preparation.h"

#include <algorithm>
#include <cmath>

namespace kml {

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

} // namespace kml
