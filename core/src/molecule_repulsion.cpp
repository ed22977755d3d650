#include "kml/molecule_repulsion.h"

#include <algorithm>
#include <cmath>

namespace kml {

std::vector<Repulsion> repulsions_of(const RepulsionTerm& term, const std::vector<int>& elements) {
    const auto power = [](int z) { return std::pow(double(z), zbl_power); };
    std::vector<Repulsion> result;
    for (size_t a = 0; a < elements.size(); ++a)
        for (size_t b = a; b < elements.size(); ++b) {
            const int za = elements[a], zb = elements[b];
            const double* radii = &term.switch_radii[2 * result.size()];
            result.push_back({zbl_coulomb * za * zb, (power(za) + power(zb)) / zbl_length, radii[0], radii[1]});
        }
    return result;
}

MoleculeRepulsion::MoleculeRepulsion(const WeightFile& file) {
    const std::vector<int> elements = file.distinct_species();
    n_elements = elements.size();
    for (int z : file.species)
        places.push_back(size_t(std::lower_bound(elements.begin(), elements.end(), z) - elements.begin()));
    reach2.assign(n_elements * n_elements, 0.0);
    for (const RepulsionTerm& term : file.repulsion) {
        const std::vector<Repulsion> pairs = repulsions_of(term, elements);
        terms.emplace_back(n_elements * n_elements);
        size_t pair = 0;
        for (size_t a = 0; a < n_elements; ++a)
            for (size_t b = a; b < n_elements; ++b, ++pair)
                for (size_t k : {a * n_elements + b, b * n_elements + a}) {
                    terms.back()[k] = pairs[pair];
                    reach2[k] = std::max(reach2[k], pairs[pair].outer * pairs[pair].outer);
                }
    }
}

double MoleculeRepulsion::pair(size_t i, size_t j, double r, double& slope) const {
    double energy = 0;
    slope = 0;
    for (const std::vector<Repulsion>& term : terms) {
        double part;
        energy += repulsion(term[places[i] * n_elements + places[j]], r, part);
        slope += part;
    }
    return energy;
}

void MoleculeRepulsion::add(long geometries, const double* positions, double* energies, double* forces,
                            double* virials) const {
    const size_t n = places.size();
    for (size_t g = 0; !empty() && g < size_t(geometries); ++g) {
        const double* r = positions + g * 3 * n;
        for (size_t i = 1; i < n; ++i) {
            const double* reach = &reach2[places[i] * n_elements];
            for (size_t j = 0; j < i; ++j) {
                const double d[3] = {r[3 * i] - r[3 * j], r[3 * i + 1] - r[3 * j + 1], r[3 * i + 2] - r[3 * j + 2]};
                const double r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
                if (!(r2 < reach[places[j]]))
                    continue;
                const double distance = std::sqrt(r2);
                double slope;
                energies[g] += pair(i, j, distance, slope);
                for (size_t a = 0; a < 3; ++a) {
                    const double force = -slope * d[a] / distance; // on atom i
                    if (forces) {
                        forces[(g * n + i) * 3 + a] += force;
                        forces[(g * n + j) * 3 + a] -= force;
                    }
                    for (size_t b = 0; virials && b < 3; ++b)
                        virials[g * 9 + 3 * a + b] += force * d[b];
                }
            }
        }
    }
}

std::vector<Repulsion> MoleculeRepulsion::by_atoms() const {
    std::vector<Repulsion> result;
    for (const std::vector<Repulsion>& term : terms)
        for (size_t i = 1; i < places.size(); ++i)
            for (size_t j = 0; j < i; ++j)
                result.push_back(term[places[i] * n_elements + places[j]]);
    return result;
}

} // namespace kml
