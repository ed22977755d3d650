#include "kml/member_tables.h"

#include "kml/instruction_set.h"

#include <cstring>

namespace kml {

extern MemberFunction* const members_baseline;
#if defined(__x86_64__)
extern MemberFunction *const members_avx2, *const members_avx512;
#endif

MemberFunction* member_function(const char* isa) {
#if defined(__x86_64__)
    if (!std::strcmp(isa, "avx512"))
        return members_avx512;
    if (!std::strcmp(isa, "avx2"))
        return members_avx2;
#endif
    return std::strcmp(isa, "baseline") ? nullptr : members_baseline;
}

void set_polynomials(size_t pairs, size_t K, size_t stride, const double* coefficients, double* polynomials) {
    for (size_t pair = 0; pair < pairs; ++pair) {
        const double* given = coefficients + pair * stride;
        const auto at = [&](size_t k) { return k < K ? given[k] : 0.0; };
        for (size_t b = 0; b < K; ++b) {
            const double c0 = at(b), c1 = at(b + 1), c2 = at(b + 2), c3 = at(b + 3);
            double* p = polynomials + (pair * (K + 1) + b) * 4;
            p[0] = (c0 + 4 * c1 + c2) / 6;
            p[1] = (c2 - c0) / 2;
            p[2] = (c0 - 2 * c1 + c2) / 2;
            p[3] = (c3 - c0 + 3 * (c1 - c2)) / 6;
        }
    }
}

MemberTables::MemberTables(const WeightFile& file, const LocalTerms& terms, const char* isa) {
    const Uncertainty& given = file.uncertainty;
    if (!given.given)
        return;
    n_members = int(given.members);
    energy_scale = given.energy_scale, energy_floor = given.energy_floor;
    atom_scale = given.atom_scale, atom_floor = given.atom_floor;
    force_scale = given.force_scale, force_floor = given.force_floor;
    const size_t width = whole_lines(given.members), n_elements = size_t(terms.n_elements);
    members.width = int(width);
    members.n_segments = 1; // of one-body energies
    one_body.assign(n_elements * width, 0.0);
    for (size_t s = 0; s < given.members; ++s)
        for (size_t k = 0; k < n_elements; ++k)
            one_body[k * width + s] = given.atom_energies[s * n_elements + k];
    for (size_t m = 0; m < file.spline2.size(); ++m)
        add(file.spline2[m], terms.two_body[m], terms.n_elements);
    for (size_t m = 0; m < file.spline3.size(); ++m)
        add(file.spline3[m], terms.three_body[m], terms.n_pairs);
    members.n_two_body = int(two_body.size()), members.n_three_body = int(three_body.size());
    members.two_body = two_body.data(), members.three_body = three_body.data();
    members.one_body = one_body.data();
    function = member_function(instruction_set(isa)->name);
}

void MemberTables::add(const Spline2Term& file, const TwoBody& term, int n_elements) {
    const size_t K = file.n_intervals, width = size_t(members.width), size = file.coefficients.size();
    const size_t row = (K + 7) / 4 * 4;
    AlignedVector table(size / K * row * width, 0.0);
    for (size_t s = 0; s < size_t(n_members); ++s)
        for (size_t pair = 0; pair < size / K; ++pair)
            for (size_t k = 0; k < K; ++k)
                table[(pair * row + k) * width + s] = file.deviations[s * size + pair * K + k];
    tables.push_back(std::move(table));
    two_body.push_back({term.grid, term.cutoff, long(row), tables.back().data(), members.n_weights});
    members.n_weights += long(whole_lines(4 * size_t(n_elements) * row));
    members.n_segments += n_elements;
}

void MemberTables::add(const Spline3Term& file, const ThreeBody& term, int n_pairs) {
    const size_t K = file.n_intervals, M = file.n_far, row = size_t(term.row), width = size_t(members.width);
    const size_t size = file.coefficients.size(), rows = size / M;
    AlignedVector table(rows * row * width, 0.0);
    for (size_t s = 0; s < size_t(n_members); ++s)
        for (size_t k = 0; k < rows; ++k)
            for (size_t far = 0; far < M; ++far)
                table[(k * row + far) * width + s] = file.deviations[s * size + k * M + far];
    tables.push_back(std::move(table));
    three_body.push_back({&term, tables.back().data(), members.n_weights, members.n_ranges});
    members.n_weights += long(whole_lines(size_t(n_pairs) * size_t(term.block)));
    members.n_ranges += long(n_pairs) * long(K);
    members.n_segments += long(n_pairs) * long(K * K);
}

/** Set n numbers to the products of rows of `width` with the weights. */
static void multiply(const double* table, const double* weights, size_t n, size_t width, double* out) {
    for (size_t k = 0; k < n; ++k, table += width) {
        double sums[8] = {};
        for (size_t s = 0; s < width; s += 8)
            for (size_t q = 0; q < 8; ++q)
                sums[q] += weights[s + q] * table[s + q];
        out[k] = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    }
}

void MemberTables::combine(const LocalTerms& terms, const double* weights, CombinedTerms& combined) const {
    const size_t width = size_t(members.width), pairs = size_t(terms.n_pairs);
    combined.two_body.assign(terms.two_body, terms.two_body + terms.n_two_body);
    combined.three_body.assign(terms.three_body, terms.three_body + terms.n_three_body);
    combined.tables.resize(size_t(terms.n_two_body + terms.n_three_body));
    size_t next = 0;
    for (size_t m = 0; m < two_body.size(); ++m) {
        const size_t K = size_t(two_body[m].grid.n), row = size_t(two_body[m].row);
        AlignedVector coefficients(pairs * row), &table = combined.tables[next++];
        multiply(two_body[m].table, weights, pairs * row, width, coefficients.data());
        table.assign(pairs * (K + 1) * 4, 0.0);
        set_polynomials(pairs, K, row, coefficients.data(), table.data());
        combined.two_body[m].polynomials = table.data();
    }
    for (size_t m = 0; m < three_body.size(); ++m) {
        const ThreeBody& term = *three_body[m].term;
        const size_t K = size_t(term.near.n), row = size_t(term.row), functions = size_t(terms.n_elements) * pairs;
        AlignedVector& table = combined.tables[next++];
        table.assign(functions * size_t(term.block), 0.0);
        for (size_t f = 0; f < functions; ++f)
            for (size_t a = 0; a < K; ++a)
                multiply(three_body[m].table + (f * K + a) * K * row * width, weights, K * row, width,
                         table.data() + f * size_t(term.block) + a * size_t(term.plane));
        combined.three_body[m].coefficients = table.data();
    }
    combined.terms = terms;
    combined.terms.two_body = combined.two_body.data();
    combined.terms.three_body = combined.three_body.data();
    combined.terms.n_repulsion = 0;
}

} // namespace kml
