# Standard deviations of one structure, from the members that its environments were evaluated with.


cdef bint wants_uncertainty(const kml_outputs& out) noexcept nogil:
    return out.energy_std != NULL or out.std_forces != NULL or out.std_virial != NULL or out.atomic_std != NULL


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
