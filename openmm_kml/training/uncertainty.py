"""Uncertainty of models that are linear in coefficients: members from a posterior, calibration on frames left out."""

from dataclasses import dataclass, field, replace

import numpy as np

from openmm_kml.calibration import LEAST_ERRORS, Calibration, fit_calibration
from openmm_kml.uncertainty import Uncertainty, document_entry

_LEAST_MOVING = 3
_SEED = 95  # of the members


def removable(structures):
    """Return the places of frames that a fit can do without: not those of one atom, nor the only one of an element.

    Parameters
    ----------
    structures : StructureSet

    Returns
    -------
    ndarray of int
        None for fewer than three.
    """
    frames = list(structures)
    elements, times = np.unique(np.concatenate([np.unique(frame.numbers) for frame in frames]), return_counts=True)
    single = set(elements[times == 1].tolist())
    moving = [k for k, frame in enumerate(frames) if len(frame) > 1 and not single.intersection(frame.numbers.tolist())]
    return np.array(moving if len(moving) >= _LEAST_MOVING else [], dtype=int)


def composition_projector(structures, elements, known=()):
    """Return the projector (n_elements, n_elements) on one-body energies that the compositions of the frames tell.

    Of water alone, energies of oxygen and hydrogen are told in one combination; in all others they are arbitrary, and
    so would be their deviations. Elements whose energies are known beforehand take no part.
    """
    counts = np.unique([[(frame.numbers == z).sum() / len(frame) for z in elements] for frame in structures], axis=0)
    counts[:, np.isin(elements, list(known))] = 0.0
    _, values, vectors = np.linalg.svd(counts, full_matrices=False)
    kept = vectors[values > 1e-8]
    return kept.T @ kept


def column_members(posterior, count, train, known, transform=None):
    """Return deviations of all columns of a local model; one-body energies, the first, only as far as the data tell.

    Parameters
    ----------
    posterior : openmm_kml.training.nbody.solve.Posterior
    count : int
        S.
    train : StructureSet
    known : openmm_kml.training.labels.KnownPart
    transform : callable, optional
        Of a sample (n_columns,) into the columns, where the posterior is of others.

    Returns
    -------
    ndarray of shape (S, n_columns)
    """
    members = posterior.samples(count, np.random.default_rng(_SEED))
    if transform is not None:
        members = np.stack([transform(sample) for sample in members])
    n = len(known.elements)
    projector = composition_projector(train, known.elements, known.atom_energies)
    members[:, :n] = members[:, :n] @ projector if known.energies else 0.0
    return members


@dataclass
class Predictions:
    """Errors of a model on frames that it was not trained on, and their raw variances."""

    energy: list = field(default_factory=list)  # (error, variance by members, atoms)
    unexplained: list = field(default_factory=list)  # variances of these energies that members do not hold, eV²
    forces: list = field(default_factory=list)  # (errors, variances) of a frame

    def add(self, rows, labels, coefficients, members, unexplained=0.0):
        """Add a frame.

        Parameters
        ----------
        rows : Rows
        labels : Labels
        coefficients : ndarray of shape (n_columns,)
        members : ndarray of shape (S, n_columns)
        unexplained : float, eV²
            Variance of the energy that members do not hold.
        """
        if labels.energy is not None:
            variance = float(np.sum((members @ rows.energy) ** 2))
            self.energy.append((rows.energy @ coefficients - labels.energy, variance, len(rows.forces) // 3))
            self.unexplained.append(unexplained)
        if labels.forces is not None:
            errors = rows.forces @ coefficients - labels.forces.ravel()
            self.forces.append((errors, np.sum((rows.forces @ members.T) ** 2, axis=1)))

    def open_share(self):
        """Return the factor of the variances that members do not hold: these are no larger then than those by members.

        How large a prior is that the data leave open, they can hardly tell. If it outweighed the members in the
        distribution of the data, it alone would set the scale of energies, and the members, which grow faster outside,
        would be scaled down with it.
        """
        by_members, left_open = sum(variance for _, variance, _ in self.energy), sum(self.unexplained)
        return float(min(1.0, by_members / left_open)) if by_members > 0 and left_open > 0 else 1.0

    def calibrations(self):
        """Return the `Calibration` of energies, with `open_share` of what members do not hold, and of forces."""
        energy = forces = Calibration()
        if self.forces:
            forces = fit_calibration(*(np.concatenate(part) for part in zip(*self.forces, strict=True)))
        if self.energy:
            near = forces.scale if forces.n_errors else None
            errors, variances, sizes = zip(*self.energy, strict=True)
            variances = np.asarray(variances) + self.open_share() * np.asarray(self.unexplained)
            energy = fit_calibration(errors, variances, sizes, near=near)
        return energy, forces


def calibrated(energy, forces, **fields):
    """Return the `Uncertainty` of two calibrations, and notes on what could not be calibrated.

    Atoms take what energies have, so that the variance of a sum of independent atoms is that of their energy. Where
    there were too few energies, their scale is that of forces, both being functions of the same posterior.
    """
    notes = []
    if forces.n_errors == 0 and energy.n_errors == 0:
        notes.append("the uncertainty is not calibrated: no frames were left out; give validation frames")
    elif energy.n_errors == 0:
        notes.append(
            f"the uncertainty of energies has the scale of that of forces: fewer than {LEAST_ERRORS} frames with "
            "energies were left out"
        )
        energy = Calibration(forces.scale)
    elif forces.n_errors == 0:
        forces = Calibration(energy.scale)
    uncertainty = Uncertainty(
        energy_scale=energy.scale,
        energy_floor=energy.floor,
        energy_tail=energy.tail,
        atom_scale=energy.scale,
        atom_floor=energy.floor,
        atom_tail=energy.tail,
        force_scale=forces.scale,
        force_floor=forces.floor,
        force_tail=forces.tail,
        **fields,
    )
    return uncertainty, notes


def with_members(weights, member_terms, atom_energies, calibrations):
    """Return a local model with deviations and calibration, and notes.

    Parameters
    ----------
    weights : Weights
    member_terms : list of tuple
        For each member its linear terms, in the order of those of the model, whose coefficients are the deviations.
    atom_energies : ndarray of shape (S, n_elements)
    calibrations : tuple of Calibration
        Of energies and forces.
    """
    deviations = [np.stack([one.coefficients for one in column]) for column in zip(*member_terms, strict=True)]
    rest = iter(deviations)
    terms = tuple(replace(term, deviations=next(rest)) if term.learned else term for term in weights.terms)
    uncertainty, notes = calibrated(*calibrations, members=len(member_terms), atom_energies=atom_energies)
    return replace(weights, terms=terms, uncertainty=uncertainty), notes


def describe(weights, calibrations, n_frames, source):
    """Return what a report says of the uncertainty, None without."""
    uncertainty = weights.uncertainty
    if uncertainty is None:
        return None
    return document_entry(uncertainty) | {
        "calibrated_on": source,
        "n_frames": int(n_frames),
        "n_energies": calibrations[0].n_errors,
        "n_force_components": calibrations[1].n_errors,
    }
