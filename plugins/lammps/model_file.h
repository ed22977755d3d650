/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#ifndef KML_MODEL_FILE_H
#define KML_MODEL_FILE_H

#include "kml/elements.h"
#include "kml/weight_file.h"

#include "pointers.h"

#include <string>
#include <vector>

namespace kml {

/** What follows the file of a model: an element for each atom type, and whether its baseline is added. */
struct ModelWords {
    std::vector<int> numbers; // of the atom types, from 1 on (index 0 is unused), 0 for NULL
    BaselineAdded added = BaselineAdded::by_file;
};

/**
 * Return what the words after a model's file say; an error names what is wrong.
 *
 * @param count  number of words: one element for each atom type, then perhaps `baseline added`
 */
ModelWords model_words(LAMMPS_NS::LAMMPS* lammps, const std::string& what, int count, char** words);

/**
 * Return the contents of a weight file; to be called by all ranks together.
 *
 * Rank 0 alone reads the file (also from the folders in LAMMPS_POTENTIALS) and broadcasts its bytes, so that all ranks
 * have the same model, or the same error: no rank waits for another.
 *
 * @param what  who reads, for the messages: "Pair style kml"
 * @param added  whether the deck says that the baseline of a model of a difference is added
 */
WeightFile read_model(LAMMPS_NS::LAMMPS* lammps, const std::string& what, const std::string& path, BaselineAdded added);

/** Return the atomic number of an element's symbol, 0 for "NULL", -1 for anything else. */
int atomic_number(const std::string& symbol);

/** Return symbols with blanks between them. */
std::string element_symbols(const std::vector<int>& numbers);

/** Return how many of LAMMPS's energy units an eV is; an error unless the units are metal or real. */
double energy_unit(LAMMPS_NS::LAMMPS* lammps, const std::string& what);

} // namespace kml

#endif
