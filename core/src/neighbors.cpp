// A list of neighbors begun, and brought up to date while the atoms move little.
#include "kml/neighbors.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace kml {

static constexpr double max_images = 1e6; // of the cell; beyond, the list would only fill the memory

static double square(const double* v) { return v[0] * v[0] + v[1] * v[1] + v[2] * v[2]; }

/** Take whole lattice vectors from d, and put their numbers into `jumps`. */
static void reduce(const Frame& frame, double* d, double* jumps) {
    double fractions[3];
    for (int a = 0; a < 3; ++a)
        fractions[a] = d[0] * frame.inverse[0][a] + d[1] * frame.inverse[1][a] + d[2] * frame.inverse[2][a];
    for (int a = 0; a < 3; ++a) {
        jumps[a] = frame.periodic[a] ? std::round(fractions[a]) : 0;
        for (int c = 0; c < 3; ++c)
            d[c] -= jumps[a] * frame.vectors[a][c];
    }
}

bool NeighborList::follow(long n, const double* positions, const Frame& now, double reach, double reach_near) {
    if (n != n_atoms || reach != cutoff || reach_near != cutoff_near)
        return false;
    bool same = true;
    for (int a = 0; a < 3; ++a) {
        if (now.periodic[a] != frame.periodic[a])
            return false;
        same = same && std::memcmp(now.vectors[a], frame.vectors[a], sizeof now.vectors[a]) == 0;
    }
    // The cell was strained by r -> r + r·strain, which shrinks no vector by more than the norm of the strain.
    double strain[3][3] = {}, norm = 0;
    for (int c = 0; c < 3 && !same; ++c)
        for (int d = 0; d < 3; ++d) {
            for (int a = 0; a < 3; ++a)
                strain[c][d] += frame.inverse[c][a] * now.vectors[a][d];
            strain[c][d] -= c == d;
            norm += strain[c][d] * strain[c][d];
        }
    const double most = 0.5 * (skin - std::sqrt(norm) * (std::max(cutoff, cutoff_near) + skin));
    if (!(most >= 0))
        return false;
    for (size_t i = 0; i < size_t(n); ++i) {
        const double *r = positions + 3 * i, *start = start_positions.data() + 3 * i;
        double moved[3], jumps[3] = {};
        for (int c = 0; c < 3; ++c) {
            moved[c] = r[c] - start[c];
            if (!same)
                moved[c] -= start[0] * strain[0][c] + start[1] * strain[1][c] + start[2] * strain[2][c];
        }
        if (!(square(moved) <= most * most)) {
            reduce(now, moved, jumps);
            if (!(square(moved) <= most * most))
                return false;
        }
        set_wrapped(i, r, now, jumps);
    }
    if (!same || strained)
        set_shifts(now);
    strained = !same;
    return true;
}

void NeighborList::set_wrapped(size_t i, const double* r, const Frame& now, const double* jumps) {
    for (size_t c = 0; c < 3; ++c) {
        double offset = 0;
        for (size_t a = 0; a < 3; ++a)
            offset += (turns[3 * i + a] + jumps[a]) * now.vectors[a][c];
        wrapped[4 * i + c] = r[c] - offset;
    }
}

bool NeighborList::start(long n, const double* positions, const Frame& now, double reach, double reach_near) {
    forget();
    frame = now;
    cutoff = reach;
    cutoff_near = reach_near;
    if (!count_images())
        return false;
    set_shifts(frame);
    strained = false;
    n_atoms = n;
    start_positions.assign(positions, positions + 3 * n);
    std::vector<double> fractions;
    wrap(positions, fractions);
    fill_bins(fractions);
    chunks.resize(size_t(n_chunks()));
    return true;
}

void NeighborList::wrap(const double* positions, std::vector<double>& fractions) {
    const size_t n = size_t(n_atoms);
    fractions.resize(3 * n);
    turns.assign(3 * n, 0.0);
    wrapped.resize(4 * n);
    const double no_jumps[3] = {};
    for (size_t i = 0; i < n; ++i) {
        const double* r = positions + 3 * i;
        for (int a = 0; a < 3; ++a) {
            double f = r[0] * frame.inverse[0][a] + r[1] * frame.inverse[1][a] + r[2] * frame.inverse[2][a];
            if (frame.periodic[a]) {
                turns[3 * i + size_t(a)] = std::floor(f);
                f -= turns[3 * i + size_t(a)];
            }
            fractions[3 * i + size_t(a)] = f;
        }
        set_wrapped(i, r, frame, no_jumps);
    }
}

bool NeighborList::count_images() {
    double total = 1;
    for (int a = 0; a < 3; ++a) {
        const double images = frame.periodic[a] ? std::ceil((cutoff + skin) / frame.height[a]) : 0;
        total *= 2 * images + 1;
        if (total > max_images)
            return false;
        n_images[a] = int(images);
    }
    shifts.resize(4 * size_t(total));
    return true;
}

void NeighborList::set_shifts(const Frame& now) {
    size_t k = 0;
    for (int x = -n_images[0]; x <= n_images[0]; ++x)
        for (int y = -n_images[1]; y <= n_images[1]; ++y)
            for (int z = -n_images[2]; z <= n_images[2]; ++z, ++k)
                for (int c = 0; c < 3; ++c)
                    shifts[4 * k + size_t(c)] = x * now.vectors[0][c] + y * now.vectors[1][c] + z * now.vectors[2][c];
}

} // namespace kml
