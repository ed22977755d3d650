/**
 * The engine as a table of C functions.
 *
 * The Cython engine fills one table; whoever drives it from outside Python (the OpenMM plugin) receives a pointer to
 * it and needs no Python header, no GIL and no symbol of the engine's library.
 */
#ifndef KML_ENGINE_API_H
#define KML_ENGINE_API_H

#include <stddef.h>

#define KML_ENGINE_API_VERSION 3

#ifdef __cplusplus
extern "C" {
#endif

/** A potential: immutable after open(), may be shared by threads. */
typedef struct kml_potential kml_potential;
/** Scratch memory of one caller: one for each Context or thread that calls evaluate(). */
typedef struct kml_workspace kml_workspace;

/** A structure to evaluate. Atoms may be anywhere, inside the cell or not. */
typedef struct kml_structure {
    int n_atoms;
    const double* positions; /* (n_atoms, 3), Å */
    const int* numbers;      /* (n_atoms,) atomic numbers; may be NULL for a one-molecule potential */
    const double* cell;      /* (3, 3) rows are lattice vectors, Å; NULL without periodicity */
    const int* pbc;          /* (3,) whether each lattice vector repeats the structure; NULL without periodicity */
} kml_structure;

/**
 * Where the results go, each overwritten; NULL what is not wanted, and not computed then.
 *
 * The last four are there for potentials with uncertainty: standard deviations of what the others predict.
 */
typedef struct kml_outputs {
    double* energy;     /* eV */
    double* forces;     /* (n_atoms, 3), eV/Å, -dE/dr */
    double* virial;     /* (3, 3), eV, -dE/dstrain */
    double* atomic;     /* (n_atoms,), eV; an error for a one-molecule potential */
    double* energy_std; /* σ_E, eV */
    double* std_forces; /* (n_atoms, 3), eV/Å, -dσ_E/dr: the forces of σ_E as an energy */
    double* std_virial; /* (3, 3), eV, -dσ_E/dstrain */
    double* atomic_std; /* (n_atoms,), eV; an error for a one-molecule potential */
} kml_outputs;

typedef struct kml_engine_api {
    /** KML_ENGINE_API_VERSION of the engine. A driver refuses another one. */
    int version;

    /**
     * Return a potential read from the bytes of a weight file, or NULL with the reason in `error`.
     * The bytes are copied: the caller may free them.
     */
    kml_potential* (*open)(const void* data, size_t size, char* error, size_t error_size);
    void (*close)(kml_potential* potential);

    /** Number of atoms of a one-molecule potential, 0 when the potential takes any number. */
    int (*n_atoms)(const kml_potential* potential);
    /** Atomic numbers in order, n_atoms() entries, owned by the potential. */
    const int* (*species)(const kml_potential* potential);
    /** Number of elements that a potential of any number of atoms knows; 0 for a one-molecule potential. */
    int (*n_elements)(const kml_potential* potential);
    /** Their atomic numbers, ascending, owned by the potential. */
    const int* (*elements)(const kml_potential* potential);
    /** Distance beyond which atoms do not feel each other, Å; 0 for a one-molecule potential. */
    double (*cutoff)(const kml_potential* potential);
    /** Whether the potential knows its uncertainty: 1 or 0. */
    int (*has_uncertainty)(const kml_potential* potential);

    kml_workspace* (*new_workspace)(const kml_potential* potential);
    void (*free_workspace)(kml_workspace* workspace);

    /**
     * Energy, forces, virial and standard deviations of one structure, as wanted.
     *
     * The workspace keeps a list of neighbors from one call to the next. A one-molecule potential takes the atoms as
     * they are and has no use for numbers, cell and pbc.
     *
     * @param n_threads  OpenMP threads, at least 1, or 0 to let the engine choose by the amount of work; the last
     * digits depend on it (not with local terms) and on the instruction set
     * @param error      OUT one sentence when the result is not 0 (coincident atoms, a coordinate that is not finite,
     * no uncertainty…)
     * @return 0 on success
     */
    int (*evaluate)(const kml_potential* potential, kml_workspace* workspace, const kml_structure* structure,
                    int n_threads, const kml_outputs* outputs, char* error, size_t error_size);
} kml_engine_api;

#ifdef __cplusplus
}
#endif

#endif
