/* -*- c++ -*- ----------------------------------------------------------
   openmm_kml plugin for LAMMPS.
   Copyright (C) 2026 the openmm_kml authors

   This program is free software; you can redistribute it and/or modify it under the terms of version 2 of the GNU
   General Public License as published by the Free Software Foundation. It comes without any warranty. See COPYING.
------------------------------------------------------------------------- */
#ifndef KML_VERSION_GUARD_H
#define KML_VERSION_GUARD_H

namespace kml {

/**
 * Throw, after one sentence on the screen of rank 0, unless this is the LAMMPS that the plugin was compiled for.
 *
 * The layout of LAMMPS's classes differs between versions; LAMMPS itself only warns, and then crashes. Nothing of the
 * object is touched here: the two questions have the same symbols in all versions.
 */
void check_lammps_version(void* lammps);

} // namespace kml

#endif
