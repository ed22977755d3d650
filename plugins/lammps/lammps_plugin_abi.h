/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#ifndef KML_LAMMPS_PLUGIN_ABI_H
#define KML_LAMMPS_PLUGIN_ABI_H

// What LAMMPS hands to and expects from `lammpsplugin_init` (its own header of this is not installed).
extern "C" {
typedef void*(lammpsplugin_factory1)(void* lammps);
typedef void*(lammpsplugin_factory2)(void* lammps, int narg, char** arg);

typedef struct {
    const char *version, *style, *name, *info, *author;
    union {
        lammpsplugin_factory1* v1; // pair styles
        lammpsplugin_factory2* v2; // fixes, computes
    } creator;
    void* handle;
} lammpsplugin_t;

typedef void (*lammpsplugin_regfunc)(lammpsplugin_t* plugin, void* lammps);
}

#endif
