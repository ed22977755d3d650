#include "kml/weight_file.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the reader copies little-endian tensors as they are"
#endif

namespace kml {

using nlohmann::json;

namespace {

constexpr size_t max_header = 100000000;
constexpr size_t max_atoms = 10000;
constexpr size_t max_permutations = 100000;
constexpr size_t max_index = size_t(1) << 28; // permutations times descriptor entries: the index table's 1 GiB
constexpr int max_depth = 64;
constexpr double max_cutoff = 100; // Å; a list of neighbors within more would only fill the memory
constexpr size_t min_intervals = 4, min_far = 7;

[[noreturn]] void fail(const std::string& message) { throw WeightFileError(message); }

// Text from the file, made fit for a message: quoted, short, printable.
std::string quoted(const std::string& text) {
    std::string result = "'";
    for (char c : text.substr(0, 60))
        result += c >= 32 && c < 127 ? c : '?';
    return result + (text.size() > 60 ? "…'" : "'");
}

std::string shown(const json& value) {
    if (value.is_string())
        return quoted(value.get_ref<const std::string&>());
    if (value.is_structured())
        return value.is_array() ? "a list" : "an object";
    return value.dump();
}

// --- JSON: bounded depth, no key twice

json parse_json(const std::string& name, const char* begin, const char* end) {
    if (std::memchr(begin, 0, size_t(end - begin))) // where the parser would take the text to end
        fail("the " + name + " is not valid JSON: it holds a zero byte");
    if (end - begin >= 3 && !std::memcmp(begin, "\xEF\xBB\xBF", 3)) // which the parser would pass over
        fail("the " + name + " is not valid JSON: it starts with a byte order mark");
    std::vector<std::set<std::string>> keys;
    auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
        const bool opens = event == json::parse_event_t::object_start || event == json::parse_event_t::array_start;
        if (depth + opens > max_depth)
            fail("the " + name + " is nested deeper than " + std::to_string(max_depth) + " levels");
        if (event == json::parse_event_t::object_start) {
            keys.emplace_back();
        } else if (event == json::parse_event_t::object_end) {
            keys.pop_back();
        } else if (event == json::parse_event_t::key) {
            const std::string& key = parsed.get_ref<const std::string&>();
            if (!keys.back().insert(key).second)
                fail("the " + name + " has the key " + quoted(key) + " twice in one object");
        }
        return true;
    };
    try {
        return json::parse(begin, end, watch);
    } catch (const json::exception& error) {
        fail("the " + name + " is not valid JSON: " + error.what());
    }
}

const json& field(const std::string& where, const json& object, const char* name) {
    const auto found = object.find(name);
    if (found == object.end())
        fail(where + " lacks the field '" + name + "'");
    return *found;
}

void check_keys(const std::string& where, const json& object, const std::vector<const char*>& names,
                const std::vector<const char*>& optional = {}) {
    if (!object.is_object())
        fail(where + " must be a JSON object; " + shown(object) + " was found");
    for (const char* name : names)
        field(where, object, name);
    for (const auto& item : object.items()) {
        const std::string& key = item.key();
        const auto is_key = [&](const char* name) { return key == name; };
        const bool known =
            std::any_of(names.begin(), names.end(), is_key) || std::any_of(optional.begin(), optional.end(), is_key);
        if (!known && key.compare(0, 2, "x_") != 0)
            fail(where + " has the unknown field " + quoted(key));
    }
}

// A whole number from 0 to `most`, or a complaint.
bool whole(const json& value, uint64_t most, uint64_t& result) {
    if (!value.is_number_unsigned()) // so is all that the parser reads without a sign
        return false;
    result = value.get<uint64_t>();
    return result <= most;
}

double finite(const std::string& name, const json& value, bool positive) {
    const double x = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!std::isfinite(x) || (positive && x <= 0))
        fail(name + " must be a finite number" + (positive ? " above zero; " : "; ") + shown(value) + " was found");
    return x;
}

// --- tensors

struct Tensor {
    std::string dtype;
    std::vector<uint64_t> shape;
    uint64_t begin, end; // bytes after the header
    bool used = false;
};

struct Tensors {
    std::map<std::string, Tensor> named;
    const unsigned char* data;
};

std::string shape_text(const std::vector<uint64_t>& shape) {
    std::string text = "(";
    for (size_t k = 0; k < shape.size(); ++k)
        text += (k ? ", " : "") + std::to_string(shape[k]);
    return text + (shape.size() == 1 ? ",)" : ")");
}

Tensor parse_tensor(const std::string& name, const json& entry, uint64_t data_size) {
    const std::string where = "the tensor " + quoted(name);
    if (!entry.is_object() || entry.size() != 3)
        fail(where + " must have exactly the keys dtype, shape and data_offsets");
    Tensor tensor;
    const json& dtype = field(where, entry, "dtype");
    if (!dtype.is_string() || (dtype != "F64" && dtype != "I32"))
        fail(where + " has dtype " + shown(dtype) + "; F64 or I32 is expected");
    tensor.dtype = dtype.get<std::string>();
    const json& shape = field(where, entry, "shape");
    if (!shape.is_array() || shape.empty() || shape.size() > 5)
        fail(where + " must have a shape of one to five sizes");
    uint64_t bytes = tensor.dtype == "F64" ? 8 : 4;
    for (const json& size : shape) {
        uint64_t n;
        // bytes stays below the file's size, so that the product cannot overflow
        if (!whole(size, data_size, n) || n == 0 || n > data_size / bytes)
            fail(where + " has a size " + shown(size) +
                 " in its shape, which is not a size or more than the file holds");
        tensor.shape.push_back(n);
        bytes *= n;
    }
    const json& offsets = field(where, entry, "data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 || !whole(offsets[0], data_size, tensor.begin) ||
        !whole(offsets[1], data_size, tensor.end) || tensor.begin > tensor.end)
        fail(where + " has data_offsets outside the file: the file is truncated or damaged");
    if (tensor.end - tensor.begin != bytes)
        fail(where + " has data_offsets of " + std::to_string(tensor.end - tensor.begin) +
             " bytes; its shape and dtype need " + std::to_string(bytes));
    return tensor;
}

void check_coverage(const Tensors& tensors, uint64_t data_size) {
    std::vector<std::pair<uint64_t, uint64_t>> spans;
    for (const auto& item : tensors.named)
        spans.emplace_back(item.second.begin, item.second.end);
    std::sort(spans.begin(), spans.end());
    uint64_t at = 0;
    for (const auto& span : spans) {
        if (span.first != at)
            fail("the data_offsets of the tensors overlap or leave a gap at byte " + std::to_string(at));
        at = span.second;
    }
    if (at != data_size)
        fail("the tensors end at byte " + std::to_string(at) + ", but the file holds " + std::to_string(data_size) +
             " bytes of data");
}

Tensor& take(Tensors& tensors, const std::string& name, const char* dtype, const std::vector<uint64_t>& shape) {
    const auto found = tensors.named.find(name);
    if (found == tensors.named.end())
        fail("the tensor '" + name + "' is missing");
    Tensor& tensor = found->second;
    if (tensor.dtype != dtype)
        fail("the tensor '" + name + "' is " + tensor.dtype + "; " + dtype + " is expected");
    if (tensor.shape != shape)
        fail("the tensor '" + name + "' has shape " + shape_text(tensor.shape) + "; " + shape_text(shape) +
             " is expected");
    tensor.used = true;
    return tensor;
}

std::vector<double> take_reals(Tensors& tensors, const std::string& name, const std::vector<uint64_t>& shape) {
    const Tensor& tensor = take(tensors, name, "F64", shape);
    std::vector<double> values(size_t(tensor.end - tensor.begin) / 8);
    std::memcpy(values.data(), tensors.data + tensor.begin, values.size() * 8);
    for (double x : values)
        if (!std::isfinite(x))
            fail("the tensor '" + name + "' holds a number that is not finite");
    return values;
}

uint64_t rows_of(const Tensors& tensors, const std::string& name) {
    const auto found = tensors.named.find(name);
    if (found == tensors.named.end())
        fail("the tensor '" + name + "' is missing");
    if (found->second.shape.size() != 2)
        fail("the tensor '" + name + "' has shape " + shape_text(found->second.shape) + "; two sizes are expected");
    return found->second.shape[0];
}

// --- the document

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

RadialKernel read_kernel(const std::string& where, const json& value) {
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

void check_permutations(const std::string& where, const GDMLTerm& term, const std::vector<int>& species) {
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

GDMLTerm read_gdml(size_t k, const json& entry, const std::vector<int>& species, Tensors& tensors) {
    const std::string where = "terms[" + std::to_string(k) + "]", prefix = "terms." + std::to_string(k) + ".";
    check_keys(where, entry, {"kind", "n_atoms", "power", "kernel", "length_scale", "energy_offset"});
    uint64_t n;
    if (!whole(entry["n_atoms"], max_atoms, n) || n != species.size())
        fail(where + ".n_atoms is " + shown(entry["n_atoms"]) + ", but species has " + std::to_string(species.size()) +
             " atoms");
    GDMLTerm term;
    term.power = finite(where + ".power", entry["power"], true);
    term.kernel = read_kernel(where, entry["kernel"]);
    term.length_scale = finite(where + ".length_scale", entry["length_scale"], true);
    term.energy_offset = finite(where + ".energy_offset", entry["energy_offset"], false);
    const uint64_t D = n * (n - 1) / 2, N = rows_of(tensors, prefix + "training_descriptors"),
                   P = rows_of(tensors, prefix + "permutations");
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
    const Tensor& permutations = take(tensors, prefix + "permutations", "I32", {P, n});
    term.permutations.resize(size_t(P * n));
    std::memcpy(term.permutations.data(), tensors.data + permutations.begin, term.permutations.size() * 4);
    check_permutations(where, term, species);
    return term;
}

double length(const std::string& name, const json& value, double least, double most) {
    const double x = value.is_number() ? value.get<double>() : std::numeric_limits<double>::quiet_NaN();
    if (!(x >= least && x <= most))
        fail(name + " must be a length from " + json(least).dump() + " to " + json(most).dump() + " Å; " +
             shown(value) + " was found");
    return x;
}

const std::vector<uint64_t>& shape_of(const Tensors& tensors, const std::string& name, size_t n_sizes) {
    const auto found = tensors.named.find(name);
    if (found == tensors.named.end())
        fail("the tensor '" + name + "' is missing");
    if (found->second.shape.size() != n_sizes)
        fail("the tensor '" + name + "' has shape " + shape_text(found->second.shape) + "; " + std::to_string(n_sizes) +
             " sizes are expected");
    return found->second.shape;
}

// The two ends of a grid.
template <class Term>
void read_grid(const std::string& where, const json& entry, Term& term) {
    term.start = length(where + ".start", entry["start"], 0, max_cutoff);
    term.cutoff = length(where + ".cutoff", entry["cutoff"], term.start, max_cutoff);
    if (term.cutoff == term.start)
        fail(where + ".cutoff must be above start; " + shown(entry["cutoff"]) + " was found for both");
}

Spline2Term read_spline2(size_t k, const json& entry, size_t n_elements, Tensors& tensors) {
    const std::string where = "terms[" + std::to_string(k) + "]", name = "terms." + std::to_string(k) + ".coefficients";
    check_keys(where, entry, {"kind", "start", "cutoff"});
    Spline2Term term;
    read_grid(where, entry, term);
    const uint64_t pairs = n_elements * (n_elements + 1) / 2, K = shape_of(tensors, name, 2)[1];
    if (K < min_intervals)
        fail("the tensor '" + name + "' needs at least " + std::to_string(min_intervals) + " intervals");
    term.n_intervals = size_t(K);
    term.coefficients = take_reals(tensors, name, {pairs, K});
    return term;
}

// For two equal neighbors the coefficients do not change when the two distances are exchanged.
void check_exchange(const std::string& name, const Spline3Term& term, size_t n_elements) {
    const size_t pairs = n_elements * (n_elements + 1) / 2, K = term.n_intervals, M = term.n_far;
    for (size_t a = 0; a < n_elements; ++a)
        for (size_t b = 0; b < n_elements; ++b) {
            const size_t pair = b * n_elements - b * (b + 1) / 2 + b;
            const double* c = term.coefficients.data() + (a * pairs + pair) * K * K * M;
            for (size_t x = 0; x < K; ++x)
                for (size_t y = 0; y < x; ++y)
                    if (!std::equal(c + (x * K + y) * M, c + (x * K + y + 1) * M, c + (y * K + x) * M))
                        fail("the tensor '" + name +
                             "' must be symmetric in the third and fourth axis for two equal neighbors");
        }
}

Spline3Term read_spline3(size_t k, const json& entry, size_t n_elements, Tensors& tensors) {
    const std::string where = "terms[" + std::to_string(k) + "]", name = "terms." + std::to_string(k) + ".coefficients";
    check_keys(where, entry, {"kind", "start", "cutoff", "start_far", "compact", "taper_start", "taper_width"});
    Spline3Term term;
    read_grid(where, entry, term);
    if (!entry["compact"].is_boolean())
        fail(where + ".compact must be true or false; " + shown(entry["compact"]) + " was found");
    term.compact = entry["compact"].get<bool>();
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
    check_exchange(name, term, n_elements);
    return term;
}

RepulsionTerm read_repulsion(size_t k, const json& entry, size_t n_elements, Tensors& tensors) {
    const std::string where = "terms[" + std::to_string(k) + "]";
    check_keys(where, entry, {"kind", "potential"});
    if (entry["potential"] != "zbl")
        fail(where + ".potential must be 'zbl'; " + shown(entry["potential"]) + " was found");
    RepulsionTerm term;
    const uint64_t pairs = n_elements * (n_elements + 1) / 2;
    term.switch_radii = take_reals(tensors, "terms." + std::to_string(k) + ".switch", {pairs, 2});
    for (size_t p = 0; p < pairs; ++p) {
        const double r1 = term.switch_radii[2 * p], r2 = term.switch_radii[2 * p + 1];
        if (!(r1 > 0 && r2 > r1 && r2 <= max_cutoff))
            fail(where + ".switch must hold 0 < r_1 < r_2 <= " + std::to_string(int(max_cutoff)) + " Å in each row");
    }
    return term;
}

// A model that is the difference to a baseline is read only where somebody said that the baseline is added.
void check_baseline(const json& baseline) {
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
    if (!added.get<bool>())
        fail("this model is only the difference to the baseline " + shown(name) + " (" + hex.substr(0, 19) +
             "…): evaluate it together with that, by --baseline on the command line or KMLForce(..., "
             "baseline_system=...) in OpenMM");
}

void read_term(size_t k, const std::string& where, const json& kind, const json& entry, WeightFile& file,
               Tensors& tensors) {
    const bool global = kind == "gdml", local = kind == "spline2" || kind == "spline3" || kind == "repulsion";
    if (!global && !local)
        fail(where + ".kind is " + shown(kind) + "; this program knows 'gdml', 'spline2', 'spline3', 'repulsion'");
    if (global ? file.species.empty() : file.elements.empty())
        fail(where + ".kind is " + shown(kind) + ", which needs " + (global ? "species" : "elements") +
             " in the document");
    const size_t n = file.elements.size();
    if (global)
        file.terms.push_back(read_gdml(k, entry, file.species, tensors));
    else if (kind == "spline2")
        file.spline2.push_back(read_spline2(k, entry, n, tensors));
    else if (kind == "spline3")
        file.spline3.push_back(read_spline3(k, entry, n, tensors));
    else
        file.repulsion.push_back(read_repulsion(k, entry, n, tensors));
}

WeightFile read_document(const std::string& text, Tensors& tensors) {
    const json document = parse_json("document", text.data(), text.data() + text.size());
    check_keys("the document", document, {"units", "atom_energies", "terms", "provenance"},
               {"baseline", "species", "elements"});
    if (document.contains("species") == document.contains("elements"))
        fail("the document must have either species or elements");
    if (document.contains("baseline"))
        check_baseline(document["baseline"]);
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
        const std::string where = "terms[" + std::to_string(k) + "]";
        if (!terms[k].is_object())
            fail(where + " must be a JSON object; " + shown(terms[k]) + " was found");
        const json& kind = field(where, terms[k], "kind");
        read_term(k, where, kind, terms[k], file, tensors);
    }
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

WeightFile read_weight_file(const void* bytes, size_t size) {
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
    return read_document(document, tensors);
}

} // namespace kml
