// What the reader says of uncertainty: files that have it, and each rule about it.
#include "refusal.h"

#include <cmath>

using namespace kml_tests;

static void uncertain_files() {
    Bytes bytes = uncertain_molecule(4, 5, 3).bytes();
    kml::WeightFile file = kml::read_weight_file(bytes.data(), bytes.size());
    CHECK(file.uncertainty.given && file.uncertainty.members == 0, "a molecule has no members");
    CHECK(file.uncertainty.energy_scale == 1.3 && file.uncertainty.energy_floor == 0.01, "energies");
    CHECK(file.uncertainty.atom_scale == 0.9 && file.uncertainty.atom_floor == 0.02, "atoms");
    CHECK(file.uncertainty.force_scale == 2.0 && file.uncertainty.force_floor == 0.03, "forces");
    CHECK(file.terms[0].n_explained == 3 && file.terms[0].n_explained_points == 3, "explained rows");
    CHECK(file.terms[0].prior_variance == 0.4, "prior_variance");
    CHECK(file.terms[0].explained_energy_coefficients.size() == 9, "explained_energy_coefficients");
    bytes = uncertain_local().bytes();
    file = kml::read_weight_file(bytes.data(), bytes.size());
    CHECK(file.uncertainty.members == 3 && file.uncertainty.atom_energies.size() == 6, "members");
    CHECK(file.spline2[0].deviations.size() == 3 * 12 && file.soap[0].deviations.size() == 3 * 4, "deviations");
    CHECK(file.soap[0].n_explained == 2 && file.soap[0].prior_variance == 0.4, "explained");
}

/** What stands in the document. */
static void bad_calibrations() {
    const auto set = [](const char* name, json value) {
        return [=](Sample& s) { s.document["uncertainty"][name] = value; };
    };
    const json fields = calibration(0);
    for (const auto& good : {uncertain_molecule(), uncertain_local()}) {
        for (const char* name : {"energy_scale", "atom_scale", "force_scale"}) {
            const std::string words = std::string("uncertainty.") + name + " must be a number above 0.0; ";
            refuse(words + "0.0 was found", good, set(name, 0.0));
            refuse(words + "-1e+200 was found", good, set(name, -1e200));
            refuse(words + "null was found", good, set(name, nullptr));
        }
        for (const char* name : {"energy_floor", "atom_floor", "force_floor"}) {
            const std::string words = std::string("uncertainty.") + name + " must be a number at least 0.0; ";
            refuse(words + "-1e-09 was found", good, set(name, -1e-9));
            refuse(words + "true was found", good, set(name, true));
        }
        for (const char* name : {"energy_tail", "atom_tail", "force_tail"}) {
            const std::string words =
                std::string("uncertainty.") + name + " must be a number at least 0.0 and at most 0.4; ";
            refuse(words + "-1 was found", good, set(name, -1));
            refuse(words + "0.41 was found", good, set(name, 0.41));
        }
        for (const auto& item : fields.items())
            refuse("uncertainty lacks the field '" + item.key() + "'", good,
                   [&](Sample& s) { s.document["uncertainty"].erase(item.key()); });
        refuse("uncertainty has the unknown field 'note'", good, set("note", 1));
        refuse("uncertainty must be a JSON object; a list was found", good,
               [](Sample& s) { s.document["uncertainty"] = json::array({2}); });
    }
    refuse("uncertainty.members must be an integer from 0 to 0; 2 was found", uncertain_molecule(), set("members", 2));
    for (const json& value : {json(0), json(257), json(-3), json(3.0), json("3")}) {
        const std::string words = "uncertainty.members must be an integer from 1 to 256; ";
        refuse(words, uncertain_local(), set("members", value));
    }
    refuse("the deviations of a term of kind 'spline2' have 3 members; uncertainty.members is 2", uncertain_local(),
           [&](Sample& s) {
               set("members", 2)(s);
               s.drop("uncertainty.atom_energies");
               s.add("uncertainty.atom_energies", "F64", {2, 2}, std::vector<double>(4));
           });
}

/** Deviations of local terms, and what the sparse points explain. */
static void bad_deviations() {
    const auto bad = [](const std::string& expected, const std::function<void(Sample&)>& change) {
        refuse(expected, uncertain_local(), change);
    };
    const auto exchange = [](const std::string& name, std::vector<size_t> shape) {
        return [=](Sample& s) {
            Random random(5);
            if (s.tensors.contains(name))
                s.drop(name);
            s.fill(name, shape, random, -1, 1);
        };
    };
    const std::string pairs = "terms.1.deviations", triples = "terms.2.deviations", soap = "terms.0.explained";
    bad("a term of kind 'spline2' has deviations, but the document has no uncertainty: both stand together",
        [](Sample& s) { s.document.erase("uncertainty"), s.drop("uncertainty.atom_energies"); });
    bad("a term of kind 'spline2' has no deviations, but the document has uncertainty: both stand together",
        [&](Sample& s) { s.drop(pairs); });
    bad("the tensor 'uncertainty.atom_energies' is missing", [](Sample& s) { s.drop("uncertainty.atom_energies"); });
    bad("the tensor 'uncertainty.atom_energies' has shape (3, 1); (3, 2) is expected",
        exchange("uncertainty.atom_energies", {3, 1}));
    bad("the tensor 'terms.1.deviations' has shape (3, 3, 5); (3, 3, 4) is expected", exchange(pairs, {3, 3, 5}));
    bad("the tensor 'terms.1.deviations' has shape (3, 4); 3 sizes are expected", exchange(pairs, {3, 4}));
    bad("the tensor 'terms.1.deviations' has 257 members; this program takes at most 256",
        exchange(pairs, {257, 3, 4}));
    bad("'spline2' have 4 members; uncertainty.members is 3", exchange(pairs, {4, 3, 4}));
    bad("the tensor 'terms.2.deviations' must be symmetric", exchange(triples, {3, 2, 3, 4, 4, 7}));
    bad("the tensor 'terms.3.deviations' belongs to no term", exchange("terms.3.deviations", {3, 3, 2}));
    for (double number : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
        bad("the tensor 'terms.1.deviations' holds a number that is not finite",
            [&](Sample& s) { put(s, pairs, 35, number); });
        bad("the tensor 'terms.0.explained' holds a number that is not finite",
            [&](Sample& s) { put(s, soap, 0, number); });
    }
    bad("the tensor 'terms.0.explained' has shape (4, 2); (4, 4) is expected", exchange(soap, {4, 2}));
    bad("the tensor 'terms.0.explained' makes 100001 rows; this program takes at most 100000",
        exchange(soap, {100001, 4}));
    bad("terms[0].explained needs deviations beside it", [](Sample& s) { s.drop("terms.0.deviations"); });
    bad("terms[0].explained cannot stand beside sparse_offsets", exchange("terms.0.sparse_offsets", {4}));
    bad("terms[0] must have either both of explained and prior_variance or none of them",
        [&](Sample& s) { s.drop(soap); });
    bad("terms[0] must have either both of explained and prior_variance or none of them",
        [](Sample& s) { s.document["terms"][0].erase("prior_variance"); });
    for (const json& value : {json(0), json(-1.0), json("1"), json(nullptr)})
        bad("terms[0].prior_variance must be a finite number above zero; ",
            [&](Sample& s) { s.document["terms"][0]["prior_variance"] = value; });
    bad("terms[1] has the unknown field 'prior_variance'",
        [](Sample& s) { s.document["terms"][1]["prior_variance"] = 1; });
}

/** What the training points of a molecule explain. */
static void bad_explained() {
    const auto bad = [](const std::string& expected, const std::function<void(Sample&)>& change) {
        refuse(expected, uncertain_molecule(), change);
    };
    const std::string rows = "terms.0.explained_descriptor_coefficients",
                      energies = "terms.0.explained_energy_coefficients";
    const auto exchange = [](const std::string& name, std::vector<size_t> shape) {
        return [=](Sample& s) {
            Random random(5);
            s.drop(name);
            s.fill(name, shape, random, -1, 1);
        };
    };
    bad("a term of kind 'gdml' has explained_descriptor_coefficients, but the document has no uncertainty",
        [](Sample& s) { s.document.erase("uncertainty"); });
    bad("a term of kind 'gdml' has no explained_descriptor_coefficients, but the document has uncertainty",
        [&](Sample& s) { s.drop(rows), s.drop(energies), s.document["terms"][0].erase("prior_variance"); });
    bad("terms[0] has explained_energy_coefficients or prior_variance, but no explained_descriptor_coefficients",
        [&](Sample& s) { s.drop(rows); });
    bad("terms[0] lacks the field 'prior_variance'", [](Sample& s) { s.document["terms"][0].erase("prior_variance"); });
    bad("has 3 rows and 6 points; at most 100000 and 5 are expected", exchange(rows, {3, 6, 6}));
    bad("has 100001 rows and 1 points; at most 100000 and 5 are expected", exchange(rows, {100001, 1, 6}));
    bad("has shape (3, 4, 5); (3, 4, 6) is expected", exchange(rows, {3, 4, 5}));
    bad("has shape (12, 6); 3 sizes are expected", exchange(rows, {12, 6}));
    bad("'terms.0.explained_energy_coefficients' has shape (4, 3); (3, 4) is expected", exchange(energies, {4, 3}));
    bad("'terms.0.explained_energy_coefficients' holds a number that is not finite",
        [&](Sample& s) { put(s, energies, 11, std::nan("")); });
    bad("'terms.0.explained_descriptor_coefficients' holds a number that is not finite",
        [&](Sample& s) { put(s, rows, 71, HUGE_VAL); });
    bad("the tensor 'uncertainty.atom_energies' belongs to no term",
        [](Sample& s) { s.add("uncertainty.atom_energies", "F64", {1, 1}, std::vector<double>{0}); });
}

int main() {
    uncertain_files();
    bad_calibrations();
    bad_deviations();
    bad_explained();
    return finish();
}
