"""Weighted rows of whole sets of structures, reduced as they come."""

from dataclasses import dataclass, field

import numpy as np

from openmm_kml.training.nbody.design import VIRIAL_ROWS, design_rows
from openmm_kml.training.nbody.solve import StackedQR
from openmm_kml.training.progress import progress_bar

KINDS = ("energy", "force", "virial")


@dataclass
class Reduced:
    """Triangular factors of the weighted rows of a set.

    Attributes
    ----------
    factors : dict
        Kind (one of `KINDS`), or "all" -> `StackedQR`.
    n_triples : int
        Centered triples of all structures.
    """

    factors: dict = field(default_factory=dict)
    n_triples: int = 0


def weighted_rows(rows, labels, noises, n_atoms):
    """Return kind -> rows with the labels as the last column, in units of their noises.

    Energies and virials are those of an atom.
    """
    result = {}
    if labels.energy is not None:
        result["energy"] = np.append(rows.energy, labels.energy)[None] / (n_atoms * noises[0])
    if labels.forces is not None:
        result["force"] = np.column_stack([rows.forces, labels.forces.ravel()]) / noises[1]
    if labels.virial is not None:
        values = [labels.virial[a, b] for a, b in VIRIAL_ROWS]
        result["virial"] = np.column_stack([rows.virial, values]) / (n_atoms * noises[2])
    return result


def reduce_set(basis, structures, labels, options, description, by_kind=False, known=(), rows_of=design_rows):
    """Return the `Reduced` rows of a set of structures.

    Parameters
    ----------
    basis : SplineBasis, or another with `elements` and `n_columns`
    structures : StructureSet
    labels : list of openmm_kml.training.labels.Labels
    options : FitOptions
    description : str, optional
        For the progress bar; none without.
    by_kind : bool
        Keep energies, forces and virials apart.
    known : iterable of int
        Atomic numbers whose one-body energies are known, and subtracted from the labels: nothing is left to fit.
    rows_of : callable
        Of the basis and a structure: its `Rows`.
    """
    reduced = Reduced()
    fixed = np.flatnonzero(np.isin(basis.elements, list(known)))
    with progress_bar(structures.n_atoms, description, options.progress and bool(description), " atoms") as bar:
        for frame, label in zip(structures, labels, strict=True):
            rows = rows_of(basis, frame)
            rows.energy[fixed] = 0.0
            reduced.n_triples += rows.n_triples
            weighted = weighted_rows(rows, label, options.noises(frame.group), len(frame))
            for kind, values in weighted.items():
                key = kind if by_kind else "all"
                if key not in reduced.factors:
                    reduced.factors[key] = StackedQR(basis.n_columns + 1)
                reduced.factors[key].add(values)
            bar.update(len(frame))
    return reduced
