"""Labels of structures for a linear fit: what remains of them once all that is known is subtracted."""

from dataclasses import dataclass

import numpy as np

from openmm_kml import __version__
from openmm_kml.elements import symbol
from openmm_kml.errors import DataError
from openmm_kml.neighbors import neighbor_list
from openmm_kml.reference import evaluate_structure
from openmm_kml.training.progress import progress_bar
from openmm_kml.weights import Weights


@dataclass
class Labels:
    """Energy (eV), forces (eV/Å) and virial (eV) of a structure that are left to fit; None where absent."""

    energy: float | None
    forces: np.ndarray | None
    virial: np.ndarray | None


def check_labels(structures, options, what):
    """Raise `DataError` unless a set has frames, and the labels that the options train on."""
    if len(structures) == 0:
        raise DataError(f"there are no {what} frames")
    if not options.energies:
        for index, frame in enumerate(structures):
            if frame.forces is None:
                raise DataError(f"{what} frame {index + 1} has no forces, but forces alone are trained; leave it out")


def check_sets(train, validation, options):
    """Raise `DataError` unless both sets have what is trained on, and the validation frames no element of their own."""
    check_labels(train, options, "training")
    if validation is not None:
        check_labels(validation, options, "validation")
        unknown = np.setdiff1d(validation.elements, train.elements)
        if unknown.size:
            raise DataError(f"the validation frames have {symbol(unknown[0])}, which the training frames lack")
    elif options.selection == "validation":
        raise DataError("the hyperparameters are to be chosen on validation frames, but there are none")


class KnownPart:
    """What is known before a fit: repulsion, energies of isolated atoms, and a first estimate of the others.

    Parameters
    ----------
    train : StructureSet
    repulsion : openmm_kml.local_terms.RepulsionTerm or None
    reach : float, Å
        Within which an atom of a frame must have no neighbors, its images included, to count as isolated.
    options : FitOptions
    earlier : openmm_kml.training.nbody.factored.Factored, optional
        Of a training that this one goes on from: its energies and its estimate are taken.

    Attributes
    ----------
    elements : tuple of int
    atom_energies : dict
        Atomic number -> energy in eV: those given, and those of frames of one lonely atom.
    energies : bool
        Whether there are energies that are trained on; forces and virials say nothing of one-body energies.
    center : ndarray of shape (n_elements,), eV
        A first estimate of the one-body energies that are not known; zero for those that are.
    """

    def __init__(self, train, repulsion, reach, options, earlier=None):
        self.elements = tuple(int(z) for z in (train if earlier is None else earlier).elements)
        self.repulsion, self.options = repulsion, options
        if earlier is not None:
            self.energies, self.atom_energies, self.center = earlier.energies, earlier.atom_energies, earlier.center
            self.train_labels = self.labels(train)
            return
        self.energies = options.energies and any(frame.energy is not None for frame in train)
        self.atom_energies = {} if options.atom_energies is None else dict(options.atom_energies)
        for z in self.atom_energies:
            if z not in self.elements:
                raise DataError(f"an energy is given for {symbol(z)}, which the training frames lack")
        for frame in train:
            if len(frame) == 1 and frame.energy is not None and _is_lonely(frame, reach):
                self.atom_energies.setdefault(int(frame.numbers[0]), frame.energy)
        self.center = np.zeros(len(self.elements))
        self.train_labels = self.labels(train)
        self.center = self._estimate(train)
        self._subtract_center(train, self.train_labels)

    def labels(self, structures):
        """Return the `Labels` of each frame without all that is known."""
        result = []
        prior = None
        if self.repulsion is not None:
            prior = Weights(elements=np.array(self.elements), terms=(self.repulsion,))
        with progress_bar(len(structures), "repulsion", self.options.progress, " frames") as bar:
            for frame in structures:
                result.append(self._without_known(frame, prior))
                bar.update()
        self._subtract_center(structures, result)
        return result

    def one_body(self, fitted):
        """Return atomic number -> one-body energy in eV, of what was fitted beyond the estimate."""
        return {
            z: float(self.atom_energies.get(z, center + beyond))
            for z, center, beyond in zip(self.elements, self.center, fitted, strict=True)
        }

    def complete(self, terms, fitted):
        """Return the `Weights` of fitted terms and one-body energies, with all that is known beside them.

        Parameters
        ----------
        terms : list
            Of `openmm_kml.weights`.
        fitted : ndarray of shape (n_elements,), eV
            As in `one_body`.
        """
        return Weights(
            elements=np.array(self.elements),
            terms=(*terms, *([] if self.repulsion is None else [self.repulsion])),
            atom_energies=self.one_body(fitted if self.energies else np.zeros(len(fitted))),
            provenance={"program": f"openmm_kml {__version__}", "options": self.options.as_dict()},
        )

    def _without_known(self, frame, prior):
        energy = frame.energy if self.options.energies else None
        forces, virial = frame.forces, frame.virial if self.options.virials else None
        if prior is not None:
            e, f, v, _ = evaluate_structure(prior, frame.positions, frame.numbers, frame.cell, frame.pbc)
            energy = None if energy is None else energy - e
            forces = None if forces is None else forces - f
            virial = None if virial is None else virial - v
        if energy is not None:
            energy -= sum(self.atom_energies.get(int(z), 0.0) for z in frame.numbers)
        return Labels(energy, forces, virial)

    def _estimate(self, train):
        labeled = [
            (frame, label.energy)
            for frame, label in zip(train, self.train_labels, strict=True)
            if label.energy is not None
        ]
        if not labeled:
            return np.zeros(len(self.elements))
        counts = np.array([[(frame.numbers == z).sum() for z in self.elements] for frame, _ in labeled], dtype=float)
        counts[:, [z in self.atom_energies for z in self.elements]] = 0.0
        sizes = np.array([len(frame) for frame, _ in labeled], dtype=float)
        return np.linalg.lstsq(counts / sizes[:, None], np.array([e for _, e in labeled]) / sizes, rcond=1e-8)[0]

    def _subtract_center(self, structures, labels):
        for frame, label in zip(structures, labels, strict=True):
            if label.energy is not None:
                label.energy -= self.center[np.searchsorted(self.elements, frame.numbers)].sum()


def _is_lonely(frame, reach):
    """Return whether an atom has no neighbors, not even its own images."""
    return len(neighbor_list(frame.positions, frame.cell, frame.pbc, reach)[0]) == 0
