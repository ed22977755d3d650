/** The `repulsion` term of one pair of atoms: ZBL, switched off smoothly (docs/theory.md). */
#ifndef KML_REPULSION_H
#define KML_REPULSION_H

#include "kml/spline.h"

namespace kml {

/** Repulsion between two elements. */
struct Repulsion {
    double charge;         // Z_i Z_j e²/4πε0, eV Å
    double inverse_length; // 1/a, 1/Å
    double inner, outer;   // r_1, r_2, Å
};

/** e²/4πε0, eV Å; screening length a = 0.46850 Å / (Z_i^0.23 + Z_j^0.23). */
constexpr double zbl_coulomb = 14.399645, zbl_length = 0.46850, zbl_power = 0.23;

/** Return the energy in eV and its slope in eV/Å; zero from the outer radius on. r > 0. */
static inline double repulsion(const Repulsion& term, double r, double& slope) {
    constexpr double amplitude[4] = {0.18175, 0.50986, 0.28022, 0.02817},
                     rate[4] = {3.19980, 0.94229, 0.40290, 0.20162};
    slope = 0;
    if (r >= term.outer)
        return 0;
    double phi = 0, dphi = 0;
    for (int k = 0; k < 4; ++k) {
        const double e = amplitude[k] * __builtin_exp(-rate[k] * r * term.inverse_length);
        phi += e;
        dphi -= rate[k] * term.inverse_length * e;
    }
    double dstep;
    const double step = smooth_step(r, term.inner, term.outer - term.inner, dstep);
    const double coulomb = term.charge / r;
    slope = coulomb * ((1 - step) * (dphi - phi / r) - dstep * phi);
    return coulomb * (1 - step) * phi;
}

} // namespace kml

#endif
