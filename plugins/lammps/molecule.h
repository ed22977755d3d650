/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#ifndef KML_MOLECULE_H
#define KML_MOLECULE_H

#include "lmptype.h"
#include "pointers.h"

#include <vector>

namespace kml {

/** One molecule among the atoms of a simulation: who belongs to it, and its positions as a whole. */
class Molecule : protected LAMMPS_NS::Pointers {
public:
    /** @param species  atomic numbers in the order of the model */
    Molecule(LAMMPS_NS::LAMMPS* lammps, std::vector<int> species) : Pointers(lammps), species(std::move(species)) {}

    /**
     * Find the atoms of the group, in the order of their ids; an error unless number and elements are the model's.
     *
     * @param type_number  atomic number of each atom type
     */
    void find(const char* group, int groupbit, const std::vector<int>& type_number);

    /** Order the atoms by a tree of shortest distances, along which positions are unwrapped. */
    void connect(int groupbit);

    /** Return the positions (n_atoms, 3), whole across periodic boundaries, in the order of the model, on all ranks. */
    const std::vector<double>& gather(int groupbit);

    /** Return the place of a local atom in the molecule, -1 when it does not belong to it. */
    int place(LAMMPS_NS::tagint id) const;

    LAMMPS_NS::tagint id(int place) const { return ids[size_t(place)]; }
    int size() const { return int(species.size()); }

private:
    void collect(int groupbit);
    void shortest(const double* from, const double* to, double* difference) const;

    std::vector<int> species;
    std::vector<LAMMPS_NS::tagint> ids; // ascending
    std::vector<double> positions, local;
    std::vector<int> order, parent; // of the tree
};

} // namespace kml

#endif
