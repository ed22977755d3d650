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

/**
 * `pair_style kml`, `pair_coeff * * FILE elements [baseline added]`: two- and three-body splines, repulsion and soap.
 *
 * A model with uncertainty has standard deviations of the atoms' energies, for `fix pair` by the name `uncertainty`,
 * and of the whole energy. They are evaluated on the steps at which a fix pair or a compute kml/uncertainty asks.
 */
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
    void* extract(const char* name, int& dimension) override;
    void* extract_peratom(const char* name, int& columns) override;

    /** An error unless the model knows its uncertainty; to be called by all processors. */
    void require_uncertainty();
    /** Whether standard deviations are those of the present step. */
    bool knows_uncertainty() const;
    /** Standard deviation of the energy on this step, in LAMMPS's unit; to be called by all processors. */
    double energy_std();

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
        kml::AlignedVector member_energies; // (environments that wait, width), eV
        kml::AlignedVector member_numbers;  // MemberMemory
        std::vector<kml::MemberRange> ranges;
        std::vector<kml::MemberSegment> segments;
        std::vector<double> member_sums; // (width + 2): energies by all members, Σ v_i, atoms

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
    bool wants_uncertainty() const;
    void prepare_members(int threads);
    void evaluate_members(Lane& lane, size_t place, int center, const kml::Neighbors& neighbors,
                          kml::EnvironmentResult& result);
    void finish_members(Lane& lane, size_t place, int i);
    void add_up_members(int threads);

    std::unique_ptr<kml::LocalModel> model;
    double unit = 1;          // eV in the energy unit of LAMMPS
    std::vector<int> element; // place in the model of each atom type, -1 without
    std::vector<Lane> lanes;

    int uncertainty_flag = 0; // set by fix pair on the steps that it wants
    bool with_members = false;
    bigint members_step = -1;        // to which the following belong
    std::vector<double> uncertainty; // (nlocal, at least 1), energy unit of LAMMPS
    std::vector<double> member_sums; // as a lane's, of this processor
};

} // namespace LAMMPS_NS

#endif
