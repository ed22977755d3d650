/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#include "compute_kml_uncertainty.h"
#include "fix_kml_global.h"
#include "lammps_plugin_abi.h"
#include "pair_kml.h"
#include "version_guard.h"

#include "lammps.h"

using namespace LAMMPS_NS;

static void* new_pair(void* lammps) { return static_cast<Pair*>(new PairKML(static_cast<LAMMPS*>(lammps))); }

static void* new_fix(void* lammps, int narg, char** arg) {
    return static_cast<Fix*>(new FixKMLGlobal(static_cast<LAMMPS*>(lammps), narg, arg));
}

static void* new_compute(void* lammps, int narg, char** arg) {
    return static_cast<Compute*>(new ComputeKMLUncertainty(static_cast<LAMMPS*>(lammps), narg, arg));
}

extern "C" __attribute__((visibility("default"))) void lammpsplugin_init(void* lammps, void* handle, void* regfunc) {
    kml::check_lammps_version(lammps);
    const auto add = reinterpret_cast<lammpsplugin_regfunc>(regfunc);
    lammpsplugin_t plugin = {};
    plugin.version = static_cast<LAMMPS*>(lammps)->version; // compared above, more strictly
    plugin.author = "the openmm_kml authors";
    plugin.handle = handle;

    plugin.style = "pair";
    plugin.name = "kml";
    plugin.info = "kernel potentials as splines, openmm_kml " KML_VERSION;
    plugin.creator.v1 = new_pair;
    add(&plugin, lammps);

    plugin.style = "fix";
    plugin.name = "kml/global";
    plugin.info = "kernel potential of one molecule, openmm_kml " KML_VERSION;
    plugin.creator.v2 = new_fix;
    add(&plugin, lammps);

    plugin.style = "compute";
    plugin.name = "kml/uncertainty";
    plugin.info = "uncertainty of pair_style kml, openmm_kml " KML_VERSION;
    plugin.creator.v2 = new_compute;
    add(&plugin, lammps);
}
