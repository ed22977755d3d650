#include "kml/frame.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace kml {

namespace {

double dot(const double* a, const double* b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }

void cross(const double* a, const double* b, double* c) {
    c[0] = a[1] * b[2] - a[2] * b[1];
    c[1] = a[2] * b[0] - a[0] * b[2];
    c[2] = a[0] * b[1] - a[1] * b[0];
}

/** Remove from v its parts along the orthonormal rows; return what is left of its length. */
double orthogonalize(const double (*rows)[3], int n, double* v) {
    for (int k = 0; k < n; ++k) {
        const double along = dot(rows[k], v);
        for (int a = 0; a < 3; ++a)
            v[a] -= along * rows[k][a];
    }
    return std::sqrt(dot(v, v));
}

/** Set `vector` to a unit vector orthogonal to the rows. */
void free_direction(const double (*rows)[3], int n, double* vector) {
    double best = -1;
    for (int axis = 0; axis < 3; ++axis) {
        double v[3] = {axis == 0 ? 1.0 : 0.0, axis == 1 ? 1.0 : 0.0, axis == 2 ? 1.0 : 0.0};
        const double length = orthogonalize(rows, n, v);
        if (length > best + 1e-9) {
            best = length;
            for (int a = 0; a < 3; ++a)
                vector[a] = v[a] / length;
        }
    }
}

} // namespace

bool make_frame(const double* cell, const int* pbc, Frame& frame) {
    double rows[3][3], longest = 0; // an orthonormal basis of the vectors so far
    int n = 0;
    for (int a = 0; a < 3; ++a) {
        frame.periodic[a] = cell && pbc && pbc[a];
        if (pbc && pbc[a] && !cell)
            return false;
        if (frame.periodic[a]) {
            std::memcpy(frame.vectors[a], cell + 3 * a, sizeof frame.vectors[a]);
            longest = std::max(longest, std::sqrt(dot(cell + 3 * a, cell + 3 * a)));
        }
    }
    if (!std::isfinite(longest))
        return false;
    for (int pass = 0; pass < 2; ++pass) // periodic directions first
        for (int a = 0; a < 3; ++a) {
            if (frame.periodic[a] != (pass == 0))
                continue;
            if (pass == 1)
                free_direction(rows, n, frame.vectors[a]);
            double v[3] = {frame.vectors[a][0], frame.vectors[a][1], frame.vectors[a][2]};
            const double length = orthogonalize(rows, n, v);
            if (!(length > 1e-6 * longest))
                return false;
            for (int c = 0; c < 3; ++c)
                rows[n][c] = v[c] / length;
            ++n;
        }
    for (int a = 0; a < 3; ++a) {
        double normal[3];
        cross(frame.vectors[(a + 1) % 3], frame.vectors[(a + 2) % 3], normal);
        const double volume = dot(frame.vectors[a], normal);
        for (int c = 0; c < 3; ++c)
            frame.inverse[c][a] = normal[c] / volume;
        frame.height[a] = std::fabs(volume) / std::sqrt(dot(normal, normal));
    }
    return true;
}

} // namespace kml
