# An opened weight file, the base of what evaluates it.


cdef class Handle:
    """A weight file, opened: what it says of itself, and the memory of its calls.

    One Handle serves one Python thread at a time; several may be at work at once.

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

    def __dealloc__(self):
        cdef size_t k
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
