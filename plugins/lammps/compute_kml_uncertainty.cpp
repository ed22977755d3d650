/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#include "compute_kml_uncertainty.h"

#include "pair_kml.h"

#include "atom.h"
#include "error.h"
#include "force.h"
#include "update.h"

#include <algorithm>

using namespace LAMMPS_NS;

ComputeKMLUncertainty::ComputeKMLUncertainty(LAMMPS* lammps, int narg, char** arg) : Compute(lammps, narg, arg) {
    if (narg != 3)
        error->all(FLERR, "Compute kml/uncertainty takes no arguments");
    scalar_flag = 1;
    extscalar = 0; // it grows like the root of the number of atoms, or like the number
    peratom_flag = 1;
    size_peratom_cols = 0;
    timeflag = 1; // who wants it at a step says so before: the pair style evaluates it then, and only then
}

void ComputeKMLUncertainty::init() {
    pair = dynamic_cast<PairKML*>(force->pair_match("kml", 1));
    if (!pair)
        error->all(FLERR, "Compute kml/uncertainty needs pair_style kml, once");
    pair->require_uncertainty();
}

PairKML& ComputeKMLUncertainty::evaluated() {
    if (!pair || !pair->knows_uncertainty())
        error->all(FLERR, "Compute kml/uncertainty was not evaluated at this step: use it in thermo output, dumps or "
                          "fixes, or in variables that these use");
    return *pair;
}

double ComputeKMLUncertainty::compute_scalar() {
    invoked_scalar = update->ntimestep;
    return scalar = evaluated().energy_std();
}

void ComputeKMLUncertainty::compute_peratom() {
    invoked_peratom = update->ntimestep;
    int columns = 0;
    const double* all = static_cast<const double*>(evaluated().extract_peratom("uncertainty", columns));
    const size_t n = size_t(atom->nlocal);
    values.assign(std::max(n, size_t(1)), 0.0);
    for (size_t i = 0; i < n; ++i)
        if (atom->mask[i] & groupbit)
            values[i] = all[i];
    vector_atom = values.data();
}
