"""The weighted rows of a set, reduced chunk by chunk and merged along a tree: the same order wherever it is done.

Demmel, Grigori, Hoemmen and Langou, SIAM J. Sci. Comput. 34, A206 (2012).
"""

import numpy as np
from scipy.linalg.lapack import dtpqrt
from threadpoolctl import threadpool_limits

from openmm_kml.structures import StructureSet
from openmm_kml.training.nbody.rows import reduce_set
from openmm_kml.training.nbody.solve import block_rows, triangular_factor
from openmm_kml.training.progress import progress_bar

_PANEL = 64  # columns that a merge works on at a time


def cut_chunks(structures, labels, n_columns):
    """Return lists of (frames, labels) whose rows fill a block each, in the order of the frames."""
    chunks, frames, own, waiting = [], [], [], 0
    for frame, label in zip(structures, labels, strict=True):
        frames.append(frame)
        own.append(label)
        waiting += (label.energy is not None) + (0 if label.forces is None else label.forces.size)
        waiting += 0 if label.virial is None else 6
        if waiting >= block_rows(n_columns):
            chunks.append((frames, own))
            frames, own, waiting = [], [], 0
    return [*chunks, (frames, own)] if frames else chunks


def chunk_factors(basis, chunk, options, by_kind, known, rows_of=None):
    """Return kind -> (triangular factor, rows it stands for) of a chunk; one kind "all" unless `by_kind`."""
    frames, labels = chunk
    with threadpool_limits(int(options.n_threads)):
        reduced = reduce_set(
            basis, StructureSet(frames), labels, options, None, by_kind, known, rows_of=rows_of or type(basis).rows
        )
        return {kind: (part.factor(), part.n_rows) for kind, part in reduced.factors.items()}


def merge_factors(one, other, n_threads=1):
    """Return kind -> (triangular factor, rows) of two sets of rows; the arguments are not used again."""
    with threadpool_limits(int(n_threads)):
        merged = {}
        for kind in sorted({*one, *other}):
            parts = [factors[kind] for factors in (one, other) if kind in factors]
            if len(parts) == 1:
                merged[kind] = parts[0]
            else:
                (first, n), (second, m) = parts
                merged[kind] = _merged(first, second), n + m
        return merged


def _merged(first, second):
    """Return R with RᵀR that of two stacked factors."""
    n = first.shape[1]
    if first.shape != (n, n) or second.shape != (n, n) or not _full(first) or not _full(second):
        return triangular_factor(np.concatenate([first, second]))
    # Both are triangular: a fifth of the operations of a factorization of the stack.
    return np.triu(dtpqrt(n, min(_PANEL, n), first, second)[0])


def _full(factor):
    """Return whether no entry below the diagonal is set: rows that were too few to factorize are no triangle."""
    return not np.tril(factor, -1).any()


def tree_reduce(items, merge):
    """Return the merger of all items: neighbors in pairs, pairs in fours, and the rest from the right.

    Only one item of each size waits, so memory grows with the logarithm of their number.
    """
    waiting = []  # (items merged, result)
    for item in items:
        waiting.append((1, item))
        while len(waiting) > 1 and waiting[-1][0] == waiting[-2][0]:
            count, last = waiting.pop()
            waiting.append((2 * count, merge(waiting.pop()[1], last)))
    result = waiting.pop()[1] if waiting else None
    while waiting:
        result = merge(waiting.pop()[1], result)
    return result


def assemble(basis, sets, options, description, by_kind=False, known=(), client=None, rows_of=None):
    """Return kind -> (triangular factor, rows it stands for) of each of several sets.

    Parameters
    ----------
    basis : SoapBasis
    sets : list of (StructureSet, list of Labels)
    options : SoapOptions
    description : str
        For the progress bar.
    by_kind : bool
        Keep energies, forces and virials apart; one kind "all" otherwise.
    known : iterable of int
        Atomic numbers whose one-body energies are not fitted.
    client : distributed.Client, optional
        Workers that compute the chunks; this process otherwise.
    rows_of : callable, optional
        Of the basis and a structure: its `Rows`, where this process computes them.
    """
    sets = [cut_chunks(structures, labels, basis.n_columns) for structures, labels in sets]
    n_atoms = sum(len(frame) for chunks in sets for frames, _ in chunks for frame in frames)
    known = sorted(known)
    with progress_bar(n_atoms, description, options.progress, " atoms") as bar:
        if client is not None:
            from openmm_kml.training.soap.distributed import assemble_on

            return assemble_on(client, basis, sets, options, by_kind, known, bar)

        def factors(chunks):
            for chunk in chunks:
                yield chunk_factors(basis, chunk, options, by_kind, known, rows_of)
                bar.update(sum(map(len, chunk[0])))

        return [
            tree_reduce(factors(chunks), lambda one, other: merge_factors(one, other, options.n_threads)) or {}
            for chunks in sets
        ]
