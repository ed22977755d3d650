# What the trainer asks the engine for: descriptors and rows of soap terms.


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


cdef class SoapTrainingEngine(Handle):
    """The soap terms of a model of any structure, ready to be trained; what it is made from stands in `Handle`."""

    cdef bytes data
    cdef vector[SoapTraining*] training  # of each soap term: for descriptors, for rows

    def __cinit__(self, data, isa=None, skin=None):
        self.data = bytes(data)
        self.training.resize(2 * self.potential.local.soap.size(), NULL)

    def __dealloc__(self):
        cdef size_t k
        for k in range(self.training.size()):
            free_soap_training(self.training[k])

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
