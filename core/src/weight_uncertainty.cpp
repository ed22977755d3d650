#include "weight_reading.h"

namespace kml::reading {

std::vector<double> take_deviations(Tensors& tensors, const std::string& prefix, const std::vector<uint64_t>& shape) {
    const std::string name = prefix + "deviations";
    if (!has(tensors, name))
        return {};
    const uint64_t members = shape_of(tensors, name, shape.size() + 1)[0];
    if (members > max_members)
        fail("the tensor '" + name + "' has " + std::to_string(members) + " members; this program takes at most " +
             std::to_string(max_members));
    std::vector<uint64_t> all{members};
    all.insert(all.end(), shape.begin(), shape.end());
    return take_reals(tensors, name, all);
}

namespace {

constexpr double most_tail = 0.4; // with 2.5 degrees of freedom the variance still exists

// A term is its number of coefficients and of deviations.
void check_members(const std::string& kind, size_t coefficients, size_t deviations, const Uncertainty& uncertainty) {
    if ((deviations > 0) != uncertainty.given)
        fail("a term of kind '" + kind + "' has " + (deviations ? "" : "no ") + "deviations, but the document has " +
             (uncertainty.given ? "" : "no ") + "uncertainty: both stand together");
    if (deviations != uncertainty.members * coefficients)
        fail("the deviations of a term of kind '" + kind + "' have " + std::to_string(deviations / coefficients) +
             " members; uncertainty.members is " + std::to_string(uncertainty.members));
}

void check_terms(const WeightFile& file) {
    for (const Spline2Term& term : file.spline2)
        check_members("spline2", term.coefficients.size(), term.deviations.size(), file.uncertainty);
    for (const Spline3Term& term : file.spline3)
        check_members("spline3", term.coefficients.size(), term.deviations.size(), file.uncertainty);
    for (const SoapTerm& term : file.soap)
        check_members("soap", term.coefficients.size(), term.deviations.size(), file.uncertainty);
    for (const GDMLTerm& term : file.terms)
        if ((term.n_explained > 0) != file.uncertainty.given)
            fail(std::string("a term of kind 'gdml' has ") + (term.n_explained ? "" : "no ") +
                 "explained_descriptor_coefficients, but the document has " + (file.uncertainty.given ? "" : "no ") +
                 "uncertainty: both stand together");
}

} // namespace

void read_uncertainty(const json& document, Tensors& tensors, WeightFile& file) {
    Uncertainty& result = file.uncertainty;
    const auto found = document.find("uncertainty");
    result.given = found != document.end();
    if (result.given) {
        const json& entry = *found;
        check_keys("uncertainty", entry,
                   {"members", "energy_scale", "energy_floor", "energy_tail", "atom_scale", "atom_floor", "atom_tail",
                    "force_scale", "force_floor", "force_tail"});
        const bool local = file.species.empty();
        const uint64_t least = local ? 1 : 0, most = local ? max_members : 0;
        uint64_t members;
        if (!whole(entry["members"], most, members) || members < least)
            fail("uncertainty.members must be an integer from " + std::to_string(least) + " to " +
                 std::to_string(most) + "; " + shown(entry["members"]) + " was found");
        result.members = size_t(members);
        const double none = std::numeric_limits<double>::infinity();
        const auto scale = [&](const char* name) {
            return number(std::string("uncertainty.") + name, entry[name], -none, none, 0);
        };
        const auto floor = [&](const char* name) {
            return number(std::string("uncertainty.") + name, entry[name], 0, none);
        };
        result.energy_scale = scale("energy_scale"), result.energy_floor = floor("energy_floor");
        result.atom_scale = scale("atom_scale"), result.atom_floor = floor("atom_floor");
        result.force_scale = scale("force_scale"), result.force_floor = floor("force_floor");
        for (const char* name : {"energy_tail", "atom_tail", "force_tail"}) // of intervals, which no engine makes
            number(std::string("uncertainty.") + name, entry[name], 0, most_tail);
        if (local)
            result.atom_energies =
                take_reals(tensors, "uncertainty.atom_energies", {members, uint64_t(file.elements.size())});
    }
    check_terms(file);
}

} // namespace kml::reading
