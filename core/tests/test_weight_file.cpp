// The reader: what it reads, and that every rule of docs/weight_file_format.md refuses with a message that names it.
#include "refusal.h"

#include <limits>

using namespace kml_tests;

static void good_files() {
    for (bool energies : {false, true}) {
        const Bytes bytes = sample(5, 7, energies, "matern92", 0.5).bytes();
        const kml::WeightFile file = kml::read_weight_file(bytes.data(), bytes.size());
        CHECK(file.species == std::vector<int>(5, 6), "species");
        CHECK(file.atom_energies.at(6) == -1.5, "atom_energies");
        CHECK(file.terms.size() == 1, "terms");
        const kml::GDMLTerm& term = file.terms[0];
        CHECK(term.n_train == 7 && term.n_entries == 10 && term.n_permutations == 2, "sizes");
        CHECK(term.kernel == kml::RadialKernel::matern92 && term.power == 0.5, "hyperparameters");
        CHECK(term.energy_coefficients.empty() != energies, "energy_coefficients");
    }
    Sample s = sample();
    s.document["x_note"] = "extensions are passed over";
    s.document["terms"][0]["x_note"] = json::array({1, 2});
    CHECK(refusal(s.bytes()).empty(), "%s", refusal(s.bytes()).c_str());
}

static void bad_containers() {
    refuse("at least 8 bytes", Bytes());
    refuse("at least 8 bytes", Bytes(7, 0));
    refuse("truncated or not a weight file", Bytes(64, 0xff));
    refuse("not valid JSON", sample().assemble("{\"a\": "));
    refuse("zero byte", sample().assemble(sample().header() + std::string(8, '\0')));
    refuse("must be a JSON object", sample().assemble("[1, 2]"));
    refuse("nested deeper", sample().assemble(std::string(100000, '[')));
    refuse("twice", sample().assemble("{\"a\": 1, \"a\": 2}"));
    refuse("not a weight file of openmm_kml", sample().assemble("{}"));
    Bytes bytes = sample().bytes();
    bytes.pop_back();
    refuse("data_offsets outside the file", bytes);
    bytes = sample().bytes();
    bytes.push_back(0);
    refuse("the tensors end at byte", bytes);
    refuse("__metadata__.format", [](Sample& s) { s.metadata["format"] = "gguf"; });
    refuse("format_version", [](Sample& s) { s.metadata["format_version"] = "2"; });
    refuse("format_version", [](Sample& s) { s.metadata["format_version"] = 1; });
    refuse("exactly the keys", [](Sample& s) { s.metadata["date"] = "today"; });
    refuse("document is not valid JSON", [](Sample& s) { s.metadata["document"] = "{"; });
    refuse("document is not valid JSON", [](Sample& s) { s.metadata["document"] = "{\"a\": NaN}"; });
}

static void bad_tensors() {
    const std::string x = "terms.0.training_descriptors", p = "terms.0.permutations", v = "terms.0.descriptor_weights";
    refuse("dtype", [&](Sample& s) { s.tensors[x]["dtype"] = "F32"; });
    refuse("is I32; F64 is expected", [&](Sample& s) {
        s.tensors[x]["dtype"] = "I32";
        s.tensors[x]["shape"] = {10, 6};
    });
    refuse("has shape", [&](Sample& s) { s.tensors[x]["shape"] = {6, 5}; });
    refuse("2 sizes", [&](Sample& s) { s.tensors[x]["shape"] = {5, 3, 2}; });
    refuse("2 sizes are expected", [&](Sample& s) { s.tensors[x]["shape"] = {30}; });
    refuse("in its shape", [&](Sample& s) { s.tensors[x]["shape"] = {0, 6}; });
    refuse("in its shape", [&](Sample& s) { s.tensors[x]["shape"] = {-5, 6}; });
    refuse("in its shape", [&](Sample& s) { s.tensors[x]["shape"] = {5.5, 6}; });
    refuse("in its shape", [&](Sample& s) { s.tensors[x]["shape"] = {uint64_t(1) << 62, uint64_t(1) << 62}; });
    refuse("data_offsets of", [&](Sample& s) { s.tensors[x]["shape"] = {4, 6}; });
    refuse("data_offsets outside", [&](Sample& s) { s.tensors[x]["data_offsets"] = {uint64_t(-8), uint64_t(-1)}; });
    refuse("data_offsets outside", [&](Sample& s) { s.tensors[x]["data_offsets"] = {240, 0}; });
    refuse("overlap or leave a gap", [&](Sample& s) { s.tensors[x]["data_offsets"] = {0, 240}; });
    refuse("exactly the keys", [&](Sample& s) { s.tensors[x].erase("dtype"); });
    refuse("'terms.0.training_descriptors' is missing",
           [&](Sample& s) { s.tensors["other"] = s.tensors[x], s.tensors.erase(x); });
    refuse("belongs to no term", [](Sample& s) { s.add("other", "F64", {1}, std::vector<double>{1}); });
    refuse("not finite", [&](Sample& s) { put(s, x, 3, std::numeric_limits<double>::quiet_NaN()); });
    refuse("not finite", [](Sample& s) { put(s, "terms.0.energy_coefficients", 0, -HUGE_VAL); });
    refuse("descriptor_weights must be above zero", [&](Sample& s) { put(s, v, 0, 0.0); });
    refuse("must not change under", [&](Sample& s) { put(s, v, 1, 1.0 + 1e-9); });
    refuse("not a permutation", [&](Sample& s) { put(s, p, 7, int32_t(4)); });
    refuse("not a permutation", [&](Sample& s) { put(s, p, 7, int32_t(-1)); });
    refuse("not a permutation", [&](Sample& s) { put(s, p, 7, int32_t(3)); });
    refuse("start with the identity", [&](Sample& s) { put(s, p, 0, int32_t(1)), put(s, p, 1, int32_t(0)); });
    refuse("a row twice", [&](Sample& s) { put(s, p, 6, int32_t(2)), put(s, p, 7, int32_t(3)); });
    refuse("different elements", [](Sample& s) { s.document["species"] = {6, 6, 6, 1}; });
}

static void bad_documents() {
    for (const char* name : {"units", "species", "atom_energies", "terms", "provenance"})
        refuse(name, [&](Sample& s) { s.document.erase(name); });
    for (const char* name : {"kind", "n_atoms", "power", "kernel", "length_scale", "energy_offset"})
        refuse(name, [&](Sample& s) { s.document["terms"][0].erase(name); });
    refuse("unknown field 'note'", [](Sample& s) { s.document["note"] = 1; });
    refuse("unknown field 'note'", [](Sample& s) { s.document["terms"][0]["note"] = 1; });
    refuse("units", [](Sample& s) { s.document["units"]["energy"] = "kcal/mol"; });
    refuse("species", [](Sample& s) { s.document["species"] = {6, 6, 6, 119}; });
    refuse("species", [](Sample& s) { s.document["species"] = {6, 6, 6, 0}; });
    refuse("species", [](Sample& s) { s.document["species"] = {6, 6, 6, 6.0}; });
    refuse("species", [](Sample& s) { s.document["species"] = {6}; });
    refuse("n_atoms is 4", [](Sample& s) { s.document["species"] = {6, 6, 6}; });
    refuse("species", [](Sample& s) { s.document["species"] = std::vector<int>(10001, 6); });
    refuse("atom_energies", [](Sample& s) { s.document["atom_energies"] = json::array(); });
    refuse("atom_energies", [](Sample& s) { s.document["atom_energies"]["C"] = 1; });
    refuse("atom_energies", [](Sample& s) { s.document["atom_energies"]["1"] = "x"; });
    refuse("provenance", [](Sample& s) { s.document["provenance"] = 1; });
    refuse("at least one term", [](Sample& s) { s.document["terms"] = json::array(); });
    refuse("kind is 'soap'", [](Sample& s) { s.document["terms"][0]["kind"] = "soap"; });
    refuse("terms[0] must be a JSON object", [](Sample& s) { s.document["terms"] = {3}; });
    refuse("terms.1.training_descriptors", [](Sample& s) { s.document["terms"].push_back(s.document["terms"][0]); });
    refuse("n_atoms", [](Sample& s) { s.document["terms"][0]["n_atoms"] = 5; });
    refuse("kernel", [](Sample& s) { s.document["terms"][0]["kernel"] = "matern32"; });
    refuse("power", [](Sample& s) { s.document["terms"][0]["power"] = 0; });
    refuse("power", [](Sample& s) { s.document["terms"][0]["power"] = "1"; });
    refuse("power", [](Sample& s) { s.document["terms"][0]["power"] = true; });
    refuse("length_scale", [](Sample& s) { s.document["terms"][0]["length_scale"] = -1; });
    refuse("energy_offset", [](Sample& s) { s.document["terms"][0]["energy_offset"] = nullptr; });
}

static void soap_files() {
    const auto refuse_soap = [](const std::string& expected, const std::function<void(Sample&)>& change) {
        refuse(expected, soap_sample(), change);
    };
    for (bool diagonal : {false, true}) {
        const Bytes bytes = soap_sample(diagonal, !diagonal, 2.5).bytes();
        const kml::WeightFile file = kml::read_weight_file(bytes.data(), bytes.size());
        CHECK(file.elements == std::vector<int>({8, 14}) && file.soap.size() == 1, "one soap term");
        const kml::SoapTerm& term = file.soap[0];
        CHECK(term.n_channels == 2 && term.n_radial == 3 && term.n_nodes == 3 && term.n_angular == 3, "sizes");
        CHECK(term.dimension == (diagonal ? 27 : 63) && term.n_sparse == 4, "sparse points");
        CHECK(term.cutoff == 4 && term.cutoff_width == 0.5 && term.atom_sigma == 0.5 && term.zeta == 2.5, "scalars");
        CHECK(term.decay_exponent == 2 && term.decay_scale == 1.5 && term.decay_rate == 0.5, "decay");
        CHECK(term.diagonal_radial == diagonal && term.normalize != diagonal, "flags");
        CHECK(term.centers == std::vector<int>({1, 0}) && term.radial_nodes[2] == 3.6, "tensors");
        CHECK(term.sparse_points.size() == size_t(4 * term.dimension), "sparse points");
        CHECK(term.sparse_offsets.size() == (diagonal ? 0 : 4), "sparse_offsets");
    }
    refuse_soap("cutoff_width", [](Sample& s) { s.document["terms"][0]["cutoff_width"] = 4.5; });
    refuse_soap("zeta must be a number above 0.0 and at most 100.0",
                [](Sample& s) { s.document["terms"][0]["zeta"] = 0; });
    refuse_soap("normalize must be true or false", [](Sample& s) { s.document["terms"][0]["normalize"] = 1; });
    refuse_soap("is expected", [](Sample& s) { s.document["terms"][0]["diagonal_radial"] = true; });
    refuse_soap("needs elements", [](Sample& s) {
        s.document.erase("elements");
        s.document["species"] = {8, 14};
    });
    refuse_soap("centers must hold at least one 1", [](Sample& s) { put(s, "terms.0.centers", 0, int32_t(0)); });
    refuse_soap("ascend", [](Sample& s) { put(s, "terms.0.radial_nodes", 1, 0.0); });
    refuse_soap("angular_weights", [](Sample& s) { put(s, "terms.0.angular_weights", 1, -1.0); });
}

int main() {
    good_files();
    soap_files();
    bad_containers();
    bad_tensors();
    bad_documents();
    char tiny[8];
    CHECK(!kml::open_potential("", 0, nullptr, tiny, sizeof tiny), "opened nothing");
    CHECK(std::strlen(tiny) == 7, "the message is cut to the buffer");
    CHECK(!kml::open_potential(nullptr, 0, nullptr, nullptr, 0), "opened nothing");
    return finish();
}
