/** The descriptor x_d = v_d |r_i - r_j|^-p and the chain rule back to the atoms. */
#ifndef KML_DESCRIPTOR_H
#define KML_DESCRIPTOR_H

#include <cmath>

namespace kml {

/** r^-p from r²; the powers in common use take square roots instead of pow(). */
inline double inverse_power(double r2, double power) {
    if (power == 1.0)
        return 1.0 / std::sqrt(r2);
    if (power == 2.0)
        return 1.0 / r2;
    if (power == 0.5)
        return 1.0 / std::sqrt(std::sqrt(r2));
    if (power == 0.25)
        return 1.0 / std::sqrt(std::sqrt(std::sqrt(r2)));
    return std::pow(r2, -0.5 * power);
}

/**
 * The descriptor of one geometry, pairs i > j in row order of the lower triangle.
 *
 * @param n          number of atoms
 * @param positions  IN  (n, 3), Å
 * @param power      p
 * @param weights    IN  (D,) v_d
 * @param x          OUT (D,) v_d r^-p, Å^-p
 * @param slope      OUT (D,) p v_d r^-(p+2): dx_d/dr_i = -slope (r_i - r_j)
 * @return -1, or the first entry whose value or slope is not finite: two atoms coincide, or nearly
 */
inline long inverse_distances(int n, const double* positions, double power, const double* weights, double* x,
                              double* slope) {
    long d = 0, bad = -1;
    for (int i = 1; i < n; ++i)
        for (int j = 0; j < i; ++j, ++d) {
            const double dx = positions[3 * i] - positions[3 * j], dy = positions[3 * i + 1] - positions[3 * j + 1],
                         dz = positions[3 * i + 2] - positions[3 * j + 2];
            const double r2 = dx * dx + dy * dy + dz * dz;
            x[d] = weights[d] * inverse_power(r2, power);
            slope[d] = power * x[d] / r2;
            if (!std::isfinite(x[d]) || !std::isfinite(slope[d]))
                bad = bad < 0 ? d : bad;
        }
    return bad;
}

/**
 * Forces and virial of one geometry from the derivative of the energy by the descriptor; both are added to.
 *
 * @param gradient  IN    (D,) dE/dx_d
 * @param slope     IN    (D,) of inverse_distances()
 * @param forces    INOUT (n, 3) -dE/dr, eV/Å; NULL when not wanted
 * @param virial    INOUT (3, 3) -dE/dstrain, eV; NULL when not wanted
 */
inline void add_forces(int n, const double* positions, const double* gradient, const double* slope, double* forces,
                       double* virial) {
    double v[6] = {0, 0, 0, 0, 0, 0};
    long d = 0;
    for (int i = 1; i < n; ++i) {
        double own[3] = {0, 0, 0};
        for (int j = 0; j < i; ++j, ++d) {
            const double dx = positions[3 * i] - positions[3 * j], dy = positions[3 * i + 1] - positions[3 * j + 1],
                         dz = positions[3 * i + 2] - positions[3 * j + 2];
            const double g = gradient[d] * slope[d]; // force on i along r_i - r_j
            const double fx = g * dx, fy = g * dy, fz = g * dz;
            own[0] += fx, own[1] += fy, own[2] += fz;
            if (forces)
                forces[3 * j] -= fx, forces[3 * j + 1] -= fy, forces[3 * j + 2] -= fz;
            v[0] += fx * dx, v[1] += fy * dy, v[2] += fz * dz;
            v[3] += fy * dz, v[4] += fx * dz, v[5] += fx * dy;
        }
        if (forces)
            forces[3 * i] += own[0], forces[3 * i + 1] += own[1], forces[3 * i + 2] += own[2];
    }
    if (virial) {
        const double full[9] = {v[0], v[5], v[4], v[5], v[1], v[3], v[4], v[3], v[2]};
        for (int k = 0; k < 9; ++k)
            virial[k] += full[k];
    }
}

} // namespace kml

#endif
