/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
// What of PairKML concerns the members of a model with uncertainty.
#include "pair_kml.h"

#include "atom.h"
#include "compute.h"
#include "error.h"
#include "modify.h"
#include "update.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace LAMMPS_NS;

void* PairKML::extract(const char* name, int& dimension) {
    if (std::strcmp(name, "uncertainty_flag") != 0)
        return nullptr;
    require_uncertainty();
    dimension = 0;
    return &uncertainty_flag;
}

// Before the first evaluation, fix pair asks for the number of columns alone.
void* PairKML::extract_peratom(const char* name, int& columns) {
    if (std::strcmp(name, "uncertainty") != 0)
        return nullptr;
    columns = 0;
    return knows_uncertainty() ? uncertainty.data() : nullptr;
}

void PairKML::require_uncertainty() {
    if (!model)
        error->all(FLERR, "Pair style kml has no model yet, and so no uncertainty: pair_coeff comes first");
    if (model->members.empty())
        error->all(FLERR, "Pair style kml: the model has no uncertainty; train it with one");
}

bool PairKML::knows_uncertainty() const { return members_step == update->ntimestep; }

double PairKML::energy_std() {
    std::vector<double> all(member_sums.size());
    MPI_Allreduce(member_sums.data(), all.data(), int(all.size()), MPI_DOUBLE, MPI_SUM, world);
    const kml::MemberTables& tables = model->members;
    const size_t width = size_t(tables.width());
    double total = all[width] + all[width + 1] * tables.energy_floor * tables.energy_floor;
    for (size_t s = 0; s < width; ++s)
        total += all[s] * all[s];
    return unit * tables.energy_scale * std::sqrt(total);
}

bool PairKML::wants_uncertainty() const {
    bool wanted = uncertainty_flag != 0;
    for (int k = 0; k < modify->ncompute; ++k)
        wanted = wanted || (std::strcmp(modify->compute[k]->style, "kml/uncertainty") == 0 &&
                            modify->compute[k]->matchstep(update->ntimestep));
    return wanted;
}

void PairKML::prepare_members(int threads) {
    require_uncertainty(); // fix pair may have asked another model
    uncertainty.assign(size_t(std::max(1, atom->nlocal)), 0.0);
    const kml::Members& members = model->members.members;
    const size_t width = size_t(members.width), waiting = model->soap.empty() ? 1 : size_t(kml::soap_most_block);
    for (int t = 0; t < threads; ++t) {
        Lane& lane = lanes[size_t(t)];
        lane.member_energies.resize(waiting * width);
        lane.member_numbers.assign(size_t(members.n_numbers), 0.0); // zeros again after each use
        lane.ranges.assign(size_t(members.n_ranges), {});
        lane.segments.resize(size_t(members.n_segments));
        lane.member_sums.assign(width + 2, 0.0);
    }
}

// Evaluates the environment of an atom by the terms and by all members; `place` is its own among those that wait.
void PairKML::evaluate_members(Lane& lane, size_t place, int center, const kml::Neighbors& neighbors,
                               kml::EnvironmentResult& result) {
    const kml::Members& members = model->members.members;
    const kml::MemberFunctions& functions = *model->members.functions;
    kml::MemberMemory memory = {lane.member_numbers.data(), lane.ranges.data(), lane.segments.data(), 0, 0};
    functions.weigh(model->terms, members, center, neighbors, &lane.numbers[4 * lane.index.size()], memory, result);
    if (memory.n > 0)
        functions.multiply(model->terms, members, memory, lane.member_energies.data() + place * size_t(members.width));
}

// The standard deviation of an atom's energy, when all terms are known.
void PairKML::finish_members(Lane& lane, size_t place, int i) {
    const kml::MemberTables& tables = model->members;
    const size_t width = size_t(tables.width());
    double* energies = lane.member_energies.data() + place * width;
    const bool soap = !model->soap.empty();
    const double left = soap ? lane.soap.unexplained(place) : 0;
    double variance = left;
    for (size_t s = 0; s < width; ++s) {
        if (soap)
            energies[s] += lane.soap.member_energies(place)[s];
        lane.member_sums[s] += energies[s];
        variance += energies[s] * energies[s];
    }
    lane.member_sums[width] += left;
    lane.member_sums[width + 1] += 1;
    uncertainty[size_t(i)] = unit * tables.atom_scale *
                             std::sqrt(variance + tables.atom_floor * tables.atom_floor); // no other thread's atom
}

void PairKML::add_up_members(int threads) {
    member_sums.assign(size_t(model->members.width()) + 2, 0.0);
    for (int t = 0; t < threads; ++t)
        for (size_t s = 0; s < member_sums.size(); ++s)
            member_sums[s] += lanes[size_t(t)].member_sums[s];
    members_step = update->ntimestep;
}
