# What Python asks the engine for: energies, forces, virials, and how uncertain they are.


cdef class Engine(Handle):
    """A potential, ready to evaluate; what it is made from stands in `Handle`."""

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
            results["force_std"] = scale * np.sqrt(results["force_std"] + floor * floor)
        if not all(np.isfinite(value).all() for value in results.values()):
            raise EvaluationError("the energy or a standard deviation is not finite: the structure is far outside "
                                  "the training data, or a number of the file is too large")
        return {name: value if value.ndim else float(value) for name, value in results.items()}

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
