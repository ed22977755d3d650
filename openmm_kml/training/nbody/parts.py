"""The training rows in parts: frames that always stay, and those that are left out in turn for the calibration."""

from dataclasses import dataclass

import numpy as np

from openmm_kml.errors import DataError
from openmm_kml.training.nbody.design import design_rows
from openmm_kml.training.nbody.rows import reduce_set
from openmm_kml.training.nbody.solve import StackedQR, triangular_factor
from openmm_kml.training.uncertainty import folds_of

_FOLDS = 5  # parts left out in turn
_MOST_COLUMNS = 2500  # with more, only two parts: each fit is a factorization
_KEPT = 250e6  # bytes of rows of forces that are kept for the calibration


@dataclass(frozen=True)
class Part:
    """The rows of some training frames.

    Attributes
    ----------
    places : ndarray of int
        Of the frames.
    factor : ndarray
        Triangular, with the labels as the last column.
    n_rows, n_triples : int
    energies : list of ndarray of shape (n_columns,)
        Rows of the energies of the frames.
    kept : dict
        Place among these frames -> all rows of the frame; as many as memory is given.
    """

    places: np.ndarray
    factor: np.ndarray
    n_rows: int
    n_triples: int
    energies: list
    kept: dict


class _Keeper:
    """Makes the rows of the frames of one part, and keeps those that the calibration needs."""

    def __init__(self, stride):
        self.stride = stride  # all rows of each so many frames are kept; None: of no frame
        self.energies, self.kept = [], {}

    def __call__(self, basis, frame):
        rows = design_rows(basis, frame)
        if self.stride and len(self.energies) % self.stride == 0:
            self.kept[len(self.energies)] = rows
        self.energies.append(rows.energy)
        return rows


def training_parts(basis, train, known, options, leave_out):
    """Return the `Part`s of the training rows: first the frames that always stay, then those left out in turn.

    Parameters
    ----------
    basis : SplineBasis
    train : StructureSet
    known : openmm_kml.training.labels.KnownPart
    options : NBodyOptions
    leave_out : bool
        Whether any frames are left out in turn; without, the only part holds all of them.

    Raises
    ------
    DataError
        If the frames have no labels to train on.
    """
    left_out, staying = [], np.arange(len(train))
    if leave_out:
        left_out, staying = folds_of(train, _FOLDS if basis.n_columns <= _MOST_COLUMNS else 2)
    parts = []
    for number, places in enumerate((staying, *left_out)):
        size = 8 * basis.n_columns * sum(3 * len(train.frames[k]) for k in places)
        keeper = _Keeper(max(1, int(np.ceil(size * len(left_out) / _KEPT))) if left_out else None)
        description = f"design matrix, {number} of {len(left_out)}" if left_out else "design matrix"
        reduced = reduce_set(
            basis,
            train[places],
            [known.train_labels[k] for k in places],
            options,
            description if len(places) else None,
            known=known.atom_energies,
            rows_of=keeper,
        )
        rows = reduced.factors.get("all", StackedQR(basis.n_columns + 1))
        parts.append(Part(places, rows.factor(), rows.n_rows, reduced.n_triples, keeper.energies, keeper.kept))
    if not any(part.n_rows for part in parts):
        raise DataError("the training frames have nothing to train on: no energies, forces or virials")
    return parts


def stacked(parts):
    """Return the triangular factor of all rows of some parts, and their number."""
    parts = [part for part in parts if part.n_rows]
    factor = parts[0].factor if len(parts) == 1 else triangular_factor(np.concatenate([part.factor for part in parts]))
    return factor, sum(part.n_rows for part in parts)
