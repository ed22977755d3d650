/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#ifndef KML_PAIR_KML_H
#define KML_PAIR_KML_H

#include "kml/local_model.h"
#include "kml/soap_batch.h"

#include "pair.h"

#include <memory>
#include <vector>

namespace LAMMPS_NS {

/** `pair_style kml`, `pair_coeff * * FILE elements`: two- and three-body splines, repulsion and soap. */
class PairKML : public Pair {
public:
    explicit PairKML(LAMMPS* lammps);
    ~PairKML() override;
    void settings(int narg, char** arg) override;
    void coeff(int narg, char** arg) override;
    void init_style() override;
    double init_one(int i, int j) override;
    void compute(int eflag, int vflag) override;
    double memory_usage() override;

private:
    /** The memory of one thread. */
    struct Lane {
        kml::AlignedVector numbers;      // vectors to neighbors, and the scratch memory of an environment
        std::vector<int> index, element; // of neighbors
        std::vector<double> own;         // forces on all atoms; unused by the first thread
        double* forces;                  // (n_atoms, 3), energy unit of LAMMPS per Å
        double energy, virial[6];        // energy unit of LAMMPS; xx, yy, zz, xy, xz, yz
        int bad_atom;                    // on top of another one, or nowhere; -1 without
        kml::SoapBatch soap;             // environments that wait for the soap terms
        std::vector<int> centers, kept;  // their atoms, and those of their neighbors one after the other
        bool short_of_memory;

        void start_batch() { soap.clear(), centers.clear(), kept.clear(); }
    };

    void allocate();
    void prepare(int threads, int n_atoms);
    void evaluate_range(Lane& lane, int first, int last);
    kml::Neighbors gather(Lane& lane, int i, int count, const int* neighbors);
    void scatter(Lane& lane, int i, const kml::EnvironmentResult& result);
    void evaluate_batch(Lane& lane);
    void add_center(Lane& lane, int i, double energy, const double* force, const double* own);
    void add_up(int threads, int n_atoms);

    std::unique_ptr<kml::LocalModel> model;
    double unit = 1;          // eV in the energy unit of LAMMPS
    std::vector<int> element; // place in the model of each atom type, -1 without
    std::vector<Lane> lanes;
};

} // namespace LAMMPS_NS

#endif
