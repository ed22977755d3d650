/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#include "molecule.h"

#include "model_file.h"

#include "atom.h"
#include "comm.h"
#include "domain.h"
#include "error.h"

#include <algorithm>
#include <cmath>
#include <limits>

using namespace LAMMPS_NS;

namespace kml {

// The same list on all ranks.
static std::vector<tagint> all_ids(const std::vector<tagint>& mine, int ranks, MPI_Comm world) {
    const int count = int(mine.size());
    std::vector<int> counts(static_cast<size_t>(ranks)), starts(static_cast<size_t>(ranks));
    MPI_Allgather(&count, 1, MPI_INT, counts.data(), 1, MPI_INT, world);
    for (size_t r = 1; r < counts.size(); ++r)
        starts[r] = starts[r - 1] + counts[r - 1];
    std::vector<tagint> ids(size_t(starts.back() + counts.back()));
    MPI_Allgatherv(mine.data(), count, MPI_LMP_TAGINT, ids.data(), counts.data(), starts.data(), MPI_LMP_TAGINT, world);
    std::sort(ids.begin(), ids.end());
    return ids;
}

void Molecule::find(const char* group, int groupbit, const std::vector<int>& type_number) {
    const std::string what = "Fix kml/global";
    if (!atom->tag_enable)
        error->all(FLERR, what + " needs atom ids: use 'atom_modify id yes'");
    bigint count = 0, total = 0;
    for (int i = 0; i < atom->nlocal; ++i)
        count += (atom->mask[i] & groupbit) != 0;
    MPI_Allreduce(&count, &total, 1, MPI_LMP_BIGINT, MPI_SUM, world);
    if (total != bigint(species.size()))
        error->all(FLERR, what + ": the model is for a molecule of " + std::to_string(species.size()) +
                              " atoms, but group " + group + " has " + std::to_string(total));
    std::vector<tagint> mine;
    for (int i = 0; i < atom->nlocal; ++i)
        if (atom->mask[i] & groupbit)
            mine.push_back(atom->tag[i]);
    ids = all_ids(mine, comm->nprocs, world);

    std::vector<int> elements(species.size());
    for (int i = 0; i < atom->nlocal; ++i)
        if (atom->mask[i] & groupbit)
            elements[size_t(place(atom->tag[i]))] = type_number[size_t(atom->type[i])];
    MPI_Allreduce(MPI_IN_PLACE, elements.data(), size(), MPI_INT, MPI_SUM, world);
    for (size_t k = 0; k < species.size(); ++k)
        if (elements[k] != species[k])
            error->all(FLERR, what + ": atom " + std::to_string(ids[k]) + " is " +
                                  (elements[k] ? element_symbol(elements[k]) : "of a type without element") +
                                  ", but the model expects " + element_symbol(species[k]) +
                                  " there: its atoms, in the order of their ids, must be " + element_symbols(species));
}

int Molecule::place(tagint tag) const {
    const auto found = std::lower_bound(ids.begin(), ids.end(), tag);
    return found != ids.end() && *found == tag ? int(found - ids.begin()) : -1;
}

// Wrapped positions of all atoms; each comes from the one rank that owns it, so that the sums are exact.
void Molecule::collect(int groupbit) {
    const size_t n = species.size();
    local.assign(3 * n + 1, 0.0);
    positions.resize(3 * n + 1);
    for (int i = 0; i < atom->nlocal; ++i)
        if (atom->mask[i] & groupbit) {
            const int k = place(atom->tag[i]);
            if (k < 0)
                continue;
            std::copy(atom->x[i], atom->x[i] + 3, local.begin() + 3 * k);
            local[3 * n] += 1;
        }
    MPI_Allreduce(local.data(), positions.data(), int(3 * n + 1), MPI_DOUBLE, MPI_SUM, world);
    if (positions[3 * n] != double(n))
        error->all(FLERR, "Fix kml/global: " + std::to_string(n - size_t(positions[3 * n])) +
                              " atoms of the molecule were lost or left the group: check the time step");
}

// The image of the difference that is nearest for atoms closer than half the box.
void Molecule::shortest(const double* from, const double* to, double* difference) const {
    double* d = difference;
    for (int k = 0; k < 3; ++k)
        d[k] = to[k] - from[k];
    const double *h = domain->h, *inverse = domain->h_inv; // xx, yy, zz, yz, xz, xy
    const double z = domain->zperiodic ? std::round(inverse[2] * d[2]) : 0.0;
    const double y = domain->yperiodic ? std::round(inverse[1] * d[1] + inverse[3] * d[2]) : 0.0;
    const double x = domain->xperiodic ? std::round(inverse[0] * d[0] + inverse[5] * d[1] + inverse[4] * d[2]) : 0.0;
    d[0] -= h[0] * x + h[5] * y + h[4] * z;
    d[1] -= h[1] * y + h[3] * z;
    d[2] -= h[2] * z;
}

// Prim's algorithm; the result is the same on all ranks.
void Molecule::connect(int groupbit) {
    collect(groupbit);
    const int n = size();
    std::vector<double> nearest(size_t(n), std::numeric_limits<double>::infinity());
    std::vector<char> done(static_cast<size_t>(n));
    parent.assign(size_t(n), -1);
    order.clear();
    for (int step = 0, next = 0; step < n; ++step) {
        done[size_t(next)] = 1;
        order.push_back(next);
        int best = -1;
        for (int k = 0; k < n; ++k) {
            if (done[size_t(k)])
                continue;
            double d[3];
            shortest(&positions[size_t(3 * next)], &positions[size_t(3 * k)], d);
            const double r2 = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
            if (r2 < nearest[size_t(k)])
                nearest[size_t(k)] = r2, parent[size_t(k)] = next;
            if (best < 0 || nearest[size_t(k)] < nearest[size_t(best)])
                best = k;
        }
        next = best;
    }
}

const std::vector<double>& Molecule::gather(int groupbit) {
    collect(groupbit);
    for (int k : order) {
        const int p = parent[size_t(k)];
        if (p < 0)
            continue;
        double d[3];
        shortest(&positions[size_t(3 * p)], &positions[size_t(3 * k)], d);
        for (int c = 0; c < 3; ++c)
            positions[size_t(3 * k + c)] = positions[size_t(3 * p + c)] + d[c];
    }
    return positions;
}

} // namespace kml
