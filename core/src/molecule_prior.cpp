#include "kml/molecule_prior.h"

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

MoleculePrior::MoleculePrior(const WeightFile& file) {
    const std::vector<int> elements = file.distinct_species();
    const size_t n = file.species.size(), n_pairs = n * (n - 1) / 2;
    n_elements = elements.size();
    for (int z : file.species)
        places.push_back(size_t(std::lower_bound(elements.begin(), elements.end(), z) - elements.begin()));
    for (const RepulsionTerm& term : file.repulsion) {
        const std::vector<Repulsion> pairs = repulsions_of(term, elements);
        repulsions.emplace_back(n_elements * n_elements);
        size_t pair = 0;
        for (size_t a = 0; a < n_elements; ++a)
            for (size_t b = a; b < n_elements; ++b, ++pair)
                repulsions.back()[a * n_elements + b] = repulsions.back()[b * n_elements + a] = pairs[pair];
    }
    for (const WallsTerm& term : file.walls)
        for (size_t p = 0; p < n_pairs; ++p) {
            const double lower = term.bounds[2 * p], upper = term.bounds[2 * p + 1];
            all_walls.push_back({lower, upper > 0 ? upper : no_bound, term.stiffness, term.onset});
        }
    if (empty())
        return;
    const std::vector<Repulsion> by_atoms = repulsions_by_atoms();
    quiet.assign(n_pairs, {0.0, no_bound});
    for (size_t k = 0; k < by_atoms.size(); ++k)
        quiet[k % n_pairs].from = std::max(quiet[k % n_pairs].from, by_atoms[k].outer);
    for (size_t k = 0; k < all_walls.size(); ++k) {
        Quiet& range = quiet[k % n_pairs];
        range = {std::max(range.from, all_walls[k].lower), std::min(range.to, all_walls[k].upper)};
    }
    for (Quiet& range : quiet)
        range = {range.from * range.from, range.to * range.to};
}

double MoleculePrior::pair(size_t p, size_t i, size_t j, double r, double& slope) const {
    double energy = 0, part;
    slope = 0;
    for (const std::vector<Repulsion>& term : repulsions) {
        energy += repulsion(term[places[i] * n_elements + places[j]], r, part);
        slope += part;
    }
    for (size_t k = p; k < all_walls.size(); k += quiet.size()) {
        energy += walls(all_walls[k], r, part);
        slope += part;
    }
    return energy;
}

void MoleculePrior::add(long geometries, const double* positions, double* energies, double* forces,
                        double* virials) const {
    const size_t n = places.size();
    for (size_t g = 0; !empty() && g < size_t(geometries); ++g) {
        const double* r = positions + g * 3 * n;
        size_t p = 0;
        for (size_t i = 1; i < n; ++i)
            for (size_t j = 0; j < i; ++j, ++p) {
                const double d[3] = {r[3 * i] - r[3 * j], r[3 * i + 1] - r[3 * j + 1], r[3 * i + 2] - r[3 * j + 2]};
                const double r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
                if (r2 >= quiet[p].from && r2 <= quiet[p].to)
                    continue;
                const double distance = std::sqrt(r2);
                double slope;
                energies[g] += pair(p, i, j, distance, slope);
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

std::vector<Repulsion> MoleculePrior::repulsions_by_atoms() const {
    std::vector<Repulsion> result;
    for (const std::vector<Repulsion>& term : repulsions)
        for (size_t i = 1; i < places.size(); ++i)
            for (size_t j = 0; j < i; ++j)
                result.push_back(term[places[i] * n_elements + places[j]]);
    return result;
}

} // namespace kml
