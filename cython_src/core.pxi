# What the engine takes from the core and from OpenMP: declarations alone.


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

    cppclass MoleculePrior:
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
        MoleculePrior prior
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


cdef extern from "<cstdio>" namespace "std" nogil:
    int snprintf(char*, size_t, const char*, ...) noexcept
