/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
// The evaluation by PairKML: each thread's atoms, one after the other, and what they add up to.
#include "pair_kml.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "neigh_list.h"

#include <algorithm>
#include <cmath>

using namespace LAMMPS_NS;

void PairKML::compute(int eflag, int vflag) {
    ev_init(eflag, vflag);
    const int n_atoms = atom->nlocal + atom->nghost;
    // Below some fifty atoms (few with soap) the start of a thread costs more than its work.
    const int threads = std::max(1, std::min(comm->nthreads, list->inum / (model->soap.empty() ? 50 : 8)));
    prepare(threads, n_atoms);
    with_members = wants_uncertainty();
    members_step = -1;
    if (with_members)
        prepare_members(threads);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int t = 0; t < threads; ++t)
        evaluate_range(lanes[size_t(t)], int(bigint(list->inum) * t / threads),
                       int(bigint(list->inum) * (t + 1) / threads));
    add_up(threads, n_atoms);
    if (with_members)
        add_up_members(threads);
}

// The first thread adds to LAMMPS's own forces, the others to memory of their own.
void PairKML::prepare(int threads, int n_atoms) {
    if (lanes.size() < size_t(threads))
        lanes.resize(size_t(threads));
    for (int t = 0; t < threads; ++t) {
        Lane& lane = lanes[size_t(t)];
        lane.energy = 0;
        std::fill(lane.virial, lane.virial + 6, 0.0);
        lane.bad_atom = -1;
        lane.short_of_memory = false;
        if (t > 0)
            lane.own.assign(3 * size_t(n_atoms), 0.0);
        lane.forces = t > 0 ? lane.own.data() : atom->f[0];
    }
}

// The atoms `first` <= place in the list < `last`.
void PairKML::evaluate_range(Lane& lane, int first, int last) {
    const double* const* x = atom->x;
    lane.start_batch();
    for (int k = first; k < last; ++k) {
        const int i = list->ilist[k], center = element[size_t(atom->type[i])];
        if (center < 0)
            continue;
        const kml::Neighbors neighbors = gather(lane, i, list->numneigh[i], list->firstneigh[i]);
        kml::EnvironmentResult result;
        if (with_members)
            evaluate_members(lane, lane.soap.size(), center, neighbors, result);
        else
            model->environment(center, neighbors, &lane.numbers[4 * lane.index.size()], result);
        // A neighbor that is not finite would count as far away: each atom is looked at by its owner.
        if (!(result.closest >= kml::coincident_square) || !std::isfinite(x[i][0] + x[i][1] + x[i][2])) {
            lane.bad_atom = i;
            return;
        }
        result.energy += model->atom_energies[size_t(center)];
        scatter(lane, i, result);
        if (model->soap.empty()) {
            if (with_members)
                finish_members(lane, 0, i);
            continue;
        }
        if (!lane.soap.add(center, neighbors, model->cutoff_soap)) {
            lane.short_of_memory = true;
            return;
        }
        lane.centers.push_back(i);
        const size_t added = lane.soap.size() - 1;
        for (int m = 0; m < lane.soap[added].n; ++m)
            lane.kept.push_back(lane.index[size_t(lane.soap.place(added)[m])]);
        if (lane.soap.size() == kml::soap_most_block)
            evaluate_batch(lane);
    }
    evaluate_batch(lane);
}

// The soap terms of the centers that wait for them.
void PairKML::evaluate_batch(Lane& lane) {
    if (lane.soap.size() == 0 || lane.short_of_memory)
        return;
    if (!(with_members ? lane.soap.evaluate_with_members(model->soap, size_t(model->members.width()))
                       : lane.soap.evaluate(model->soap))) {
        lane.short_of_memory = true;
        return;
    }
    const int* neighbor = lane.kept.data();
    for (size_t k = 0; k < lane.soap.size(); ++k) {
        const kml::SoapBatch::Environment& one = lane.soap[k];
        const double* gradient = lane.soap.gradient(k);
        double force[3] = {0, 0, 0};
        for (int m = 0; m < one.n; ++m, ++neighbor, gradient += 4) {
            double* f = lane.forces + 3 * size_t(*neighbor);
            for (int c = 0; c < 3; ++c) {
                f[c] -= unit * gradient[c];
                force[c] += gradient[c];
            }
        }
        add_center(lane, lane.centers[k], one.energy, force, one.virial);
        if (with_members)
            finish_members(lane, k, lane.centers[k]);
    }
    lane.start_batch();
}

// Vectors to all neighbors of the list, with its skin: what is too far is sorted out later, eight at a time.
kml::Neighbors PairKML::gather(Lane& lane, int i, int count, const int* list_of_atom) {
    if (lane.index.size() <= size_t(count)) {
        const size_t room = kml::whole_lines(2 * size_t(count) + 1);
        lane.index.resize(room);
        lane.element.resize(room);
        lane.numbers.resize(4 * room + size_t(kml::environment_scratch(long(room))));
    }
    const size_t room = lane.index.size();
    double* start = lane.numbers.data();
    kml::Neighbors neighbors = {0, start, start + room, start + 2 * room, start + 3 * room, lane.element.data()};
    const double* const* x = atom->x;
    const double center[3] = {x[i][0], x[i][1], x[i][2]};
    int n = 0;
    for (int m = 0; m < count; ++m) {
        const int j = list_of_atom[m] & NEIGHMASK;
        const int other = element[size_t(atom->type[j])];
        const double dx = x[j][0] - center[0], dy = x[j][1] - center[1], dz = x[j][2] - center[2];
        neighbors.x[n] = dx, neighbors.y[n] = dy, neighbors.z[n] = dz;
        neighbors.square[n] = dx * dx + dy * dy + dz * dz;
        lane.index[size_t(n)] = j;
        lane.element[size_t(n)] = other;
        n += other >= 0;
    }
    neighbors.n = n;
    return neighbors;
}

void PairKML::scatter(Lane& lane, int i, const kml::EnvironmentResult& result) {
    double force[3] = {result.force[0], result.force[1], result.force[2]};
    for (int s = 0; s < result.n_sides; ++s) {
        double* f = lane.forces + 3 * size_t(lane.index[size_t(result.side[s])]);
        const double* gradient = result.gradient + 4 * s;
        for (int c = 0; c < 3; ++c) {
            f[c] -= unit * gradient[c];
            force[c] += gradient[c];
        }
    }
    add_center(lane, i, result.energy, force, result.virial);
}

// Energy in eV, the force on the center in eV/Å, its virial as kml orders it.
void PairKML::add_center(Lane& lane, int i, double energy, const double* force, const double* own) {
    static const int voigt[6] = {0, 1, 2, 5, 4, 3}; // the place of xx, yy, zz, xy, xz, yz in `own`
    for (int c = 0; c < 3; ++c)
        lane.forces[3 * size_t(i) + size_t(c)] += unit * force[c];
    lane.energy += unit * energy;
    if (eflag_atom) // no other thread has this atom
        eatom[i] += unit * energy;
    if (!vflag_either)
        return;
    for (int k = 0; k < 6; ++k) {
        lane.virial[k] += unit * own[voigt[k]];
        if (vflag_atom)
            vatom[i][k] += unit * own[voigt[k]];
    }
}

void PairKML::add_up(int threads, int n_atoms) {
    for (int t = 0; t < threads; ++t) {
        const Lane& lane = lanes[size_t(t)];
        if (lane.bad_atom >= 0)
            error->one(FLERR, "Pair style kml: atom " + std::to_string(atom->tag[lane.bad_atom]) +
                                  " coincides with another one, or its position is not finite: check the structure, "
                                  "or the time step");
        if (lane.short_of_memory)
            error->one(FLERR, "Pair style kml: the memory does not suffice for the evaluation");
        if (eflag_global)
            eng_vdwl += lane.energy;
        for (int k = 0; k < 6 && vflag_global; ++k)
            virial[k] += lane.virial[k];
    }
    if (threads == 1)
        return;
    double* f = atom->f[0];
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int s = 0; s < threads; ++s) {
        const size_t first = 3 * size_t(bigint(n_atoms) * s / threads);
        const size_t last = 3 * size_t(bigint(n_atoms) * (s + 1) / threads);
        for (int t = 1; t < threads; ++t) { // in this order: the digits do not depend on who was faster
            const double* other = lanes[size_t(t)].own.data();
            for (size_t k = first; k < last; ++k)
                f[k] += other[k];
        }
    }
}
