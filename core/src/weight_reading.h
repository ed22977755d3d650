/** Private to the reader of weight files: JSON, tensors, and one function for each kind of term. */
#ifndef KML_WEIGHT_READING_H
#define KML_WEIGHT_READING_H

#include "kml/weight_file.h"

#include <limits>
#include <nlohmann/json.hpp>

namespace kml::reading {

using nlohmann::json;

constexpr size_t max_atoms = 10000;
constexpr double max_cutoff = 100; // Å; a list of neighbors within more would only fill the memory
constexpr uint64_t max_members = 256, max_explained = 100000;

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

/** Throw the complaint. */
[[noreturn]] void fail(const std::string& message);
/** Text from the file, made fit for a message: quoted, short, printable. */
std::string quoted(const std::string& text);
std::string shown(const json& value);

/** Return JSON of bounded depth, without a key twice in one object. */
json parse_json(const std::string& name, const char* begin, const char* end);
const json& field(const std::string& where, const json& object, const char* name);
void check_keys(const std::string& where, const json& object, const std::vector<const char*>& names,
                const std::vector<const char*>& optional = {});
/** Set a whole number from 0 to `most`, and return whether it is one. */
bool whole(const json& value, uint64_t most, uint64_t& result);
double finite(const std::string& name, const json& value, bool positive);
/** Return a number within bounds, and above `above`. */
double number(const std::string& name, const json& value, double least, double most,
              double above = -std::numeric_limits<double>::infinity());
double length(const std::string& name, const json& value, double least, double most);
bool flag(const std::string& name, const json& value);

Tensor parse_tensor(const std::string& name, const json& entry, uint64_t data_size);
/** The tensors must fill the bytes after the header, without gap or overlap. */
void check_coverage(const Tensors& tensors, uint64_t data_size);
/** Return the sizes of a tensor, `n_sizes` of them. */
const std::vector<uint64_t>& shape_of(const Tensors& tensors, const std::string& name, size_t n_sizes);
std::vector<double> take_reals(Tensors& tensors, const std::string& name, const std::vector<uint64_t>& shape);
std::vector<int32_t> take_integers(Tensors& tensors, const std::string& name, const std::vector<uint64_t>& shape);

/** Whether the file has a tensor of this name. */
inline bool has(const Tensors& tensors, const std::string& name) { return tensors.named.count(name) > 0; }
/** Return the deviations of a term's coefficients, shape (S, *shape), empty where the file has none. */
std::vector<double> take_deviations(Tensors& tensors, const std::string& prefix, const std::vector<uint64_t>& shape);
/** Read the calibration, and check that all terms have what it needs: exactly when the document has one. */
void read_uncertainty(const json& document, Tensors& tensors, WeightFile& file);

/** The parts of the names of term k: in messages, and of its tensors. */
inline std::string where_of(size_t k) { return "terms[" + std::to_string(k) + "]"; }
inline std::string prefix_of(size_t k) { return "terms." + std::to_string(k) + "."; }

GDMLTerm read_gdml(size_t k, const json& entry, const std::vector<int>& species, Tensors& tensors);
Spline2Term read_spline2(size_t k, const json& entry, size_t n_elements, Tensors& tensors);
Spline3Term read_spline3(size_t k, const json& entry, size_t n_elements, Tensors& tensors);
RepulsionTerm read_repulsion(size_t k, const json& entry, size_t n_elements, Tensors& tensors);
WallsTerm read_walls(size_t k, const json& entry, size_t n_atoms, Tensors& tensors);
SoapTerm read_soap(size_t k, const json& entry, size_t n_elements, Tensors& tensors);

} // namespace kml::reading

#endif
