# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The host engine: evaluation loops over blocks of training points or over atoms, without the GIL, in OpenMP threads.

Results depend on the model, the positions, the number of threads and the instruction set only: each thread takes a
fixed range of blocks into sums of its own, and these are added in the order of the threads.
"""

import numpy as np

from openmm_kml.errors import EvaluationError, WeightFileError

from cpython.pycapsule cimport PyCapsule_New
from cython.parallel cimport prange
from libc.stddef cimport size_t
from libc.string cimport memset
from libcpp.vector cimport vector


cdef extern from "<omp.h>" nogil:
    int omp_get_max_threads()


cdef extern from "kml/engine_api.h" nogil:
    enum: KML_ENGINE_API_VERSION
    ctypedef struct kml_potential
    ctypedef struct kml_workspace
    ctypedef struct kml_structure:
        int n_atoms
        const double* positions
        const int* numbers
        const double* cell
        const int* pbc
    ctypedef struct kml_outputs:
        double* energy
        double* forces
        double* virial
        double* atomic
        double* energy_std
        double* std_forces
        double* std_virial
        double* atomic_std
    ctypedef struct kml_engine_api:
        int version
        kml_potential* (*open)(const void*, size_t, char*, size_t) noexcept nogil
        void (*close)(kml_potential*) noexcept nogil
        int (*n_atoms)(const kml_potential*) noexcept nogil
        const int* (*species)(const kml_potential*) noexcept nogil
        int (*n_elements)(const kml_potential*) noexcept nogil
        const int* (*elements)(const kml_potential*) noexcept nogil
        double (*cutoff)(const kml_potential*) noexcept nogil
        int (*has_uncertainty)(const kml_potential*) noexcept nogil
        kml_workspace* (*new_workspace)(const kml_potential*) noexcept nogil
        void (*free_workspace)(kml_workspace*) noexcept nogil
        int (*evaluate)(const kml_potential*, kml_workspace*, const kml_structure*, int, const kml_outputs*, char*,
                        size_t) noexcept nogil


cdef extern from "kml/soap_training.h" namespace "kml" nogil:
    pass


cdef extern from "kml/potential.h" namespace "kml" nogil:
    enum Reason "kml::Failure::Reason":
        NONE "kml::Failure::none"
        NOT_FINITE "kml::Failure::not_finite"
        MEMORY "kml::Failure::memory"
        UNKNOWN_ELEMENT "kml::Failure::unknown_element"
        NO_VOLUME "kml::Failure::no_volume"
        TOO_SMALL "kml::Failure::too_small"

    cppclass Failure:
        Reason reason
        long geometry
        int i

    cppclass InstructionSet:
        const char* name

    cppclass AlignedVector:
        double* data()

    cppclass GDML:
        long n_panels, block_panels
        long stack()
        Failure begin(long, const double*, double*)
        void clear(long, double*)
        void block(long, long, long, const double*, double*)
        void gather(long, const double*, double*)
        void finish(long, const double*, const double*, double*, double*, double*, double*)

    enum SoapForm "kml::SoapForm":
        SOAP_SUM "kml::SoapForm::sum"
        SOAP_QUADRATIC "kml::SoapForm::quadratic"
        SOAP_LINEAR "kml::SoapForm::linear"

    cppclass SoapInfo:
        SoapForm form
        long dimension, reduced_dimension, n_sparse
        vector[int] ranks
        double neglected, kernel_operations, other_operations
        size_t bytes

    cppclass Soap:
        bint is_center(int)
        const SoapInfo& info()

    cppclass MoleculeRepulsion:
        void add(long, const double*, double*, double*, double*)

    cppclass MemberTables:
        int n_members
        double force_scale, force_floor

    cppclass LocalModel:
        vector[int] elements
        vector[Soap] soap
        MemberTables members
        double cutoff()

    cppclass Structure:
        long n_atoms
        const double* positions
        const int* numbers
        const double* cell
        const int* pbc

    cppclass NeighborList:
        double skin
        long n_atoms
        void forget()

    cppclass LocalEvaluation:
        NeighborList list
        Failure begin(const LocalModel&, const Structure&) noexcept
        bint stale()
        long n_chunks()
        long n_parts()
        bint search(long) noexcept
        Failure finish_search() noexcept
        void place(long) noexcept
        void link(long) noexcept
        Failure prepare(const LocalModel&, const Structure&, int, bint) noexcept
        Failure environments(const LocalModel&, int, long, long) noexcept
        void forces(long, long, double*) noexcept
        void finish(double*, double*, double*) noexcept
        void finish_members(const LocalModel&, double*, double*) noexcept
        Failure begin_gradient(const LocalModel&) noexcept
        Failure begin_member(const LocalModel&, int) noexcept
        int element_of(long)

    cppclass SoapRows:
        long n_atoms
        double* energies
        double* forces
        double* virials

    cppclass SoapTraining:
        Soap soap

    SoapTraining* new_soap_training(const void*, size_t, const char*, int, bint) noexcept
    void free_soap_training(SoapTraining*) noexcept
    Failure soap_descriptors(const LocalModel&, const SoapTraining&, LocalEvaluation&, int, long, long,
                             double*) noexcept
    Failure soap_rows(const LocalModel&, const SoapTraining&, LocalEvaluation&, int, long, long,
                      const SoapRows&) noexcept
    const InstructionSet* instruction_set(const char*)
    kml_potential* open_potential(const void*, size_t, const char*, char*, size_t) noexcept
    void close_potential(kml_potential*) noexcept
    kml_workspace* new_workspace() noexcept
    void free_workspace(kml_workspace*) noexcept
    int team_size(int) noexcept
    Failure molecule_std(const kml_potential&, kml_workspace&, const double*, double*, double*, double*,
                         double*) noexcept
    Failure check_results(long, int, const double*, const double*, const double*) noexcept
    void describe(const kml_potential&, const Failure&, bint, char*, size_t) noexcept


cdef extern from "kml/potential.h" nogil:
    # The same two structs as above, now with their members.
    cppclass Potential "kml_potential":
        vector[int] species
        double one_body
        vector[GDML] terms
        MoleculeRepulsion repulsion
        const InstructionSet* instructions
        LocalModel local
        bint is_local()
        bint has_uncertainty()
        double operations(long)
        @staticmethod
        int useful_threads(int, int, double)

    cppclass Workspace "kml_workspace":
        AlignedVector shared
        vector[AlignedVector] own
        LocalEvaluation local
        bint reserve(const GDML&, long, int) noexcept


cdef enum:
    ERROR_SIZE = 512

cdef const char* NO_UNCERTAINTY = b"this model has no uncertainty: train it again, or evaluate its energy alone"


# --- loops


cdef void sum_blocks(GDML* term, long geometries, long first, long last, const double* shared,
                     double* own) noexcept nogil:
    """Set one thread's sums to those of its panels first <= p < last, in blocks of even size."""
    cdef long n = (last - first + term.block_panels - 1) // term.block_panels
    cdef long b, start
    term.clear(geometries, own)
    for b in range(n):
        start = first + (last - first) * b // n
        term.block(geometries, start, first + (last - first) * (b + 1) // n - start, shared, own)


cdef Failure add_term(GDML* term, Workspace* work, long geometries, const double* positions, int n_threads,
                      double* energies, double* forces, double* virials) noexcept nogil:
    """Add one term's energies, forces and virials of some stacked geometries.

    positions  IN    (geometries, n_atoms, 3), Å
    energies   INOUT (geometries,), eV
    forces     INOUT (geometries, n_atoms, 3), eV/Å, or NULL
    virials    INOUT (geometries, 3, 3), eV, or NULL
    """
    cdef Failure failure
    cdef int t, team
    cdef int threads = <int> min(<long> n_threads, term.n_panels)
    cdef double* shared
    if not work.reserve(term[0], geometries, threads):
        failure.reason = MEMORY
        return failure
    shared = work.shared.data()
    failure = term.begin(geometries, positions, shared)
    if failure.reason != NONE:
        return failure
    if threads == 1:
        sum_blocks(term, geometries, 0, term.n_panels, shared, work.own[0].data())
    else:
        team = team_size(threads)
        for t in prange(threads, schedule="static", num_threads=team):
            sum_blocks(term, geometries, term.n_panels * t // threads, term.n_panels * (t + 1) // threads, shared,
                       work.own[t].data())
        for t in range(1, threads):
            term.gather(geometries, work.own[t].data(), work.own[0].data())
    term.finish(geometries, positions, work.own[0].data(), shared, energies, forces, virials)
    return failure


cdef Failure evaluate_stack(Potential* potential, Workspace* work, long geometries, const double* positions,
                            int n_threads, double* energies, double* forces, double* virials) noexcept nogil:
    """Energies, forces and virials of some geometries together; all results are overwritten."""
    cdef Failure failure
    cdef int n_atoms = <int> potential.species.size()
    cdef long g
    cdef size_t k
    for g in range(geometries):
        energies[g] = potential.one_body
    if forces != NULL:
        memset(forces, 0, geometries * 3 * n_atoms * sizeof(double))
    if virials != NULL:
        memset(virials, 0, geometries * 9 * sizeof(double))
    for k in range(potential.terms.size()):
        failure = add_term(&potential.terms[k], work, geometries, positions, n_threads, energies, forces, virials)
        if failure.reason != NONE:
            return failure
    potential.repulsion.add(geometries, positions, energies, forces, virials)
    return check_results(geometries, n_atoms, energies, forces, virials)


cdef Failure evaluate_stacks(Potential* potential, Workspace* work, long first, long last, long stack,
                             const double* positions, int n_threads, double* energies, double* forces,
                             double* virials) noexcept nogil:
    """The geometries first <= g < last, `stack` at a time."""
    cdef Failure failure
    cdef long g = first, m, stride = 3 * <long> potential.species.size()
    while g < last:
        m = min(stack, last - g)
        failure = evaluate_stack(potential, work, m, positions + g * stride, n_threads, energies + g,
                                 <double*> NULL if forces == NULL else forces + g * stride,
                                 <double*> NULL if virials == NULL else virials + g * 9)
        if failure.reason != NONE:
            failure.geometry += g
            return failure
        g = g + m
    return failure


cdef bint wants_uncertainty(const kml_outputs& out) noexcept nogil:
    return out.energy_std != NULL or out.std_forces != NULL or out.std_virial != NULL or out.atomic_std != NULL


cdef Failure evaluate_molecule(Potential* potential, Workspace* work, const double* positions, int n_threads,
                               const kml_outputs& out, double* force_std) noexcept nogil:
    """What is wanted of one geometry of a molecule; standard deviations of forces (n_atoms, 3) unless NULL."""
    cdef Failure failure
    cdef double energy = 0
    cdef double energy_std = 0
    failure = evaluate_stack(potential, work, 1, positions, n_threads, &energy, out.forces, out.virial)
    if failure.reason != NONE:
        return failure
    if out.energy != NULL:
        out.energy[0] = energy
    if wants_uncertainty(out):
        failure = molecule_std((<kml_potential*> potential)[0], (<kml_workspace*> work)[0], positions, &energy_std,
                               out.std_forces, out.std_virial, force_std)
        if out.energy_std != NULL:
            out.energy_std[0] = energy_std
    return failure


cdef Failure update_list(LocalEvaluation* local, int threads) noexcept nogil:
    """Make the list of neighbors anew."""
    cdef Failure failure
    cdef long c, n_chunks = local.n_chunks()
    cdef int short_of_memory = 0, team = team_size(threads)
    for c in prange(n_chunks, schedule="static", num_threads=team):
        short_of_memory += not local.search(c)
    if short_of_memory:
        local.list.forget()
        failure.reason = MEMORY
        return failure
    failure = local.finish_search()
    if failure.reason != NONE:
        return failure
    for c in prange(n_chunks, schedule="static", num_threads=team):
        local.place(c)
    for c in prange(n_chunks, schedule="static", num_threads=team):
        local.link(c)
    return failure


cdef Failure evaluate_local(Potential* potential, Workspace* work, const Structure& structure, int n_threads,
                            const kml_outputs& out) noexcept nogil:
    """What is wanted of one structure by local terms."""
    cdef LocalEvaluation* local = &work.local
    cdef LocalModel* model = &potential.local
    cdef Failure failure = local.begin(model[0], structure)
    cdef long n_parts = local.n_parts()
    cdef bint members = wants_uncertainty(out)
    cdef double energy = 0
    cdef int threads
    if failure.reason != NONE:
        return failure
    threads = <int> max(1, min(<long> n_threads, n_parts))
    if local.stale():
        failure = update_list(local, threads)
    if failure.reason == NONE:
        failure = local.prepare(model[0], structure, threads, members)
    if failure.reason == NONE:
        failure = evaluate_parts(model, local, n_parts, threads, out.forces)
    if failure.reason != NONE:
        return failure
    local.finish(&energy, out.virial, out.atomic)
    if out.energy != NULL:
        out.energy[0] = energy
    failure = check_results(1, <int> structure.n_atoms, &energy, out.forces, out.virial)
    if failure.reason == NONE and members:
        failure = evaluate_local_std(model, local, n_parts, threads, out)
    return failure


cdef Failure evaluate_local_std(LocalModel* model, LocalEvaluation* local, long n_parts, int threads,
                                const kml_outputs& out) noexcept nogil:
    """Standard deviations, and the gradient of the energy's, after the environments were evaluated with members."""
    cdef Failure failure
    cdef double energy_std = 0, energy
    local.finish_members(model[0], &energy_std, out.atomic_std)
    if out.energy_std != NULL:
        out.energy_std[0] = energy_std
    if out.std_forces != NULL or out.std_virial != NULL:
        failure = local.begin_gradient(model[0])
        if failure.reason == NONE:
            failure = evaluate_parts(model, local, n_parts, threads, out.std_forces)
        if failure.reason != NONE:
            return failure
        local.finish(&energy, out.std_virial, NULL)
    return check_results(1, <int> local.list.n_atoms, &energy_std, out.std_forces, out.std_virial)


cdef Failure add_member_forces(Potential* potential, Workspace* work, int n_threads, double* forces,
                               double* squares) noexcept nogil:
    """Add the squares of all members' forces (n, 3) for the structure that was evaluated last."""
    cdef LocalEvaluation* local = &work.local
    cdef LocalModel* model = &potential.local
    cdef long n_parts = local.n_parts(), k
    cdef int threads = <int> max(1, min(<long> n_threads, n_parts)), s
    cdef Failure failure
    for s in range(model.members.n_members):
        failure = local.begin_member(model[0], s)
        if failure.reason == NONE:
            failure = evaluate_parts(model, local, n_parts, threads, forces)
        if failure.reason != NONE:
            return failure
        for k in range(3 * local.list.n_atoms):
            squares[k] += forces[k] * forces[k]
    return failure


cdef Failure evaluate_parts(LocalModel* model, LocalEvaluation* local, long n_parts, int threads,
                            double* forces) noexcept nogil:
    """Evaluate all environments, then gather the forces, unless `forces` is NULL."""
    cdef Failure failure
    cdef vector[Failure] failures
    cdef int t, team
    if threads == 1:
        failure = local.environments(model[0], 0, 0, n_parts)
        if failure.reason == NONE and forces != NULL:
            local.forces(0, n_parts, forces)
        return failure
    failures.resize(threads)
    team = team_size(threads)
    for t in prange(threads, schedule="static", num_threads=team):
        failures[t] = local.environments(model[0], t, n_parts * t // threads, n_parts * (t + 1) // threads)
    for t in range(threads):
        if failures[t].reason != NONE:
            return failures[t]
    if forces != NULL:
        for t in prange(threads, schedule="static", num_threads=team):
            local.forces(n_parts * t // threads, n_parts * (t + 1) // threads, forces)
    return failure


# --- training of soap terms


cdef Failure begin_structure(Potential* potential, Workspace* work, const Structure& structure,
                             int threads) noexcept nogil:
    """Bring the list of neighbors of one structure up to date."""
    cdef LocalEvaluation* local = &work.local
    cdef Failure failure = local.begin(potential.local, structure)
    if failure.reason == NONE and local.stale():
        failure = update_list(local, threads)
    if failure.reason == NONE:
        failure = local.prepare(potential.local, structure, threads, False)
    return failure


cdef Failure descriptors_of_centers(Potential* potential, SoapTraining* training, LocalEvaluation* local,
                                    const long[::1] firsts, const long[::1] starts, int threads,
                                    double[:, ::1] descriptors) noexcept nogil:
    """Descriptors of the atoms firsts[t] <= i < firsts[t + 1], from row starts[t] on, by one thread each."""
    cdef vector[Failure] failures
    cdef long size = descriptors.shape[1]
    cdef int t, team = team_size(threads)
    failures.resize(threads)
    for t in prange(threads, schedule="static", num_threads=team):
        failures[t] = soap_descriptors(potential.local, training[0], local[0], t, firsts[t], firsts[t + 1],
                                       &descriptors[0, 0] + starts[t] * size)
    for t in range(threads):
        if failures[t].reason != NONE:
            return failures[t]
    return failures[0]


cdef Failure rows_of_points(Potential* potential, SoapTraining* training, LocalEvaluation* local, long n_rows,
                            int threads, const SoapRows& out) noexcept nogil:
    """Rows of all sparse points (a multiple of 8), each by one thread."""
    cdef vector[Failure] failures
    cdef vector[SoapRows] parts
    cdef long panels = n_rows // 8, first
    cdef int t, team = team_size(threads)
    failures.resize(threads)
    parts.resize(threads)
    for t in range(threads):
        first = panels * t // threads * 8
        parts[t] = out
        parts[t].energies = out.energies + first
        if out.forces != NULL:
            parts[t].forces = out.forces + first * out.n_atoms * 3
        parts[t].virials = out.virials + first * 6
    for t in prange(threads, schedule="static", num_threads=team):
        failures[t] = soap_rows(potential.local, training[0], local[0], t, panels * t // threads * 8,
                                panels * (t + 1) // threads * 8, parts[t])
    for t in range(threads):
        if failures[t].reason != NONE:
            return failures[t]
    return failures[0]


# --- the C function table


cdef kml_potential* api_open(const void* data, size_t size, char* error, size_t error_size) noexcept nogil:
    return open_potential(data, size, NULL, error, error_size)


cdef int api_n_atoms(const kml_potential* potential) noexcept nogil:
    return <int> (<Potential*> potential).species.size()


cdef const int* api_species(const kml_potential* potential) noexcept nogil:
    return (<Potential*> potential).species.data()


cdef int api_n_elements(const kml_potential* potential) noexcept nogil:
    return <int> (<Potential*> potential).local.elements.size()


cdef const int* api_elements(const kml_potential* potential) noexcept nogil:
    return (<Potential*> potential).local.elements.data()


cdef double api_cutoff(const kml_potential* potential) noexcept nogil:
    return (<Potential*> potential).local.cutoff()


cdef kml_workspace* api_new_workspace(const kml_potential* potential) noexcept nogil:
    return new_workspace()


cdef int api_has_uncertainty(const kml_potential* potential) noexcept nogil:
    return (<Potential*> potential).has_uncertainty()


cdef const char* refusal(Potential* potential, const kml_structure& structure, const kml_outputs& out) noexcept nogil:
    """Return why a call makes no sense, NULL when it does."""
    if wants_uncertainty(out) and not potential.has_uncertainty():
        return NO_UNCERTAINTY
    if potential.is_local():
        if structure.n_atoms < 1 or structure.numbers == NULL:
            return b"the potential needs at least one atom, and atomic numbers"
    elif out.atomic != NULL or out.atomic_std != NULL:
        return b"a model of one molecule has no energies of single atoms"
    return NULL


cdef int api_evaluate(const kml_potential* handle, kml_workspace* workspace, const kml_structure* given, int n_threads,
                      const kml_outputs* out, char* error, size_t error_size) noexcept nogil:
    cdef Potential* potential = <Potential*> handle
    cdef Workspace* work = <Workspace*> workspace
    cdef const char* reason = refusal(potential, given[0], out[0])
    cdef Structure structure
    cdef Failure failure
    if reason != NULL:
        say(error, error_size, reason)
        return 1
    n_threads = Potential.useful_threads(max(0, n_threads), omp_get_max_threads(), potential.operations(given.n_atoms))
    if potential.is_local():
        structure.n_atoms = given.n_atoms
        structure.positions = given.positions
        structure.numbers = given.numbers
        structure.cell = given.cell
        structure.pbc = given.pbc
        failure = evaluate_local(potential, work, structure, n_threads, out[0])
    else:
        if given.n_atoms != <int> potential.species.size():
            describe_count(<int> potential.species.size(), given.n_atoms, error, error_size)
            return 1
        failure = evaluate_molecule(potential, work, given.positions, n_threads, out[0], NULL)
    if failure.reason != NONE:
        describe(handle[0], failure, False, error, error_size)
        return 1
    return 0


cdef extern from "<cstdio>" namespace "std" nogil:
    int snprintf(char*, size_t, const char*, ...) noexcept


cdef void say(char* error, size_t error_size, const char* text) noexcept nogil:
    if error != NULL and error_size > 0:
        snprintf(error, error_size, "%s", text)


cdef void describe_count(int expected, int found, char* error, size_t error_size) noexcept nogil:
    if error != NULL and error_size > 0:
        snprintf(error, error_size, "the potential has %d atoms; %d came", expected, found)


cdef kml_engine_api TABLE
TABLE.version = KML_ENGINE_API_VERSION
TABLE.open = api_open
TABLE.close = close_potential
TABLE.n_atoms = api_n_atoms
TABLE.species = api_species
TABLE.n_elements = api_n_elements
TABLE.elements = api_elements
TABLE.cutoff = api_cutoff
TABLE.has_uncertainty = api_has_uncertainty
TABLE.new_workspace = api_new_workspace
TABLE.free_workspace = free_workspace
TABLE.evaluate = api_evaluate


def engine_api():
    """Return the C function table as a capsule named "openmm_kml.engine_api" (core/include/kml/engine_api.h)."""
    return PyCapsule_New(&TABLE, "openmm_kml.engine_api", NULL)


# --- Python


cdef class Engine:
    """A potential, ready to evaluate.

    One Engine serves one Python thread at a time; several engines may run at once.

    Parameters
    ----------
    data : bytes
        A weight file.
    isa : str, optional
        Instruction set: "avx512", "avx2" or "baseline"; the best of this processor by default. For tests.
    skin : float, optional
        How much farther than the cutoff lists of neighbors reach, in Å, at least 0. For tests.

    Raises
    ------
    openmm_kml.errors.WeightFileError
        If the bytes are not a valid weight file; the message names the field.
    ValueError
        If the processor lacks the instruction set.
    """

    cdef Potential* potential
    cdef vector[kml_workspace*] idle
    cdef double skin
    cdef object data
    cdef vector[SoapTraining*] training  # of each soap term: for rows, for descriptors

    def __cinit__(self, data, isa=None, skin=None):
        cdef char error[ERROR_SIZE]
        cdef const unsigned char[::1] view = data
        cdef size_t size = view.shape[0]
        cdef const void* start = &view[0] if size else NULL
        cdef bytes name = b"" if isa is None else isa.encode()
        cdef const char* isa_name = name
        if instruction_set(isa_name) == NULL:
            raise ValueError(f"isa must be 'avx512', 'avx2' or 'baseline', and this processor's; {isa!r} was given")
        self.skin = -1 if skin is None else skin
        error[0] = 0
        with nogil:
            self.potential = <Potential*> open_potential(start, size, isa_name, error, ERROR_SIZE)
        if self.potential == NULL:
            raise WeightFileError(error.decode(errors="replace"))
        if self.potential.local.soap.size():
            self.data = bytes(data)
            self.training.resize(2 * self.potential.local.soap.size(), NULL)

    def __dealloc__(self):
        cdef size_t k
        for k in range(self.training.size()):
            free_soap_training(self.training[k])
        for k in range(self.idle.size()):
            free_workspace(self.idle[k])
        close_potential(<kml_potential*> self.potential)

    cdef Workspace* take(self) except NULL:
        """Return scratch memory that no other call uses; the GIL is held."""
        cdef kml_workspace* workspace
        if self.idle.empty():
            workspace = new_workspace()
            if workspace == NULL:
                raise MemoryError("the memory does not suffice for the evaluation")
            if self.skin >= 0:
                (<Workspace*> workspace).local.list.skin = self.skin
        else:
            workspace = self.idle.back()
            self.idle.pop_back()
        return <Workspace*> workspace

    cdef void give(self, Workspace* workspace) noexcept:
        self.idle.push_back(<kml_workspace*> workspace)

    @property
    def n_atoms(self):
        """Number of atoms of the molecule; 0 for a model of any structure."""
        return self.potential.species.size()

    @property
    def species(self):
        """Atomic number of each atom, int64 array of shape (n_atoms,); None for a model of any structure."""
        return None if self.potential.is_local() else np.array(self.potential.species, dtype=np.int64)

    @property
    def elements(self):
        """Atomic numbers that a model of any structure knows, int64 array; None for a model of one molecule."""
        return np.array(self.potential.local.elements, dtype=np.int64) if self.potential.is_local() else None

    @property
    def cutoff(self):
        """Distance in Å beyond which atoms do not feel each other; 0 for a model of one molecule."""
        return self.potential.local.cutoff()

    @property
    def instruction_set(self):
        """Name of the instruction set in use."""
        return self.potential.instructions.name.decode()

    @property
    def operations(self):
        """Floating-point operations of one evaluation of a molecule, 8 N P D summed over the terms."""
        return self.potential.operations(0)

    @property
    def has_uncertainty(self):
        """Whether the model knows the uncertainty of its predictions."""
        return self.potential.has_uncertainty()

    def operations_for(self, long n_atoms):
        """Return the floating-point operations of one evaluation of n atoms; roughly, for local terms."""
        return self.potential.operations(n_atoms)

    def evaluate(self, positions, cell=None, int n_threads=1, bint forces=True, bint virial=True):
        """Return energy, forces and virial of one structure.

        Parameters
        ----------
        positions : array_like of shape (n_atoms, 3), Å
            A whole molecule: it is never wrapped.
        cell : array_like of shape (3, 3), Å, optional
            Lattice vectors as rows. A model of one molecule has no use for it.
        n_threads : int
            At least 1; small models use fewer. 0 lets the engine choose by the amount of work.
        forces, virial : bool
            Whether to compute them.

        Returns
        -------
        energy : float, eV
        forces : ndarray of shape (n_atoms, 3), eV/Å, -dE/dr, or None
        virial : ndarray of shape (3, 3), eV, -dE/dstrain, or None

        Raises
        ------
        ValueError
            If an array has a wrong shape.
        openmm_kml.errors.EvaluationError
            If atoms coincide or a number is not finite; the message names the atoms.
        """
        cdef const double[:, ::1] r = self.checked(positions, 2)
        cdef int n = <int> self.potential.species.size()
        check_cell(cell)
        check_threads(n_threads)
        f = np.empty((n, 3)) if forces else None
        v = np.empty((3, 3)) if virial else None
        cdef double energy = 0
        cdef double[:, ::1] f_view = f
        cdef double[:, ::1] v_view = v
        cdef double* f_start = &f_view[0, 0] if forces else NULL
        cdef double* v_start = &v_view[0, 0] if virial else NULL
        cdef Failure failure
        cdef Workspace* work = self.take()
        with nogil:
            n_threads = Potential.useful_threads(n_threads, omp_get_max_threads(), self.potential.operations(0))
            failure = evaluate_stack(self.potential, work, 1, &r[0, 0], n_threads, &energy, f_start, v_start)
        self.give(work)
        raise_failure(self.potential, failure, False)
        return energy, f, v

    def evaluate_structure(self, positions, numbers, cell=None, pbc=None, int n_threads=1, bint forces=True,
                           bint virial=True, bint atomic=False):
        """Return energy, forces, virial and atomic energies of one structure by a model of any structure.

        Parameters
        ----------
        positions : array_like of shape (n_atoms, 3), Å
            Inside the cell or not.
        numbers : array_like of int, shape (n_atoms,)
            Atomic numbers.
        cell : array_like of shape (3, 3), Å, optional
            Lattice vectors as rows.
        pbc : sequence of 3 bool, optional
            Which lattice vectors repeat the structure; none by default.
        n_threads : int
            At least 1, or 0 to let the engine choose; few atoms use fewer. The results do not depend on it.
        forces, virial, atomic : bool
            Whether to compute them.

        Returns
        -------
        energy : float, eV
        forces : ndarray of shape (n_atoms, 3), eV/Å, -dE/dr, or None
        virial : ndarray of shape (3, 3), eV, -dE/dstrain, or None
        atomic : ndarray of shape (n_atoms,), eV, or None

        Raises
        ------
        ValueError
            If an array has a wrong shape, an element is not in the model, or the cell has no volume.
        openmm_kml.errors.EvaluationError
            If atoms coincide or a number is not finite; the message names the atoms.
        """
        if not self.potential.is_local():
            raise ValueError("this model is for one molecule: call evaluate")
        check_threads(n_threads)
        cdef Given given = Given(as_positions(positions), numbers, cell, pbc)
        cdef int n = <int> given.structure.n_atoms
        f = np.empty((n, 3)) if forces else None
        v = np.empty((3, 3)) if virial else None
        a = np.empty(n) if atomic else None
        cdef double energy = 0
        cdef double[:, ::1] f_view = f
        cdef double[:, ::1] v_view = v
        cdef double[::1] a_view = a
        cdef kml_outputs out
        memset(&out, 0, sizeof(out))
        out.energy = &energy
        if forces:
            out.forces = &f_view[0, 0]
        if virial:
            out.virial = &v_view[0, 0]
        if atomic:
            out.atomic = &a_view[0]
        cdef Failure failure
        cdef Workspace* work = self.take()
        with nogil:
            n_threads = Potential.useful_threads(n_threads, omp_get_max_threads(), self.potential.operations(n))
            failure = evaluate_local(self.potential, work, given.structure, n_threads, out)
        self.give(work)
        raise_failure(self.potential, failure, False)
        return energy, f, v, a

    def evaluate_uncertainty(self, positions, numbers=None, cell=None, pbc=None, int n_threads=1, bint energy=False,
                             bint gradient=False, bint forces=False):
        """Return standard deviations of what a model predicts for one structure, and on request the prediction too.

        Parameters
        ----------
        positions, numbers, cell, pbc, n_threads
            As for `evaluate_structure`; a model of one molecule needs positions alone.
        energy : bool
            Whether to return energy, forces and virial as well.
        gradient : bool
            Whether to return the derivatives of the energy's standard deviation: costs one more evaluation.
        forces : bool
            Whether to return standard deviations of forces: as many evaluations as the model has members.

        Returns
        -------
        dict
            With `energy_std` in eV, `atomic_std` (n_atoms,) in eV for a model of any structure; `energy`, `forces` and
            `virial`; `std_forces` (n_atoms, 3), -d(energy_std)/dr in eV/Å and `std_virial` (3, 3),
            -d(energy_std)/dstrain in eV; `force_std` (n_atoms, 3) in eV/Å.

        Raises
        ------
        ValueError
            If the model has no uncertainty; and as for `evaluate_structure`.
        openmm_kml.errors.EvaluationError
            As for `evaluate_structure`.
        """
        if not self.potential.has_uncertainty():
            raise ValueError(NO_UNCERTAINTY.decode())
        cdef bint local = self.potential.is_local()
        check_threads(n_threads)
        r = as_positions(positions) if local else self.checked(positions, 2)
        cdef Given given = Given(r, numbers if local else np.zeros(len(r), dtype=np.intc), cell, pbc)
        cdef int n = <int> given.structure.n_atoms
        results = {"energy_std": np.empty(())}
        if local:
            results["atomic_std"] = np.empty(n)
        if energy:
            results |= {"energy": np.empty(()), "forces": np.empty((n, 3)), "virial": np.empty((3, 3))}
        if gradient:
            results |= {"std_forces": np.empty((n, 3)), "std_virial": np.empty((3, 3))}
        if forces:
            results["force_std"] = np.zeros((n, 3))
        cdef kml_outputs out
        memset(&out, 0, sizeof(out))
        out.energy = start_of(results, "energy")
        out.forces = start_of(results, "forces")
        out.virial = start_of(results, "virial")
        out.energy_std = start_of(results, "energy_std")
        out.std_forces = start_of(results, "std_forces")
        out.std_virial = start_of(results, "std_virial")
        out.atomic_std = start_of(results, "atomic_std")
        cdef double* squares = start_of(results, "force_std")
        member_forces = np.empty((n, 3))
        cdef double[:, ::1] member_view = member_forces
        cdef Failure failure
        cdef Workspace* work = self.take()
        with nogil:
            n_threads = Potential.useful_threads(n_threads, omp_get_max_threads(), self.potential.operations(n))
            if local:
                failure = evaluate_local(self.potential, work, given.structure, n_threads, out)
                if failure.reason == NONE and squares != NULL:
                    failure = add_member_forces(self.potential, work, n_threads, &member_view[0, 0], squares)
            else:
                failure = evaluate_molecule(self.potential, work, given.structure.positions, n_threads, out, squares)
        self.give(work)
        raise_failure(self.potential, failure, False)
        if forces and local:
            scale, floor = self.potential.local.members.force_scale, self.potential.local.members.force_floor
            results["force_std"] = scale * np.sqrt(results["force_std"] + floor**2)
        return {name: value if value.ndim else float(value) for name, value in results.items()}

    def describe_terms(self):
        """Return how the soap terms are evaluated, one dictionary for each.

        `form` is "sum" over sparse points, or the polynomial ("quadratic", "linear") that costs less; `dimension` and
        `reduced_dimension` are the entries of the power spectrum in the file and as evaluated, `ranks` the radial
        functions that remain for each l, `neglected` an estimate of the energy of the others in eV an atom;
        `kernel_operations` and `other_operations` are floating-point operations for each atom (with 30 neighbors), and
        `bytes` is the size of the tables.
        """
        names = {<int> SOAP_SUM: "sum", <int> SOAP_QUADRATIC: "quadratic", <int> SOAP_LINEAR: "linear"}
        result = []
        cdef size_t k
        for k in range(self.potential.local.soap.size()):
            info = &self.potential.local.soap[k].info()
            result.append({
                "kind": "soap",
                "form": names[<int> info.form],
                "dimension": info.dimension,
                "reduced_dimension": info.reduced_dimension,
                "ranks": list(info.ranks),
                "n_sparse": info.n_sparse,
                "neglected": info.neglected,
                "kernel_operations": info.kernel_operations,
                "other_operations": info.other_operations,
                "bytes": info.bytes,
            })
        return result

    cdef SoapTraining* prepared(self, int term, bint rows) except NULL:
        """Return a soap term made ready for training; made at the first call."""
        cdef const unsigned char[::1] view
        cdef int count = <int> self.potential.local.soap.size()
        if term < 0 or term >= count:
            raise ValueError(f"term is the number of a soap term, of which the model has {count}; {term} was given")
        if self.training[2 * term + rows] == NULL:
            view = self.data
            self.training[2 * term + rows] = new_soap_training(&view[0], view.shape[0],
                                                               self.potential.instructions.name, term, rows)
            if self.training[2 * term + rows] == NULL:
                raise MemoryError("the memory does not suffice for this soap term")
        return self.training[2 * term + rows]

    def soap_descriptors(self, positions, numbers, cell=None, pbc=None, int term=0, int n_threads=1):
        """Return the power spectra of the atoms that a soap term describes.

        They stand in the order of the weight file, normalized if the term says so: the sparse points are such vectors.

        Parameters
        ----------
        positions, numbers, cell, pbc
            As for `evaluate_structure`.
        term : int
            Number of the term among the model's soap terms.
        n_threads : int
            At least 1, or 0 to let the engine choose. The results do not depend on it.

        Returns
        -------
        atoms : ndarray of int64, shape (m,)
            The centers, ascending.
        descriptors : ndarray of shape (m, D)

        Raises
        ------
        ValueError, openmm_kml.errors.EvaluationError
            As for `evaluate_structure`.
        """
        cdef SoapTraining* training = self.prepared(term, False)
        check_threads(n_threads)
        cdef Given given = Given(as_positions(positions), numbers, cell, pbc)
        cdef int n = <int> given.structure.n_atoms
        cdef Failure failure
        cdef Workspace* work = self.take()
        cdef int threads = Potential.useful_threads(n_threads, omp_get_max_threads(), self.potential.operations(n))
        with nogil:
            failure = begin_structure(self.potential, work, given.structure, threads)
        if failure.reason != NONE:
            self.give(work)
            raise_failure(self.potential, failure, False)
        centers = np.array([training.soap.is_center(work.local.element_of(i)) for i in range(n)], dtype=bool)
        # Whole chunks for each thread: the composition of blocks does not depend on the number of threads.
        chunks = (n + 127) // 128
        firsts = np.minimum(n, 128 * (chunks * np.arange(threads + 1) // threads))
        starts = np.concatenate([[0], np.cumsum(centers)])[firsts]
        descriptors = np.empty((int(centers.sum()), training.soap.info().dimension))
        cdef const long[::1] first_view = firsts.astype(np.int_)
        cdef const long[::1] start_view = starts.astype(np.int_)
        cdef double[:, ::1] view = descriptors
        if descriptors.shape[0]:
            with nogil:
                failure = descriptors_of_centers(self.potential, training, &work.local, first_view, start_view,
                                                 threads, view)
        self.give(work)
        raise_failure(self.potential, failure, False)
        return np.flatnonzero(centers), descriptors

    def soap_rows(self, positions, numbers, cell=None, pbc=None, int term=0, int n_threads=1, bint forces=True):
        """Return energy, forces and virial of one structure for each sparse point of a soap term alone.

        The energy of sparse point s is Σ_i (p_i · x_s + b_s)^ζ: its coefficient counts as 1 eV, whatever the file says.

        Parameters
        ----------
        positions, numbers, cell, pbc
            As for `evaluate_structure`.
        term : int
            Number of the term among the model's soap terms.
        n_threads : int
            At least 1, or 0 to let the engine choose. The results do not depend on it.
        forces : bool
            Whether to compute forces and virials.

        Returns
        -------
        energies : ndarray of shape (M,)
        forces : ndarray of shape (M, n_atoms, 3), 1/Å, -dE/dr, or None
        virials : ndarray of shape (M, 3, 3), -dE/dstrain, or None

        Raises
        ------
        ValueError, openmm_kml.errors.EvaluationError
            As for `evaluate_structure`.
        """
        cdef SoapTraining* training = self.prepared(term, True)
        check_threads(n_threads)
        cdef Given given = Given(as_positions(positions), numbers, cell, pbc)
        cdef int n = <int> given.structure.n_atoms
        cdef long m = training.soap.info().n_sparse, n_rows = (m + 7) // 8 * 8
        cdef int threads = Potential.useful_threads(n_threads, omp_get_max_threads(), 1e5 * n * m)
        threads = <int> min(<long> threads, n_rows // 8)
        energies, virials = np.zeros(n_rows), np.zeros((n_rows, 6))
        f = np.zeros((n_rows, n, 3)) if forces else None
        cdef double[::1] e_view = energies
        cdef double[:, ::1] v_view = virials
        cdef double[:, :, ::1] f_view = f
        cdef SoapRows rows
        rows.n_atoms = n
        rows.energies = &e_view[0]
        rows.virials = &v_view[0, 0]
        rows.forces = NULL
        if forces:
            rows.forces = &f_view[0, 0, 0]
        cdef Failure failure
        cdef Workspace* work = self.take()
        with nogil:
            failure = begin_structure(self.potential, work, given.structure, threads)
            if failure.reason == NONE:
                failure = rows_of_points(self.potential, training, &work.local, n_rows, threads, rows)
        self.give(work)
        raise_failure(self.potential, failure, False)
        if not forces:
            return energies[:m], None, None
        return energies[:m], f[:m], virials[:m][:, [[0, 5, 4], [5, 1, 3], [4, 3, 2]]]

    def evaluate_batch(self, positions, int n_threads=1):
        """Return energies, forces and virials of many structures; several share each pass over the training points.

        Parameters
        ----------
        positions : array_like of shape (M, n_atoms, 3), Å
        n_threads : int
            At least 1; small batches use fewer. 0 lets the engine choose by the amount of work.

        Returns
        -------
        energies : ndarray of shape (M,), eV
        forces : ndarray of shape (M, n_atoms, 3), eV/Å
        virials : ndarray of shape (M, 3, 3), eV

        Raises
        ------
        ValueError
            If an array has a wrong shape.
        openmm_kml.errors.EvaluationError
            If atoms coincide or a number is not finite; the message names the structure and the atoms.
        """
        cdef const double[:, :, ::1] r = self.checked(positions, 3)
        cdef long m = r.shape[0]
        cdef int n = <int> self.potential.species.size()
        check_threads(n_threads)
        energies, forces, virials = np.empty(m), np.empty((m, n, 3)), np.empty((m, 3, 3))
        if m == 0:
            return energies, forces, virials
        cdef double[::1] e = energies
        cdef double[:, :, ::1] f = forces
        cdef double[:, :, ::1] v = virials
        cdef long stack = min([self.potential.terms[k].stack() for k in range(self.potential.terms.size())])
        cdef long n_stacks = (m + stack - 1) // stack
        cdef int threads = Potential.useful_threads(n_threads, omp_get_max_threads(), self.potential.operations(0) * m)
        cdef int lanes = threads if n_stacks >= threads else 1  # threads over geometries, or over training points
        cdef int t, team
        cdef vector[Failure] failures
        cdef vector[Workspace*] work
        failures.resize(lanes)
        while <int> work.size() < lanes:
            work.push_back(self.take())
        with nogil:
            if lanes == 1:
                failures[0] = evaluate_stacks(self.potential, work[0], 0, m, stack, &r[0, 0, 0], threads, &e[0],
                                              &f[0, 0, 0], &v[0, 0, 0])
            else:
                team = team_size(lanes)
                for t in prange(lanes, schedule="static", num_threads=team):
                    failures[t] = evaluate_stacks(
                        self.potential, work[t], min(m, n_stacks * t // lanes * stack),
                        min(m, n_stacks * (t + 1) // lanes * stack), stack, &r[0, 0, 0], 1, &e[0], &f[0, 0, 0],
                        &v[0, 0, 0])
        for t in range(lanes):
            self.give(work[t])
        for t in range(lanes):
            raise_failure(self.potential, failures[t], True)
        return energies, forces, virials

    cdef object checked(self, positions, int n_dim):
        """Return positions of a molecule as a C-contiguous float64 array of the right shape."""
        if self.potential.is_local():
            raise ValueError("this model takes any structure of its elements: call evaluate_structure")
        cdef int n = <int> self.potential.species.size()
        try:
            array = np.ascontiguousarray(positions, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError("positions must be an array of numbers, in Å") from None
        if array.ndim != n_dim or array.shape[n_dim - 2:] != (n, 3):
            expected = f"({n}, 3)" if n_dim == 2 else f"(M, {n}, 3)"
            raise ValueError(f"positions have the shape {array.shape}; {expected} is expected for {n} atoms")
        return array


cdef double* start_of(dict arrays, str name) except? NULL:
    """Return where an array of float64 begins, NULL when there is none of this name."""
    if name not in arrays:
        return NULL
    cdef double[::1] flat = arrays[name].reshape(-1)
    return &flat[0]


cdef class Given:
    """A structure as a caller gave it: checked, as the core takes it, and with the arrays that the core points into."""

    cdef Structure structure
    cdef const double[:, ::1] positions
    cdef const int[::1] numbers
    cdef const double[:, ::1] cell
    cdef const int[::1] pbc

    def __init__(self, positions, numbers, cell, pbc):
        self.positions = positions
        self.numbers = as_numbers(numbers, <int> self.positions.shape[0])
        check_cell(cell)
        self.cell = None if cell is None else np.ascontiguousarray(cell, dtype=np.float64)
        self.pbc = np.zeros(3, dtype=np.intc) if pbc is None else as_periodic(pbc)
        self.structure.n_atoms = self.positions.shape[0]
        self.structure.positions = &self.positions[0, 0]
        self.structure.numbers = &self.numbers[0]
        self.structure.cell = NULL
        if cell is not None:
            self.structure.cell = &self.cell[0, 0]
        self.structure.pbc = &self.pbc[0]


cdef object as_positions(positions):
    try:
        array = np.ascontiguousarray(positions, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("positions must be an array of numbers, in Å") from None
    if array.ndim != 2 or array.shape[1] != 3 or array.shape[0] == 0:
        raise ValueError(f"positions have the shape {array.shape}; (n_atoms, 3) is expected, at least one atom")
    return array


cdef object as_numbers(numbers, int n):
    array = np.asarray(numbers)
    if array.shape != (n,) or array.dtype.kind not in "iu":
        raise ValueError(f"numbers must be {n} atomic numbers, one for each atom; an array of shape {array.shape} and "
                         f"type {array.dtype} was given")
    return np.ascontiguousarray(np.clip(array, -1, 1000), dtype=np.intc)


cdef object as_periodic(pbc):
    array = np.asarray(pbc)
    if array.shape not in ((), (3,)) or array.dtype.kind not in "biu":
        raise ValueError(f"pbc must be one or three booleans; {pbc!r} was given")
    return np.ascontiguousarray(np.broadcast_to(array != 0, 3), dtype=np.intc)


cdef int check_threads(int n_threads) except -1:
    if n_threads < 0:
        raise ValueError(f"n_threads is at least 1, or 0 to let the engine choose; {n_threads} was given")
    return 0


cdef int check_cell(cell) except -1:
    if cell is not None:
        array = np.asarray(cell, dtype=np.float64)
        if array.shape != (3, 3) or not np.isfinite(array).all():
            raise ValueError("cell is a finite array of shape (3, 3), lattice vectors as rows, in Å")
    return 0


cdef int raise_failure(Potential* potential, const Failure& failure, bint batch) except -1:
    cdef char error[ERROR_SIZE]
    if failure.reason == NONE:
        return 0
    if failure.reason == MEMORY:
        raise MemoryError("the memory does not suffice for the evaluation")
    describe((<kml_potential*> potential)[0], failure, batch, error, ERROR_SIZE)
    if failure.reason == UNKNOWN_ELEMENT or failure.reason == NO_VOLUME or failure.reason == TOO_SMALL:
        raise ValueError(error.decode(errors="replace"))
    raise EvaluationError(error.decode(errors="replace"))
