# One molecule: the loops over blocks of training points, for geometries that share each pass.


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
    potential.prior.add(geometries, positions, energies, forces, virials)
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
