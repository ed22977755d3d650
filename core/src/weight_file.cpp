#include "weight_reading.h"

#include <algorithm>
#include <cstring>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the reader copies little-endian tensors as they are"
#endif

namespace kml {

using namespace reading;

namespace {

constexpr size_t max_header = 100000000;

std::vector<int> read_numbers(const std::string& name, const json& list, size_t least, size_t most) {
    std::vector<int> species;
    if (list.is_array() && list.size() >= least && list.size() <= most)
        for (const json& value : list) {
            uint64_t z;
            if (!whole(value, 118, z) || z == 0)
                break;
            species.push_back(int(z));
        }
    if (species.empty() || species.size() != list.size())
        fail(name + " must be a list of " + std::to_string(least) + " to " + std::to_string(most) +
             " atomic numbers from 1 to 118");
    return species;
}

std::vector<int> read_elements(const json& list) {
    const std::vector<int> elements = read_numbers("elements", list, 1, 118);
    for (size_t k = 1; k < elements.size(); ++k)
        if (elements[k] <= elements[k - 1])
            fail("elements must be ascending, no number twice");
    return elements;
}

std::map<int, double> read_atom_energies(const json& object) {
    if (!object.is_object())
        fail("atom_energies must be an object of atomic numbers and energies");
    std::map<int, double> energies;
    for (const auto& item : object.items()) {
        const std::string& key = item.key();
        const bool digits = !key.empty() && key.size() <= 3 && key[0] != '0' &&
                            key.find_first_not_of("0123456789") == std::string::npos;
        const int z = digits ? std::stoi(key) : 0;
        if (z < 1 || z > 118)
            fail("atom_energies has the key " + quoted(key) + "; an atomic number from 1 to 118 is expected");
        energies[z] = finite("atom_energies[" + key + "]", item.value(), false);
    }
    return energies;
}

// A model that is the difference to a baseline is read only where somebody said that the baseline is added.
void check_baseline(const json& baseline, BaselineAdded said) {
    check_keys("baseline", baseline, {"digest", "name", "added"});
    const json &digest = baseline["digest"], &name = baseline["name"], &added = baseline["added"];
    const std::string hex = digest.is_string() ? digest.get<std::string>() : std::string();
    if (hex.size() != 71 || hex.compare(0, 7, "sha256:") != 0 ||
        hex.find_first_not_of("0123456789abcdef", 7) != std::string::npos)
        fail("baseline.digest must be 'sha256:' and 64 hex digits; " + shown(digest) + " was found");
    if (!name.is_string())
        fail("baseline.name must be a string; " + shown(name) + " was found");
    if (!added.is_boolean())
        fail("baseline.added must be true or false; " + shown(added) + " was found");
    if (!added.get<bool>() && said == BaselineAdded::by_file)
        fail("this model is only the difference to the baseline " + shown(name) + " (" + hex.substr(0, 19) +
             "…): evaluate it together with that, by --baseline on the command line, KMLForce(..., "
             "baseline_system=...) in OpenMM, KMLCalculator(..., baseline=...) in ASE, or in LAMMPS by another style "
             "beside it (pair_style hybrid/overlay) and the words 'baseline added' after the elements");
}

void read_term(size_t k, const std::string& where, const json& kind, const json& entry, WeightFile& file,
               Tensors& tensors) {
    const bool global = kind == "gdml" || kind == "walls",
               local = kind == "spline2" || kind == "spline3" || kind == "repulsion" || kind == "soap";
    if (!global && !local)
        fail(where + ".kind is " + shown(kind) +
             "; this program knows 'gdml', 'walls', 'spline2', 'spline3', 'repulsion', 'soap'");
    const bool anywhere = kind == "repulsion"; // of one molecule, too: between its elements
    if (global ? file.species.empty() : file.elements.empty() && !anywhere)
        fail(where + ".kind is " + shown(kind) + ", which needs " + (global ? "species" : "elements") +
             " in the document");
    const size_t n = file.elements.empty() ? file.distinct_species().size() : file.elements.size();
    if (kind == "walls")
        file.walls.push_back(read_walls(k, entry, file.species.size(), tensors));
    else if (global)
        file.terms.push_back(read_gdml(k, entry, file.species, tensors));
    else if (kind == "spline2")
        file.spline2.push_back(read_spline2(k, entry, n, tensors));
    else if (kind == "spline3")
        file.spline3.push_back(read_spline3(k, entry, n, tensors));
    else if (kind == "repulsion")
        file.repulsion.push_back(read_repulsion(k, entry, n, tensors));
    else
        file.soap.push_back(read_soap(k, entry, n, tensors));
}

WeightFile read_document(const std::string& text, Tensors& tensors, BaselineAdded added) {
    const json document = parse_json("document", text.data(), text.data() + text.size());
    check_keys("the document", document, {"units", "atom_energies", "terms", "provenance"},
               {"baseline", "species", "elements", "uncertainty"});
    if (document.contains("species") == document.contains("elements"))
        fail("the document must have either species or elements");
    if (document.contains("baseline"))
        check_baseline(document["baseline"], added);
    else if (added == BaselineAdded::by_caller)
        fail("this model is the whole energy and not the difference to a baseline; add none to it");
    if (document["units"] != json{{"energy", "eV"}, {"length", "Angstrom"}})
        fail("units must be eV and Angstrom");
    if (!document["provenance"].is_object())
        fail("provenance must be a JSON object");
    WeightFile file;
    if (document.contains("species"))
        file.species = read_numbers("species", document["species"], 2, max_atoms);
    else
        file.elements = read_elements(document["elements"]);
    file.atom_energies = read_atom_energies(document["atom_energies"]);
    const json& terms = document["terms"];
    if (!terms.is_array() || terms.empty())
        fail("terms must be a list of at least one term");
    for (size_t k = 0; k < terms.size(); ++k) {
        const std::string where = where_of(k);
        if (!terms[k].is_object())
            fail(where + " must be a JSON object; " + shown(terms[k]) + " was found");
        const json& kind = field(where, terms[k], "kind");
        read_term(k, where, kind, terms[k], file, tensors);
    }
    if (!file.species.empty() && terms[0]["kind"] != "gdml")
        fail("terms[0].kind is " + shown(terms[0]["kind"]) + "; the first term of a document with species is 'gdml'");
    read_uncertainty(document, tensors, file);
    for (const auto& item : tensors.named)
        if (!item.second.used)
            fail("the tensor " + quoted(item.first) + " belongs to no term");
    return file;
}

// The text of the document, after the checks on format and version.
std::string read_metadata(const json& header) {
    const auto found = header.find("__metadata__");
    if (found == header.end() || !found->is_object() || !found->contains("format") ||
        (*found)["format"] != "openmm-kml")
        fail("__metadata__.format must be 'openmm-kml': this is not a weight file of openmm_kml");
    const json& metadata = *found;
    const json& version = field("__metadata__", metadata, "format_version");
    if (!version.is_string() || version != "1")
        fail("format_version is " + shown(version) +
             "; this program reads version '1': update openmm_kml or export the model again");
    const json& document = field("__metadata__", metadata, "document");
    if (metadata.size() != 3 || !document.is_string())
        fail("__metadata__ must have exactly the keys format, format_version and document");
    return document.get<std::string>();
}

} // namespace

std::vector<int> WeightFile::distinct_species() const {
    std::vector<int> result = species;
    std::sort(result.begin(), result.end());
    result.erase(std::unique(result.begin(), result.end()), result.end());
    return result;
}

WeightFile read_weight_file(const void* bytes, size_t size, BaselineAdded added) {
    const unsigned char* data = static_cast<const unsigned char*>(bytes);
    if (!data || size < 8)
        fail("a weight file has at least 8 bytes; this one has " + std::to_string(data ? size : 0));
    uint64_t length;
    std::memcpy(&length, data, 8);
    if (length > max_header || length > size - 8)
        fail("the header should have " + std::to_string(length) + " bytes, but the file has only " +
             std::to_string(size) + " and headers end at " + std::to_string(max_header) +
             ": the file is truncated or not a weight file");
    const char* text = reinterpret_cast<const char*>(data + 8);
    const json header = parse_json("header", text, text + length);
    if (!header.is_object())
        fail("the header must be a JSON object");
    const std::string document = read_metadata(header);
    const uint64_t data_size = size - 8 - length;
    Tensors tensors;
    tensors.data = data + 8 + length;
    for (const auto& item : header.items())
        if (item.key() != "__metadata__")
            tensors.named[item.key()] = parse_tensor(item.key(), item.value(), data_size);
    check_coverage(tensors, data_size);
    return read_document(document, tensors, added);
}

} // namespace kml
