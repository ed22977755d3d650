/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#ifndef KML_GDML_SUM_H
#define KML_GDML_SUM_H

#include "kml/aligned.h"
#include "kml/gdml.h"
#include "kml/molecule_prior.h"

#include <mpi.h>
#include <vector>

namespace kml {

/** The terms of one molecule, evaluated by all ranks and threads together. */
class GDMLSum {
public:
    explicit GDMLSum(const WeightFile& file);

    /**
     * Energy, forces and virial; the same digits on all ranks, which all must call with the same positions.
     *
     * @param positions  IN  (n_atoms, 3), Å, a whole molecule
     * @param energy     OUT eV
     * @param forces     OUT (n_atoms, 3), eV/Å
     * @return why there is no result; the same on all ranks
     */
    Failure evaluate(const double* positions, int n_threads, MPI_Comm world, double& energy, double* forces);

    double bytes() const;

private:
    Failure add_term(const GDML& term, const double* positions, int n_threads, MPI_Comm world, double& energy,
                     double* forces);
    void sum_panels(const GDML& term, long first, long last, double* own) const;

    int n_atoms;
    double one_body = 0; // Σ e0, eV
    std::vector<GDML> terms;
    MoleculePrior prior;
    AlignedVector shared;
    std::vector<AlignedVector> own; // one for each thread
};

} // namespace kml

#endif
