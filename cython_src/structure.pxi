# One structure of any atoms: the list of neighbors and the loops over environments.


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
