/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#include "version_guard.h"

#include "exceptions.h"
#include "lammps.h"

#include <cstdio>
#include <cstring>
#include <string>

#if !defined(KML_LAMMPS_VERSION) || !defined(KML_LAMMPS_GIT)
#error "compile with the version and the git descriptor of LAMMPS: kml lammps-plugin does"
#endif

extern "C" int lammps_version(void* handle);

namespace kml {

static std::string shown(int version, const char* git) {
    return "LAMMPS " + std::to_string(version) + " (" + git + ")";
}

void check_lammps_version(void* lammps) {
    const int version = lammps_version(lammps);
    const char* git = LAMMPS_NS::LAMMPS::git_descriptor();
    if (version == KML_LAMMPS_VERSION && !std::strcmp(git, KML_LAMMPS_GIT))
        return;
    const std::string sentence = "the kml plugin was compiled for " + shown(KML_LAMMPS_VERSION, KML_LAMMPS_GIT) +
                                 ", but this is " + shown(version, git) +
                                 ": run 'kml lammps-plugin' with this LAMMPS and load what it makes";
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) {
        std::fprintf(stderr, "ERROR: %s\n", sentence.c_str());
        std::fflush(stderr);
    }
    // Not through the Error class, whose symbols differ between versions.
    throw LAMMPS_NS::LAMMPSException("ERROR: " + sentence);
}

} // namespace kml
