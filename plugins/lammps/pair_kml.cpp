/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#include "pair_kml.h"

#include "model_file.h"

#include "atom.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neighbor.h"

#include <algorithm>
#include <cstring>

using namespace LAMMPS_NS;

static const std::string what = "Pair style kml";

PairKML::PairKML(LAMMPS* lammps) : Pair(lammps) {
    single_enable = 0;
    no_virial_fdotr_compute = 1; // a pair's force comes to each atom from its own environment, not at its image
    restartinfo = 0; // as other styles with a model file: after read_restart, give pair_style and pair_coeff again
    one_coeff = 1;
    manybody_flag = 1;
    centroidstressflag = CENTROID_NOTAVAIL;
    unit_convert_flag = utils::get_supported_conversions(utils::ENERGY);
}

PairKML::~PairKML() {
    if (allocated && !copymode) {
        memory->destroy(setflag);
        memory->destroy(cutsq);
    }
}

void PairKML::allocate() {
    allocated = 1;
    const int n = atom->ntypes + 1;
    memory->create(setflag, n, n, "pair:setflag");
    memory->create(cutsq, n, n, "pair:cutsq");
}

void PairKML::settings(int narg, char**) {
    if (narg)
        error->all(FLERR, what + " takes no arguments; the model belongs to pair_coeff");
}

void PairKML::coeff(int narg, char** arg) {
    if (!allocated)
        allocate();
    if (narg < 3 || std::strcmp(arg[0], "*") != 0 || std::strcmp(arg[1], "*") != 0)
        error->all(FLERR, what + ": pair_coeff * * FILE and one element for each atom type are expected");
    const kml::ModelWords words = kml::model_words(lmp, what, narg - 3, arg + 3);
    const std::vector<int>& numbers = words.numbers;
    unit = kml::energy_unit(lmp, what);
    const kml::WeightFile file = kml::read_model(lmp, what, arg[2], words.added);
    if (file.elements.empty())
        error->all(FLERR, what + ": " + arg[2] + " is a model of one molecule: use fix kml/global");
    std::vector<int> places(numbers.size(), -1); // nothing changes before all is known to be right
    for (size_t type = 1; type < numbers.size(); ++type) {
        if (numbers[type] == 0)
            continue;
        const auto found = std::find(file.elements.begin(), file.elements.end(), numbers[type]);
        if (found == file.elements.end())
            error->all(FLERR, what + ": the model " + arg[2] + " does not know " + kml::element_symbol(numbers[type]) +
                                  "; it knows " + kml::element_symbols(file.elements));
        places[type] = int(found - file.elements.begin());
    }
    model = std::make_unique<kml::LocalModel>(file, nullptr);
    element = std::move(places);
    for (int i = 1; i <= atom->ntypes; ++i)
        for (int j = i; j <= atom->ntypes; ++j)
            setflag[i][j] = element[size_t(i)] >= 0 && element[size_t(j)] >= 0;
}

void PairKML::init_style() {
    if (!model)
        error->all(FLERR, what + " has no model: pair_coeff * * FILE and elements are missing");
    kml::energy_unit(lmp, what);
    if (!atom->tag_enable)
        error->all(FLERR, what + " needs atom ids: use 'atom_modify id yes'");
    if (!force->newton_pair)
        error->all(FLERR,
                   what + " needs 'newton on': an atom's energy acts on its neighbors, also those of other processors");
    // Pairs that special_bonds excludes never reach a pair style; a model of all pairs must see them.
    for (int k = 1; k < 4; ++k)
        if (atom->molecular != Atom::ATOMIC && force->special_lj[k] == 0.0 && force->special_coul[k] == 0.0 &&
            atom->nbonds > 0)
            error->all(FLERR, what + " needs all neighbors, also bonded ones: use 'special_bonds lj/coul 1 1 1'");
    neighbor->add_request(this, NeighConst::REQ_FULL);
}

double PairKML::init_one(int i, int j) {
    if (!setflag[i][j])
        error->all(FLERR, what + ": atom types " + std::to_string(i) + " and " + std::to_string(j) +
                              " have no coefficients: in the list of elements, NULL is for hybrid styles");
    return model->cutoff();
}

double PairKML::memory_usage() {
    double bytes = Pair::memory_usage();
    for (const Lane& lane : lanes)
        bytes += double(lane.numbers.capacity() + lane.own.capacity()) * sizeof(double) +
                 double(lane.index.capacity() + lane.element.capacity() + lane.kept.capacity()) * sizeof(int) +
                 lane.soap.memory();
    return bytes;
}
