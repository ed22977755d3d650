/** Weight files made here, independently of the package's writer. */
#ifndef KML_TESTS_SAMPLE_H
#define KML_TESTS_SAMPLE_H

#include "check.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace kml_tests {

using nlohmann::json;
using Bytes = std::vector<unsigned char>;

inline std::vector<double> random_values(const std::vector<size_t>& shape, Random& random, double low, double high) {
    size_t size = 1;
    for (size_t n : shape)
        size *= n;
    std::vector<double> values(size);
    for (double& x : values)
        x = random.uniform(low, high);
    return values;
}

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

    /** Add a tensor of random numbers. */
    void fill(const std::string& name, std::vector<size_t> shape, Random& random, double low, double high) {
        add(name, "F64", shape, random_values(shape, random, low, high));
    }

    /** Remove a tensor and its bytes. */
    void drop(const std::string& name) {
        const size_t begin = at(name), end = tensors[name]["data_offsets"][1].get<size_t>();
        data.erase(data.begin() + long(begin), data.begin() + long(end));
        tensors.erase(name);
        for (json& tensor : tensors)
            for (json& offset : tensor["data_offsets"])
                if (offset.get<size_t>() >= end)
                    offset = offset.get<size_t>() - (end - begin);
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
    std::vector<int32_t> permutations(2 * n);
    for (size_t i = 0; i < n; ++i)
        permutations[i] = permutations[n + i] = int32_t(i);
    std::swap(permutations[2 * n - 2], permutations[2 * n - 1]);
    s.add("terms.0.descriptor_weights", "F64", {D}, std::vector<double>(D, 1.0));
    s.fill("terms.0.training_descriptors", {n_train, D}, random, 0.3, 0.9);
    s.fill("terms.0.descriptor_coefficients", {n_train, D}, random, -1, 1);
    if (energies)
        s.fill("terms.0.energy_coefficients", {n_train}, random, -1, 1);
    s.add("terms.0.permutations", "I32", {2, n}, permutations);
    return s;
}

/** The same with what is known beforehand of a molecule: repulsion of its element, walls around all distances. */
inline Sample prior_sample(size_t n = 4) {
    Sample s = sample(n);
    Random random(17);
    s.document["terms"].push_back({{"kind", "repulsion"}, {"potential", "zbl"}});
    s.document["terms"].push_back({{"kind", "walls"}, {"stiffness", 6.0}, {"onset", 0.5}});
    s.add("terms.1.switch", "F64", {1, 2}, std::vector<double>{1.0, 9.0});
    std::vector<double> bounds;
    for (size_t d = 0; d < n * (n - 1) / 2; ++d)
        bounds.insert(bounds.end(), {random.uniform(1, 6), d % 3 ? random.uniform(6, 20) : 0.0});
    s.add("terms.2.bounds", "F64", {n * (n - 1) / 2, 2}, bounds);
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
        s.fill(std::string("terms.0.") + name, shape, random, 0.1, 1);
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

/** A calibration; some of its scales and floors differ from the defaults of a reader. */
inline json calibration(int members) {
    return {{"members", members},  {"energy_scale", 1.3}, {"energy_floor", 0.01}, {"energy_tail", 0.1},
            {"atom_scale", 0.9},   {"atom_floor", 0.02},  {"atom_tail", 0.1},     {"force_scale", 2.0},
            {"force_floor", 0.03}, {"force_tail", 0.0}};
}

/** The model of a molecule with 3 rows of what its first N' training points explain. */
inline Sample uncertain_molecule(size_t n = 4, size_t n_train = 5, size_t n_points = 4, bool energies = true,
                                 const char* kernel = "matern52", double power = 1.0) {
    Sample s = sample(n, n_train, energies, kernel, power);
    Random random(11);
    s.document["uncertainty"] = calibration(0);
    s.document["terms"][0]["prior_variance"] = 0.4;
    s.fill("terms.0.explained_descriptor_coefficients", {3, n_points, n * (n - 1) / 2}, random, -0.2, 0.2);
    if (energies)
        s.fill("terms.0.explained_energy_coefficients", {3, n_points}, random, -0.1, 0.1);
    return s;
}

/**
 * A model of O and Si with `soap`, `spline2`, `spline3` and `repulsion`; 3 members, and 2 rows of what the sparse
 * points explain.
 */
inline Sample uncertain_local() {
    const size_t S = 3, K = 4, M = 7;
    Sample s = soap_sample(false, false);
    Random random(13);
    s.document["uncertainty"] = calibration(int(S));
    s.document["terms"][0]["prior_variance"] = 0.4;
    s.document["terms"].push_back({{"kind", "spline2"}, {"start", 1.0}, {"cutoff", 4.0}});
    s.document["terms"].push_back({{"kind", "spline3"},
                                   {"start", 0.9},
                                   {"cutoff", 3.4},
                                   {"start_far", 1.0},
                                   {"compact", false},
                                   {"taper_start", 1.1},
                                   {"taper_width", 0.6}});
    s.document["terms"].push_back({{"kind", "repulsion"}, {"potential", "zbl"}});
    s.fill("uncertainty.atom_energies", {S, 2}, random, -0.05, 0.05);
    s.fill("terms.0.deviations", {S, 4}, random, -0.03, 0.03); // its kernel values are a few
    s.fill("terms.0.explained", {2, 4}, random, -0.06, 0.06);
    s.fill("terms.1.coefficients", {3, K}, random, -1, 1);
    s.fill("terms.1.deviations", {S, 3, K}, random, -0.1, 0.1);
    const auto triples = [&](const char* name, std::vector<size_t> shape, double size) {
        shape.insert(shape.end(), {2, 3, K, K, M});
        std::vector<double> values = random_values(shape, random, -size, size);
        for (size_t begin = 0; begin < values.size(); begin += K * K * M) // symmetric for two equal neighbors
            for (size_t a = 0; a < K; ++a)
                for (size_t b = 0; b < a; ++b)
                    std::copy_n(&values[begin + (b * K + a) * M], M, &values[begin + (a * K + b) * M]);
        s.add(name, "F64", shape, values);
    };
    triples("terms.2.coefficients", {}, 0.3);
    triples("terms.2.deviations", {S}, 0.05);
    s.add("terms.3.switch", "F64", {3, 2}, std::vector<double>{1.0, 1.8, 1.1, 2.0, 1.2, 2.2});
    return s;
}

} // namespace kml_tests

#endif
