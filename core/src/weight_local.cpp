#include "weight_reading.h"

#include <algorithm>

namespace kml::reading {

constexpr size_t min_intervals = 4, min_far = 7;

// The two ends of a grid.
template <class Term>
static void read_grid(const std::string& where, const json& entry, Term& term) {
    term.start = length(where + ".start", entry["start"], 0, max_cutoff);
    term.cutoff = length(where + ".cutoff", entry["cutoff"], term.start, max_cutoff);
    if (term.cutoff == term.start)
        fail(where + ".cutoff must be above start; " + shown(entry["cutoff"]) + " was found for both");
}

Spline2Term read_spline2(size_t k, const json& entry, size_t n_elements, Tensors& tensors) {
    const std::string where = where_of(k), name = prefix_of(k) + "coefficients";
    check_keys(where, entry, {"kind", "start", "cutoff"});
    Spline2Term term;
    read_grid(where, entry, term);
    const uint64_t pairs = n_elements * (n_elements + 1) / 2, K = shape_of(tensors, name, 2)[1];
    if (K < min_intervals)
        fail("the tensor '" + name + "' needs at least " + std::to_string(min_intervals) + " intervals");
    term.n_intervals = size_t(K);
    term.coefficients = take_reals(tensors, name, {pairs, K});
    term.deviations = take_deviations(tensors, prefix_of(k), {pairs, K});
    return term;
}

// For two equal neighbors the coefficients do not change when the two distances are exchanged.
static void check_exchange(const std::string& name, const Spline3Term& term, const double* coefficients,
                           size_t n_elements) {
    const size_t pairs = n_elements * (n_elements + 1) / 2, K = term.n_intervals, M = term.n_far;
    for (size_t a = 0; a < n_elements; ++a)
        for (size_t b = 0; b < n_elements; ++b) {
            const size_t pair = b * n_elements - b * (b + 1) / 2 + b;
            const double* c = coefficients + (a * pairs + pair) * K * K * M;
            for (size_t x = 0; x < K; ++x)
                for (size_t y = 0; y < x; ++y)
                    if (!std::equal(c + (x * K + y) * M, c + (x * K + y + 1) * M, c + (y * K + x) * M))
                        fail("the tensor '" + name +
                             "' must be symmetric in the third and fourth axis for two equal neighbors");
        }
}

Spline3Term read_spline3(size_t k, const json& entry, size_t n_elements, Tensors& tensors) {
    const std::string where = where_of(k), name = prefix_of(k) + "coefficients";
    check_keys(where, entry, {"kind", "start", "cutoff", "start_far", "compact", "taper_start", "taper_width"});
    Spline3Term term;
    read_grid(where, entry, term);
    term.compact = flag(where + ".compact", entry["compact"]);
    const double end_far = term.compact ? term.cutoff : 2 * term.cutoff;
    term.start_far = length(where + ".start_far", entry["start_far"], 0, end_far);
    if (term.start_far == end_far)
        fail(where + ".start_far must be below the end of its axis; " + shown(entry["start_far"]) + " was found");
    term.taper_start =
        length(where + ".taper_start", entry["taper_start"], std::max(term.start, term.start_far), max_cutoff);
    term.taper_width = length(where + ".taper_width", entry["taper_width"], 0, max_cutoff);
    if (term.taper_width == 0)
        fail(where + ".taper_width must be above zero; " + shown(entry["taper_width"]) + " was found");
    const std::vector<uint64_t>& shape = shape_of(tensors, name, 5);
    const uint64_t pairs = n_elements * (n_elements + 1) / 2, K = shape[2], M = shape[4];
    if (K < min_intervals || M < min_far)
        fail("the tensor '" + name + "' needs at least " + std::to_string(min_intervals) + " intervals and " +
             std::to_string(min_far) + " coefficients of the far axis");
    term.n_intervals = size_t(K), term.n_far = size_t(M);
    term.coefficients = take_reals(tensors, name, {uint64_t(n_elements), pairs, K, K, M});
    term.deviations = take_deviations(tensors, prefix_of(k), {uint64_t(n_elements), pairs, K, K, M});
    check_exchange(name, term, term.coefficients.data(), n_elements);
    const size_t size = term.coefficients.size();
    for (size_t begin = 0; begin < term.deviations.size(); begin += size)
        check_exchange(prefix_of(k) + "deviations", term, term.deviations.data() + begin, n_elements);
    return term;
}

RepulsionTerm read_repulsion(size_t k, const json& entry, size_t n_elements, Tensors& tensors) {
    const std::string where = where_of(k);
    check_keys(where, entry, {"kind", "potential"});
    if (entry["potential"] != "zbl")
        fail(where + ".potential must be 'zbl'; " + shown(entry["potential"]) + " was found");
    RepulsionTerm term;
    const uint64_t pairs = n_elements * (n_elements + 1) / 2;
    term.switch_radii = take_reals(tensors, prefix_of(k) + "switch", {pairs, 2});
    for (size_t p = 0; p < pairs; ++p) {
        const double r1 = term.switch_radii[2 * p], r2 = term.switch_radii[2 * p + 1];
        if (!(r1 > 0 && r2 > r1 && r2 <= max_cutoff))
            fail(where + ".switch must hold 0 < r_1 < r_2 <= " + std::to_string(int(max_cutoff)) + " Å in each row");
    }
    return term;
}

} // namespace kml::reading
