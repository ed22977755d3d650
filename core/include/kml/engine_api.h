/**
 * The engine as a table of C functions.
 *
 * The Cython engine fills one table; whoever drives it from outside Python (the OpenMM plugin) receives a pointer to
 * it and needs no Python header, no GIL and no symbol of the engine's library.
 */
#ifndef KML_ENGINE_API_H
#define KML_ENGINE_API_H

#include <stddef.h>

#define KML_ENGINE_API_VERSION 2

#ifdef __cplusplus
extern "C" {
#endif

/** A potential: immutable after open(), may be shared by threads. */
typedef struct kml_potential kml_potential;
/** Scratch memory of one caller: one for each Context or thread that calls evaluate(). */
typedef struct kml_workspace kml_workspace;

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

    kml_workspace* (*new_workspace)(const kml_potential* potential);
    void (*free_workspace)(kml_workspace* workspace);

    /**
     * Energy, forces and virial of one structure.
     *
     * The workspace keeps a list of neighbors from one call to the next. Atoms may be anywhere, inside the cell or not;
     * a one-molecule potential takes them as they are and has no use for numbers, cell and pbc.
     *
     * @param n_atoms    number of atoms
     * @param positions  IN  (n_atoms, 3), Å
     * @param numbers    IN  (n_atoms,) atomic numbers; may be NULL for a one-molecule potential
     * @param cell       IN  (3, 3) rows are lattice vectors, Å; NULL without periodicity
     * @param pbc        IN  (3,) whether each lattice vector repeats the structure; NULL without periodicity
     * @param n_threads  OpenMP threads, at least 1, or 0 to let the engine choose by the amount of work; the last
     * digits depend on it (not with local terms) and on the instruction set
     * @param energy     OUT eV
     * @param forces     OUT (n_atoms, 3), eV/Å, overwritten; NULL when not wanted
     * @param virial     OUT (3, 3), eV, overwritten; NULL when not wanted
     * @param atomic     OUT (n_atoms,), eV, overwritten; NULL when not wanted; an error for a one-molecule potential
     * @param error      OUT one sentence when the result is not 0 (coincident atoms, a coordinate that is not finite…)
     * @return 0 on success
     */
    int (*evaluate)(const kml_potential* potential, kml_workspace* workspace, int n_atoms, const double* positions,
                    const int* numbers, const double* cell, const int* pbc, int n_threads, double* energy,
                    double* forces, double* virial, double* atomic, char* error, size_t error_size);
} kml_engine_api;

#ifdef __cplusplus
}
#endif

#endif
