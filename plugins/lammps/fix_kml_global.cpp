/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#include "fix_kml_global.h"

#include "model_file.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "group.h"
#include "update.h"

#include <cstring>

using namespace LAMMPS_NS;
using namespace FixConst;

static const std::string what = "Fix kml/global";

FixKMLGlobal::FixKMLGlobal(LAMMPS* lammps, int narg, char** arg) : Fix(lammps, narg, arg) {
    scalar_flag = 1;
    global_freq = 1;
    extscalar = 1;
    energy_global_flag = virial_global_flag = virial_peratom_flag = 1;
    thermo_energy = thermo_virial = 1; // it is the potential: fix_modify energy and virial take it out
    if (narg < 4)
        error->all(FLERR, what + ": fix ID group kml/global FILE and one element for each atom type are expected");
    unit = kml::energy_unit(lmp, what);
    const kml::ModelWords words = kml::model_words(lmp, what, narg - 4, arg + 4);
    numbers = words.numbers;
    const kml::WeightFile file = kml::read_model(lmp, what, arg[3], words.added);
    if (file.species.empty())
        error->all(FLERR, what + ": " + arg[3] + " is a model of any number of atoms: use pair_style kml");
    molecule = std::make_unique<kml::Molecule>(lmp, file.species);
    model = std::make_unique<kml::GDMLSum>(file);
    forces.resize(3 * file.species.size());
}

int FixKMLGlobal::setmask() { return POST_FORCE | MIN_POST_FORCE; }

void FixKMLGlobal::init() {
    if (std::strncmp(update->integrate_style, "respa", 5) == 0)
        error->all(FLERR, what + " does not work with run_style respa: use run_style verlet");
    molecule->find(group->names[igroup], groupbit, numbers);
}

void FixKMLGlobal::setup(int vflag) {
    molecule->connect(groupbit);
    post_force(vflag);
}

void FixKMLGlobal::min_setup(int vflag) { setup(vflag); }

void FixKMLGlobal::post_force(int vflag) {
    v_init(vflag);
    const std::vector<double>& positions = molecule->gather(groupbit);
    const kml::Failure failure = model->evaluate(positions.data(), comm->nthreads, world, energy, forces.data());
    if (failure.reason != kml::Failure::none)
        explain(failure);
    energy *= unit;
    double center[3] = {0, 0, 0}; // the virial does not depend on it; small numbers round better
    for (int k = 0; k < 3 * molecule->size(); ++k)
        center[k % 3] += positions[size_t(k)] / molecule->size();
    for (int i = 0; i < atom->nlocal; ++i) {
        if (!(atom->mask[i] & groupbit))
            continue;
        const int place = molecule->place(atom->tag[i]);
        if (place < 0)
            error->one(FLERR, what + ": atom " + std::to_string(atom->tag[i]) +
                                  " joined the group during the run; the molecule's atoms must stay the same");
        const size_t k = 3 * size_t(place);
        const double f[3] = {unit * forces[k], unit * forces[k + 1], unit * forces[k + 2]};
        for (int c = 0; c < 3; ++c)
            atom->f[i][c] += f[c];
        if (vflag_either)
            add_virial(i, &positions[k], center, f);
    }
}

// virial = -dE/dstrain = Σ r f: each atom's part goes to the rank that owns it.
void FixKMLGlobal::add_virial(int i, const double* position, const double* center, const double* f) {
    static const int row[] = {0, 1, 2, 0, 0, 1}, column[] = {0, 1, 2, 1, 2, 2};
    for (int k = 0; k < 6; ++k) {
        const double v = (position[row[k]] - center[row[k]]) * f[column[k]];
        if (vflag_global)
            virial[k] += v;
        if (vflag_atom)
            vatom[i][k] += v;
    }
}

void FixKMLGlobal::explain(const kml::Failure& failure) {
    const auto name = [&](int k) { return "atom " + std::to_string(molecule->id(k)); };
    switch (failure.reason) {
    case kml::Failure::not_finite:
        error->all(FLERR, what + ": a coordinate of " + name(failure.i) + " is not finite: check the time step");
    case kml::Failure::coincident:
        error->all(FLERR, what + ": " + name(failure.i) + " and " + name(failure.j) +
                              " coincide: the energy is not defined; check the structure, or the time step");
    default:
        error->all(FLERR,
                   what + ": the energy or a force is not finite: the molecule is far outside the training data");
    }
}

double FixKMLGlobal::memory_usage() { return model->bytes() + double(forces.size()) * sizeof(double); }
