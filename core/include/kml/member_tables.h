/** What a LocalModel with uncertainty holds besides: the deviations of its terms, and how they become σ. */
#ifndef KML_MEMBER_TABLES_H
#define KML_MEMBER_TABLES_H

#include "kml/aligned.h"
#include "kml/members.h"
#include "kml/weight_file.h"

#include <vector>

namespace kml {

/** A sum of members: terms whose energy is Σ_s weight_s e_s. */
struct CombinedTerms {
    LocalTerms terms = {}; // points into the arrays below
    std::vector<TwoBody> two_body;
    std::vector<ThreeBody> three_body;
    std::vector<AlignedVector> tables;
};

/** Deviations, ready: nothing in them changes after construction. */
class MemberTables {
public:
    /** Without uncertainty. */
    MemberTables() = default;
    /**
     * @param terms  made of the same file; must outlive this and not move
     * @throws std::bad_alloc
     */
    MemberTables(const WeightFile& file, const LocalTerms& terms, const char* isa);
    MemberTables(const MemberTables&) = delete;
    MemberTables& operator=(const MemberTables&) = delete;
    MemberTables(MemberTables&&) = default;
    MemberTables& operator=(MemberTables&&) = default;

    bool empty() const { return !functions; }
    int width() const { return members.width; }
    /** Make the terms Σ_s weights[s] (member s); `weights` (width,), zero beyond the members. Throws std::bad_alloc. */
    void combine(const LocalTerms& terms, const double* weights, CombinedTerms& combined) const;

    Members members = {}; // points into the arrays below
    const MemberFunctions* functions = nullptr;
    int n_members = 0;
    double energy_scale = 1, energy_floor = 0, atom_scale = 1, atom_floor = 0, force_scale = 1, force_floor = 0;

private:
    void add(const Spline2Term& file, int n_elements);
    void add(const Spline3Term& file, const ThreeBody& term, int n_pairs);

    std::vector<MemberPairs> two_body;
    std::vector<MemberTriples> three_body;
    std::vector<AlignedVector> tables;
    AlignedVector one_body;
};

/** Set the polynomials (pairs, K + 1, 4) of two_body.h from coefficients (pairs, K). */
void set_polynomials(size_t pairs, size_t K, const double* coefficients, double* polynomials);

} // namespace kml

#endif
