/** A potential made from a weight file, and the memory of one caller. The evaluation loop is in cython_src/. */
#ifndef KML_POTENTIAL_H
#define KML_POTENTIAL_H

#include "kml/gdml.h"
#include "kml/gdml_uncertainty.h"
#include "kml/local_evaluation.h"
#include "kml/local_model.h"
#include "kml/molecule_prior.h"

#include <cstddef>
#include <vector>

/** The opaque handle of engine_api.h: immutable after construction. */
struct kml_potential {
    // A model of one molecule:
    std::vector<int> species;
    double one_body = 0; // Σ e0, eV
    std::vector<kml::GDML> terms;
    std::vector<kml::GDMLUncertainty> uncertainties; // of the terms; empty without
    kml::Uncertainty scales;
    kml::MoleculePrior prior; // after the terms: they find coincident atoms
    // A model of any structure; empty otherwise:
    kml::LocalModel local;

    const kml::InstructionSet* instructions = nullptr;

    bool is_local() const { return !local.empty(); }
    bool has_uncertainty() const { return is_local() ? !local.members.empty() : !uncertainties.empty(); }
    /** Floating-point operations of one evaluation, for local terms roughly. */
    double operations(long n_atoms) const;
    /**
     * Threads that are worth starting for this many operations: as many as asked for, but one below some 50 µs of work;
     * with n_threads = 0 as many as there are cores, but one below some 500 µs.
     */
    static int useful_threads(int n_threads, int cores, double operations);
};

/** Scratch memory: one lane for each thread, and a shared part. */
struct kml_workspace {
    kml::AlignedVector shared;
    std::vector<kml::AlignedVector> own;
    kml::LocalEvaluation local;
    kml::GDMLUncertainty::Memory uncertainty;

    /** Make room for a term, some geometries and threads; false when memory is short. */
    bool reserve(const kml::GDML& term, long geometries, int n_threads) noexcept;
};

namespace kml {

/**
 * Return a potential, or NULL with the reason in `error`. Never throws.
 *
 * @param isa  name of an instruction set, NULL or "" for the best of this processor
 */
kml_potential* open_potential(const void* data, size_t size, const char* isa, char* error, size_t error_size) noexcept;
void close_potential(kml_potential* potential) noexcept;
kml_workspace* new_workspace() noexcept;
void free_workspace(kml_workspace* workspace) noexcept;

/**
 * Threads to start for work that is divided among n: n, or one in a process that was forked after some were started.
 * OpenMP's threads do not survive a fork, and the child would wait for them for ever. The work is divided among n all
 * the same, so that no digit changes.
 */
int team_size(int n) noexcept;

/**
 * Standard deviations of a model of one molecule, for a geometry whose energy was evaluated before.
 *
 * @param energy_std  OUT eV
 * @param forces      OUT (n_atoms, 3), -d(energy_std)/dr, eV/Å; NULL when not wanted
 * @param virial      OUT (3, 3), -d(energy_std)/dstrain, eV; NULL when not wanted
 * @param force_std   OUT (n_atoms, 3), eV/Å; NULL when not wanted
 */
Failure molecule_std(const kml_potential& potential, kml_workspace& workspace, const double* positions,
                     double* energy_std, double* forces, double* virial, double* force_std) noexcept;

/** Find a value that is not finite among the results. */
Failure check_results(long geometries, int n_atoms, const double* energies, const double* forces,
                      const double* virials) noexcept;

/** Write one sentence about a failure; `batch` names the geometry too. */
void describe(const kml_potential& potential, const Failure& failure, bool batch, char* error,
              size_t error_size) noexcept;

} // namespace kml

#endif
