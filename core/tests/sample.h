/** Weight files made here, independently of the package's writer. */
#ifndef KML_TESTS_SAMPLE_H
#define KML_TESTS_SAMPLE_H

#include "check.h"

#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace kml_tests {

using nlohmann::json;
using Bytes = std::vector<unsigned char>;

/** The parts of a weight file, to be changed one at a time before bytes() puts them together. */
struct Sample {
    json metadata, document, tensors; // tensors: name -> dtype, shape, data_offsets
    Bytes data;

    template <class T>
    void add(const std::string& name, const char* dtype, std::vector<size_t> shape, const std::vector<T>& values) {
        const size_t begin = data.size(), size = values.size() * sizeof(T);
        data.resize(begin + size);
        std::memcpy(data.data() + begin, values.data(), size);
        tensors[name] = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {begin, begin + size}}};
    }

    /** Where a tensor's bytes begin in `data`. */
    size_t at(const std::string& name) const { return tensors[name]["data_offsets"][0].get<size_t>(); }

    std::string header() const {
        json all = tensors;
        all["__metadata__"] = metadata;
        if (!metadata.contains("document"))
            all["__metadata__"]["document"] = document.dump();
        return all.dump();
    }

    Bytes bytes() const { return assemble(header()); }

    Bytes assemble(const std::string& text) const {
        const uint64_t length = text.size();
        Bytes result(8);
        std::memcpy(result.data(), &length, 8);
        result.insert(result.end(), text.begin(), text.end());
        result.insert(result.end(), data.begin(), data.end());
        return result;
    }
};

/** A model of n atoms of one element, whose permutations exchange the last two atoms. */
inline Sample sample(size_t n = 4, size_t n_train = 5, bool energies = true, const char* kernel = "matern52",
                     double power = 1.0) {
    const size_t D = n * (n - 1) / 2;
    Random random(7 * n + n_train);
    Sample s;
    s.metadata = {{"format", "openmm-kml"}, {"format_version", "1"}};
    s.document = {{"units", {{"energy", "eV"}, {"length", "Angstrom"}}},
                  {"species", std::vector<int>(n, 6)},
                  {"atom_energies", {{"6", -1.5}}},
                  {"provenance", json::object()}};
    s.document["terms"] = json::array({{{"kind", "gdml"},
                                        {"n_atoms", n},
                                        {"power", power},
                                        {"kernel", kernel},
                                        {"length_scale", 2.5},
                                        {"energy_offset", -3.0}}});
    std::vector<double> x(n_train * D), u(n_train * D), beta(n_train);
    for (double& v : x)
        v = random.uniform(0.3, 0.9);
    for (double& v : u)
        v = random.uniform(-1, 1);
    for (double& v : beta)
        v = random.uniform(-1, 1);
    std::vector<int32_t> permutations(2 * n);
    for (size_t i = 0; i < n; ++i)
        permutations[i] = permutations[n + i] = int32_t(i);
    std::swap(permutations[2 * n - 2], permutations[2 * n - 1]);
    s.add("terms.0.descriptor_weights", "F64", {D}, std::vector<double>(D, 1.0));
    s.add("terms.0.training_descriptors", "F64", {n_train, D}, x);
    s.add("terms.0.descriptor_coefficients", "F64", {n_train, D}, u);
    if (energies)
        s.add("terms.0.energy_coefficients", "F64", {n_train}, beta);
    s.add("terms.0.permutations", "I32", {2, n}, permutations);
    return s;
}

/** A model of O and Si with one `soap` term of 2 channels, A = N = 3, L = 2 and 4 sparse points. */
inline Sample soap_sample(bool diagonal = false, bool offsets = true, double zeta = 4) {
    const size_t n = 2, C = 2, A = 3, N = 3, L1 = 3, M = 4, D = diagonal ? L1 * N * 3 : L1 * 21;
    Random random(31);
    Sample s;
    s.metadata = {{"format", "openmm-kml"}, {"format_version", "1"}};
    s.document = {{"units", {{"energy", "eV"}, {"length", "Angstrom"}}},
                  {"elements", {8, 14}},
                  {"atom_energies", {{"8", -1.5}}},
                  {"provenance", json::object()}};
    s.document["terms"] = json::array({{{"kind", "soap"},
                                        {"cutoff", 4.0},
                                        {"cutoff_width", 0.5},
                                        {"decay_exponent", 2},
                                        {"decay_scale", 1.5},
                                        {"decay_rate", 0.5},
                                        {"atom_sigma", 0.5},
                                        {"normalize", !diagonal},
                                        {"diagonal_radial", diagonal},
                                        {"zeta", zeta}}});
    const auto add = [&](const char* name, std::vector<size_t> shape) {
        size_t size = 1;
        for (size_t k : shape)
            size *= k;
        std::vector<double> values(size);
        for (double& x : values)
            x = random.uniform(0.1, 1);
        s.add(std::string("terms.0.") + name, "F64", shape, values);
    };
    add("species_weights", {n, C});
    add("central_weights", {n, C});
    add("angular_weights", {L1});
    s.add("terms.0.radial_nodes", "F64", {A}, std::vector<double>{0, 1.8, 3.6});
    add("radial_transforms", {L1, A, N});
    add("central_radial", {N});
    add("sparse_points", {M, D});
    add("coefficients", {M});
    if (offsets)
        add("sparse_offsets", {M});
    s.add("terms.0.centers", "I32", {n}, std::vector<int32_t>{1, 0});
    return s;
}

} // namespace kml_tests

#endif
