# The C function table (core/include/kml/engine_api.h): the engine for OpenMM's plugin.


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
