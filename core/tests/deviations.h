/** Standard deviations of one structure, and their gradients against differences. */
#ifndef KML_TESTS_DEVIATIONS_H
#define KML_TESTS_DEVIATIONS_H

#include "check.h"

#include "kml/potential.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

namespace kml_tests {

using Potential = std::unique_ptr<kml_potential, decltype(&kml::close_potential)>;

inline Potential open(const std::vector<unsigned char>& bytes, const char* isa) {
    char error[512] = "";
    Potential potential(kml::open_potential(bytes.data(), bytes.size(), isa, error, sizeof error),
                        kml::close_potential);
    CHECK(potential, "%s", error);
    return potential;
}

/** Forces and virials are those of the energy's standard deviation, -dσ/dr and -dσ/dstrain. */
struct Deviations {
    double energy, virial[9];
    std::vector<double> atoms, forces, of_forces;
};

inline void check_close(const char* what, double found, double expected, double tolerance) {
    CHECK(std::fabs(found - expected) < tolerance, "%s: %.12g, expected %.12g", what, found, expected);
}

/** Check gradients against four-point differences of another σ_E, given as a function of positions. */
template <class Energy>
void check_gradients(const Deviations& found, const std::vector<double>& r, const Energy& energy, double tolerance) {
    const double h = 1e-3;
    const auto slope = [&](const auto& moved) {
        return double((8 * (energy(moved(h)) - energy(moved(-h))) - (energy(moved(2 * h)) - energy(moved(-2 * h)))) /
                      (12 * h));
    };
    double largest = 0;
    for (size_t k = 0; k < r.size(); ++k) {
        const double expected = slope([&](double step) {
            std::vector<double> moved(r);
            moved[k] += step;
            return moved;
        });
        check_close("-dσ/dr", found.forces[k], -expected, tolerance);
        largest = std::max(largest, std::fabs(expected));
    }
    CHECK(largest > 1e-3, "the gradient vanishes");
    for (size_t a = 0; a < 3; ++a)
        for (size_t b = 0; b < 3; ++b) {
            const double expected = slope([&](double step) {
                std::vector<double> moved(r);
                for (size_t i = 0; i < r.size(); i += 3)
                    moved[i + a] += step * r[i + b];
                return moved;
            });
            check_close("-dσ/dstrain", found.virial[3 * a + b], -expected, 10 * tolerance);
        }
}

} // namespace kml_tests

#endif
