# Arguments of Python as the core takes them, and its failures as exceptions.


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
