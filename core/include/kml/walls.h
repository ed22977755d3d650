/** The `walls` term of one pair of atoms: zero between two bounds, growing smoothly beyond them (docs/theory.md). */
#ifndef KML_WALLS_H
#define KML_WALLS_H

namespace kml {

/** Walls around the distance of two atoms. */
struct Walls {
    double lower, upper; // Å
    double stiffness;    // κ, eV/Å²
    double onset;        // w, Å
};

/** An upper bound that no distance reaches. */
constexpr double no_bound = 1e30;

/** Return the energy in eV and its slope in eV/Å; zero from one bound to the other. */
static inline double walls(const Walls& term, double r, double& slope) {
    const double sign = r < term.lower ? -1 : 1, d = r < term.lower ? term.lower - r : r - term.upper;
    slope = 0;
    if (!(d > 0))
        return 0;
    if (d < term.onset) {
        slope = sign * term.stiffness * d * d / (2 * term.onset);
        return term.stiffness * d * d * d / (6 * term.onset);
    }
    slope = sign * term.stiffness * (d - 0.5 * term.onset);
    return 0.5 * term.stiffness * (d * d - term.onset * d + term.onset * term.onset / 3);
}

} // namespace kml

#endif
