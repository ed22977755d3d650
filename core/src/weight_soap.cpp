#include "weight_reading.h"

#include <algorithm>

namespace kml::reading {

constexpr uint64_t max_channels = 64, max_radial = 64, max_combined = 512, max_nodes = 128, max_angular = 21;
constexpr uint64_t max_dimension = uint64_t(1) << 20;
constexpr double min_sigma = 0.05;        // Å
constexpr double max_cutoff_sigmas = 200; // cutoff by atom_sigma; beyond, tables of radial functions fill the memory
constexpr double max_power = 100;         // of the kernel and of the decay

static void read_scalars(const std::string& where, const json& entry, SoapTerm& term) {
    const auto positive = [&](const char* name, double most) {
        const double x = length(where + "." + name, entry[name], 0, most);
        if (x == 0)
            fail(where + "." + name + " must be above zero; " + shown(entry[name]) + " was found");
        return x;
    };
    const double none = std::numeric_limits<double>::infinity();
    term.cutoff = positive("cutoff", max_cutoff);
    term.cutoff_width = positive("cutoff_width", term.cutoff);
    term.decay_scale = positive("decay_scale", max_cutoff);
    term.decay_exponent = number(where + ".decay_exponent", entry["decay_exponent"], 0, max_power);
    term.decay_rate = number(where + ".decay_rate", entry["decay_rate"], 0, none);
    term.atom_sigma = length(where + ".atom_sigma", entry["atom_sigma"], min_sigma, max_cutoff);
    if (term.cutoff > max_cutoff_sigmas * term.atom_sigma)
        fail(where + ".atom_sigma must be at least the cutoff / " + std::to_string(int(max_cutoff_sigmas)) + "; " +
             shown(entry["atom_sigma"]) + " was found");
    term.normalize = flag(where + ".normalize", entry["normalize"]);
    term.diagonal_radial = flag(where + ".diagonal_radial", entry["diagonal_radial"]);
    term.zeta = number(where + ".zeta", entry["zeta"], -none, max_power, 0);
}

static void check_size(const std::string& name, const char* what, uint64_t size, uint64_t most) {
    if (size > most)
        fail("the tensor '" + name + "' makes " + std::to_string(size) + " " + what + "; this program takes at most " +
             std::to_string(most));
}

// The sizes, each bounded before it is multiplied.
static void read_sizes(const std::string& prefix, const Tensors& tensors, SoapTerm& term) {
    const std::string weights = prefix + "species_weights", transforms = prefix + "radial_transforms",
                      points = prefix + "sparse_points";
    const uint64_t C = shape_of(tensors, weights, 2)[1];
    const std::vector<uint64_t>& shape = shape_of(tensors, transforms, 3);
    const uint64_t L1 = shape[0], A = shape[1], N = shape[2];
    check_size(weights, "channels", C, max_channels);
    check_size(transforms, "angular functions", L1, max_angular);
    check_size(transforms, "radial nodes", A, max_nodes);
    check_size(transforms, "radial functions", N, max_radial);
    check_size(transforms, "functions of all channels", C * N, max_combined);
    const uint64_t K = C * N, D = L1 * (term.diagonal_radial ? N * C * (C + 1) / 2 : K * (K + 1) / 2);
    check_size(transforms, "entries of the power spectrum", D, max_dimension);
    term.n_channels = long(C), term.n_angular = long(L1), term.n_nodes = long(A), term.n_radial = long(N);
    term.dimension = long(D);
    term.n_sparse = long(shape_of(tensors, points, 2)[0]);
}

static void check_values(const std::string& where, const SoapTerm& term) {
    bool any = false;
    for (int center : term.centers) {
        if (center != 0 && center != 1)
            fail(where + ".centers must hold 0 or 1 for each element; " + std::to_string(center) + " was found");
        any = any || center == 1;
    }
    if (!any)
        fail(where + ".centers must hold at least one 1");
    const std::vector<double>&t = term.angular_weights, &nodes = term.radial_nodes;
    if (*std::min_element(t.begin(), t.end()) < 0 || *std::max_element(t.begin(), t.end()) == 0)
        fail(where + ".angular_weights must be zero or above, and not all zero");
    const bool ascending =
        std::adjacent_find(nodes.begin(), nodes.end(), [](double a, double b) { return b <= a; }) == nodes.end();
    if (!ascending || nodes.front() < 0 || nodes.back() > max_cutoff)
        fail(where + ".radial_nodes must ascend from 0 Å or above to " + std::to_string(int(max_cutoff)) +
             " Å at most");
}

// What the sparse points explain of the prior variance.
static void read_explained(const std::string& where, const std::string& prefix, const json& entry, Tensors& tensors,
                           SoapTerm& term) {
    const std::string name = prefix + "explained";
    if (has(tensors, name) != entry.contains("prior_variance"))
        fail(where + " must have either both of explained and prior_variance or none of them");
    if (!has(tensors, name))
        return;
    if (term.deviations.empty())
        fail(where + ".explained needs deviations beside it");
    if (!term.sparse_offsets.empty())
        fail(where + ".explained cannot stand beside sparse_offsets, which leave the prior open");
    const uint64_t R = shape_of(tensors, name, 2)[0];
    check_size(name, "rows", R, max_explained);
    term.explained = take_reals(tensors, name, {R, uint64_t(term.n_sparse)});
    term.n_explained = size_t(R);
    term.prior_variance = finite(where + ".prior_variance", entry["prior_variance"], true);
}

SoapTerm read_soap(size_t k, const json& entry, size_t n_elements, Tensors& tensors) {
    const std::string where = where_of(k), prefix = prefix_of(k);
    check_keys(where, entry,
               {"kind", "cutoff", "cutoff_width", "decay_exponent", "decay_scale", "decay_rate", "atom_sigma",
                "normalize", "diagonal_radial", "zeta"},
               {"prior_variance"});
    SoapTerm term;
    read_scalars(where, entry, term);
    read_sizes(prefix, tensors, term);
    const uint64_t n = n_elements, C = uint64_t(term.n_channels), L1 = uint64_t(term.n_angular),
                   A = uint64_t(term.n_nodes), N = uint64_t(term.n_radial), M = uint64_t(term.n_sparse),
                   D = uint64_t(term.dimension);
    const std::vector<int32_t> centers = take_integers(tensors, prefix + "centers", {n});
    term.centers.assign(centers.begin(), centers.end());
    term.species_weights = take_reals(tensors, prefix + "species_weights", {n, C});
    term.central_weights = take_reals(tensors, prefix + "central_weights", {n, C});
    term.angular_weights = take_reals(tensors, prefix + "angular_weights", {L1});
    term.radial_nodes = take_reals(tensors, prefix + "radial_nodes", {A});
    term.radial_transforms = take_reals(tensors, prefix + "radial_transforms", {L1, A, N});
    term.central_radial = take_reals(tensors, prefix + "central_radial", {N});
    term.sparse_points = take_reals(tensors, prefix + "sparse_points", {M, D});
    term.coefficients = take_reals(tensors, prefix + "coefficients", {M});
    if (tensors.named.count(prefix + "sparse_offsets"))
        term.sparse_offsets = take_reals(tensors, prefix + "sparse_offsets", {M});
    term.deviations = take_deviations(tensors, prefix, {M});
    read_explained(where, prefix, entry, tensors, term);
    check_values(where, term);
    return term;
}

} // namespace kml::reading
