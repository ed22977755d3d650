/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#ifndef KML_COMPUTE_KML_UNCERTAINTY_H
#define KML_COMPUTE_KML_UNCERTAINTY_H

#include "compute.h"

#include <vector>

namespace LAMMPS_NS {

class PairKML;

/** `compute ID group kml/uncertainty`: standard deviations of the energy (a scalar) and of those of the atoms. */
class ComputeKMLUncertainty : public Compute {
public:
    ComputeKMLUncertainty(LAMMPS* lammps, int narg, char** arg);
    void init() override;
    double compute_scalar() override;
    void compute_peratom() override;
    double memory_usage() override { return double(values.capacity()) * sizeof(double); }

private:
    PairKML& evaluated();

    PairKML* pair = nullptr;
    std::vector<double> values; // (nlocal, at least 1)
};

} // namespace LAMMPS_NS

#endif
