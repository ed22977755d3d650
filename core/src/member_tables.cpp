#include "kml/member_tables.h"

#include "kml/instruction_set.h"

#include <cstring>

namespace kml {

extern const MemberFunctions members_baseline;
#if defined(__x86_64__)
extern const MemberFunctions members_avx2, members_avx512;
#endif

const MemberFunctions* member_functions(const char* isa) {
#if defined(__x86_64__)
    if (!std::strcmp(isa, "avx512"))
        return &members_avx512;
    if (!std::strcmp(isa, "avx2"))
        return &members_avx2;
#endif
    return std::strcmp(isa, "baseline") ? nullptr : &members_baseline;
}

void set_polynomials(size_t pairs, size_t K, const double* coefficients, double* polynomials) {
    for (size_t pair = 0; pair < pairs; ++pair) {
        const double* given = coefficients + pair * K;
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
    one_body.assign(n_elements * width, 0.0);
    for (size_t s = 0; s < given.members; ++s)
        for (size_t k = 0; k < n_elements; ++k)
            one_body[k * width + s] = given.atom_energies[s * n_elements + k];
    for (size_t m = 0; m < file.spline2.size(); ++m)
        add(file.spline2[m], terms.n_elements);
    for (size_t m = 0; m < file.spline3.size(); ++m)
        add(file.spline3[m], terms.three_body[m], terms.n_pairs);
    members.n_two_body = int(two_body.size()), members.n_three_body = int(three_body.size());
    members.two_body = two_body.data(), members.three_body = three_body.data();
    members.one_body = one_body.data();
    functions = member_functions(instruction_set(isa)->name);
}

void MemberTables::add(const Spline2Term& file, int n_elements) {
    const size_t K = file.n_intervals, width = size_t(members.width), size = file.coefficients.size();
    AlignedVector table(size * width, 0.0);
    for (size_t s = 0; s < size_t(n_members); ++s)
        for (size_t k = 0; k < size; ++k)
            table[k * width + s] = file.deviations[s * size + k];
    tables.push_back(std::move(table));
    const long moments = members.n_numbers, weights = moments + long(whole_lines(4 * (K + 1) * (size / K)));
    const long row = long(whole_lines(K + 4));
    two_body.push_back({int(K), tables.back().data(), moments, weights, row});
    members.n_numbers = weights + n_elements * row;
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
    three_body.push_back({&term, tables.back().data(), members.n_numbers, members.n_ranges});
    members.n_numbers += long(whole_lines(size_t(n_pairs) * size_t(term.block)));
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
        const size_t K = size_t(two_body[m].n);
        AlignedVector coefficients(pairs * K), &table = combined.tables[next++];
        multiply(two_body[m].table, weights, pairs * K, width, coefficients.data());
        table.assign(pairs * (K + 1) * 4, 0.0);
        set_polynomials(pairs, K, coefficients.data(), table.data());
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
