/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#include "model_file.h"

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "update.h"
#include "utils.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <memory>
#include <new>

using namespace LAMMPS_NS;

namespace kml {

int atomic_number(const std::string& symbol) {
    if (symbol == "NULL")
        return 0;
    for (int number = 1; number <= most_elements; ++number)
        if (symbol == element_symbol(number))
            return number;
    return -1;
}

std::string element_symbols(const std::vector<int>& numbers) {
    std::string text;
    for (int z : numbers)
        text += std::string(text.empty() ? "" : " ") + element_symbol(z);
    return text;
}

// Read a whole file; the reason when it cannot be read.
static std::string read_bytes(const std::string& path, std::vector<char>& bytes) {
    const std::string found = utils::get_potential_file_path(path);
    const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen((found.empty() ? path : found).c_str(), "rb"),
                                                     std::fclose);
    if (!file)
        return std::strerror(errno);
    char block[65536];
    errno = 0;
    while (const size_t n = std::fread(block, 1, sizeof block, file.get()))
        bytes.insert(bytes.end(), block, block + n);
    return std::ferror(file.get()) ? std::strerror(errno) : "";
}

// Bytes of any length from rank 0 to all.
static void broadcast(std::vector<char>& bytes, MPI_Comm world) {
    long long size = (long long)bytes.size();
    MPI_Bcast(&size, 1, MPI_LONG_LONG, 0, world);
    bytes.resize(size_t(size));
    for (long long start = 0; start < size; start += INT_MAX)
        MPI_Bcast(bytes.data() + start, int(std::min<long long>(INT_MAX, size - start)), MPI_CHAR, 0, world);
}

WeightFile read_model(LAMMPS* lammps, const std::string& what, const std::string& path, BaselineAdded added) {
    std::vector<char> bytes, reason;
    if (lammps->comm->me == 0) {
        const std::string problem = read_bytes(path, bytes);
        reason.assign(problem.begin(), problem.end());
    }
    broadcast(reason, lammps->world);
    if (!reason.empty())
        lammps->error->all(FLERR, what + ": the model file " + path +
                                      " cannot be read: " + std::string(reason.begin(), reason.end()));
    try {
        broadcast(bytes, lammps->world);
        return read_weight_file(bytes.data(), bytes.size(), added);
    } catch (const WeightFileError& error) { // the same on all ranks
        lammps->error->all(FLERR, what + ": the model file " + path + " is refused: " + error.what());
    } catch (const std::bad_alloc&) { // perhaps not on all
        lammps->error->one(FLERR, what + ": the memory does not suffice for the model file " + path);
    }
}

ModelWords model_words(LAMMPS* lammps, const std::string& what, int count, char** names) {
    const int types = lammps->atom->ntypes;
    ModelWords words;
    if (count == types + 2 && std::strcmp(names[types], "baseline") == 0) {
        if (std::strcmp(names[types + 1], "added") != 0)
            lammps->error->all(FLERR,
                               what + ": after 'baseline' only 'added' may follow, '" + names[types + 1] + "' came");
        words.added = BaselineAdded::by_caller;
        count = types;
    }
    if (count != types)
        lammps->error->all(FLERR,
                           what + ": one element for each of the " + std::to_string(types) +
                               " atom types is expected after the model file (NULL for a type of another style), " +
                               std::to_string(count) + " came");
    words.numbers.resize(size_t(types) + 1);
    for (int k = 0; k < count; ++k) {
        const int z = words.numbers[size_t(k) + 1] = atomic_number(names[k]);
        if (z < 0)
            lammps->error->all(FLERR, what + ": '" + names[k] + "' is not the symbol of an element");
    }
    return words;
}

double energy_unit(LAMMPS* lammps, const std::string& what) {
    const std::string units = lammps->update->unit_style;
    if (units == "real")
        return utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);
    if (units != "metal")
        lammps->error->all(FLERR, what + " works with 'units metal' or 'units real'; '" + units + "' was chosen");
    return 1.0;
}

} // namespace kml
