/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#ifndef KML_FIX_KML_GLOBAL_H
#define KML_FIX_KML_GLOBAL_H

#include "gdml_sum.h"
#include "molecule.h"

#include "fix.h"

#include <memory>
#include <vector>

namespace LAMMPS_NS {

/** `fix ID group kml/global FILE elements`: the energy and forces of a model of one molecule, which is the group. */
class FixKMLGlobal : public Fix {
public:
    FixKMLGlobal(LAMMPS* lammps, int narg, char** arg);
    int setmask() override;
    void init() override;
    void setup(int vflag) override;
    void min_setup(int vflag) override;
    void post_force(int vflag) override;
    void min_post_force(int vflag) override { post_force(vflag); }
    double compute_scalar() override { return energy; }
    double memory_usage() override;

private:
    [[noreturn]] void explain(const kml::Failure& failure);
    void add_virial(int atom_index, const double* position, const double* center, const double* force);

    double unit;              // eV in the energy unit of LAMMPS
    double energy = 0;        // in that unit
    std::vector<int> numbers; // of atom types
    std::unique_ptr<kml::Molecule> molecule;
    std::unique_ptr<kml::GDMLSum> model;
    std::vector<double> forces; // of the whole molecule
};

} // namespace LAMMPS_NS

#endif
