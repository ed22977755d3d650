#include "weight_reading.h"

#include <algorithm>
#include <cmath>

namespace kml::reading {

constexpr size_t max_permutations = 100000;
constexpr size_t max_index = size_t(1) << 28; // permutations times descriptor entries: the index table's 1 GiB

static RadialKernel read_kernel(const std::string& where, const json& value) {
    const std::pair<const char*, RadialKernel> known[] = {{"matern52", RadialKernel::matern52},
                                                          {"matern72", RadialKernel::matern72},
                                                          {"matern92", RadialKernel::matern92},
                                                          {"squared_exponential", RadialKernel::squared_exponential}};
    for (const auto& kernel : known)
        if (value.is_string() && value == kernel.first)
            return kernel.second;
    fail(where + ".kernel must be one of matern52, matern72, matern92, squared_exponential; " + shown(value) +
         " was found");
}

static void check_permutations(const std::string& where, const GDMLTerm& term, const std::vector<int>& species) {
    const size_t n = species.size(), P = term.n_permutations;
    const int32_t* rows = term.permutations.data();
    std::vector<char> seen(n);
    for (size_t p = 0; p < P; ++p) {
        std::fill(seen.begin(), seen.end(), 0);
        for (size_t i = 0; i < n; ++i) {
            const int32_t k = rows[p * n + i];
            if (k < 0 || size_t(k) >= n || seen[size_t(k)])
                fail(where + ".permutations has a row that is not a permutation of 0 to " + std::to_string(n - 1));
            seen[size_t(k)] = 1;
            if (p == 0 && size_t(k) != i)
                fail(where + ".permutations must start with the identity");
            if (species[size_t(k)] != species[i])
                fail(where + ".permutations exchanges atoms of different elements");
        }
    }
    std::vector<const int32_t*> order(P);
    for (size_t p = 0; p < P; ++p)
        order[p] = rows + p * n;
    std::sort(order.begin(), order.end(),
              [n](const int32_t* a, const int32_t* b) { return std::lexicographical_compare(a, a + n, b, b + n); });
    for (size_t p = 1; p < P; ++p)
        if (std::equal(order[p], order[p] + n, order[p - 1]))
            fail(where + ".permutations has a row twice");
    const std::vector<double>& v = term.descriptor_weights;
    for (size_t p = 0; p < P; ++p) {
        const int32_t* perm = rows + p * n;
        size_t d = 0;
        for (size_t i = 1; i < n; ++i)
            for (size_t j = 0; j < i; ++j, ++d) {
                const size_t a = size_t(std::max(perm[i], perm[j])), b = size_t(std::min(perm[i], perm[j]));
                if (std::fabs(v[a * (a - 1) / 2 + b] - v[d]) > 1e-12 * v[d])
                    fail(where + ".descriptor_weights must not change under the permutations");
            }
    }
}

// What the training data explain of the prior variance.
static void read_explained(const std::string& where, const std::string& prefix, const json& entry, Tensors& tensors,
                           GDMLTerm& term) {
    const std::string descriptors = prefix + "explained_descriptor_coefficients",
                      energies = prefix + "explained_energy_coefficients";
    if (!has(tensors, descriptors)) {
        if (has(tensors, energies) || entry.contains("prior_variance"))
            fail(where +
                 " has explained_energy_coefficients or prior_variance, but no explained_descriptor_coefficients");
        return;
    }
    const std::vector<uint64_t>& shape = shape_of(tensors, descriptors, 3);
    const uint64_t R = shape[0], N = shape[1];
    if (R > max_explained || N > term.n_train)
        fail("the tensor '" + descriptors + "' has " + std::to_string(R) + " rows and " + std::to_string(N) +
             " points; at most " + std::to_string(max_explained) + " and " + std::to_string(term.n_train) +
             " are expected");
    term.n_explained = size_t(R), term.n_explained_points = size_t(N);
    term.explained_descriptor_coefficients = take_reals(tensors, descriptors, {R, N, term.n_entries});
    if (has(tensors, energies))
        term.explained_energy_coefficients = take_reals(tensors, energies, {R, N});
    term.prior_variance = finite(where + ".prior_variance", field(where, entry, "prior_variance"), true);
}

GDMLTerm read_gdml(size_t k, const json& entry, const std::vector<int>& species, Tensors& tensors) {
    const std::string where = where_of(k), prefix = prefix_of(k);
    check_keys(where, entry, {"kind", "n_atoms", "power", "kernel", "length_scale", "energy_offset"},
               {"prior_variance"});
    uint64_t n;
    if (!whole(entry["n_atoms"], max_atoms, n) || n != species.size())
        fail(where + ".n_atoms is " + shown(entry["n_atoms"]) + ", but species has " + std::to_string(species.size()) +
             " atoms");
    GDMLTerm term;
    term.power = finite(where + ".power", entry["power"], true);
    term.kernel = read_kernel(where, entry["kernel"]);
    term.length_scale = finite(where + ".length_scale", entry["length_scale"], true);
    term.energy_offset = finite(where + ".energy_offset", entry["energy_offset"], false);
    const uint64_t D = n * (n - 1) / 2, N = shape_of(tensors, prefix + "training_descriptors", 2)[0],
                   P = shape_of(tensors, prefix + "permutations", 2)[0];
    if (P > max_permutations || P > max_index / D)
        fail("the tensor '" + prefix + "permutations' has " + std::to_string(P) +
             " rows, more than this program takes");
    term.n_train = size_t(N), term.n_entries = size_t(D), term.n_permutations = size_t(P);
    term.descriptor_weights = take_reals(tensors, prefix + "descriptor_weights", {D});
    for (double v : term.descriptor_weights)
        if (v <= 0)
            fail(where + ".descriptor_weights must be above zero");
    term.training_descriptors = take_reals(tensors, prefix + "training_descriptors", {N, D});
    term.descriptor_coefficients = take_reals(tensors, prefix + "descriptor_coefficients", {N, D});
    if (tensors.named.count(prefix + "energy_coefficients"))
        term.energy_coefficients = take_reals(tensors, prefix + "energy_coefficients", {N});
    read_explained(where, prefix, entry, tensors, term);
    term.permutations = take_integers(tensors, prefix + "permutations", {P, n});
    check_permutations(where, term, species);
    return term;
}

WallsTerm read_walls(size_t k, const json& entry, size_t n_atoms, Tensors& tensors) {
    const std::string where = where_of(k);
    check_keys(where, entry, {"kind", "stiffness", "onset"});
    WallsTerm term;
    term.stiffness = finite(where + ".stiffness", entry["stiffness"], true);
    term.onset = finite(where + ".onset", entry["onset"], true);
    const uint64_t pairs = uint64_t(n_atoms) * (n_atoms - 1) / 2;
    term.bounds = take_reals(tensors, prefix_of(k) + "bounds", {pairs, 2});
    for (size_t p = 0; p < pairs; ++p) {
        const double lower = term.bounds[2 * p], upper = term.bounds[2 * p + 1];
        if (!(lower >= 0 && lower <= max_cutoff && (upper == 0 || upper > lower) && upper <= max_cutoff))
            fail(where + ".bounds must hold 0 <= lower < upper <= " + std::to_string(int(max_cutoff)) +
                 " Å in each row, or an upper bound of 0");
    }
    return term;
}

} // namespace kml::reading
