"""Errors of a potential against reference data."""

import numpy as np


def errors(predicted_energies, predicted_forces, molecules):
    """Return the mean absolute and root mean square errors of energies and forces.

    Parameters
    ----------
    predicted_energies : ndarray of shape (M,), eV
    predicted_forces : ndarray of shape (M, n, 3), eV/Å
    molecules : MoleculeSet
        M structures with their reference energies and forces.

    Returns
    -------
    dict
        ``energy_mae`` and ``energy_rmse`` (eV per structure), ``energy_mae_per_atom`` (eV), ``forces_mae`` and
        ``forces_rmse`` (eV/Å per Cartesian component) and ``n_structures``. Where the reference has no energies or
        no forces, the numbers are None.

    Raises
    ------
    ValueError
        If there are no structures or the shapes differ.
    """
    n_structures, n_atoms = molecules.positions.shape[:2]
    if n_structures == 0:
        raise ValueError("errors need at least one reference structure; the set is empty")
    energy_mae, energy_rmse = _mae_rmse(predicted_energies, molecules.energies, (n_structures,), "energies")
    forces_mae, forces_rmse = _mae_rmse(predicted_forces, molecules.forces, (n_structures, n_atoms, 3), "forces")
    return {
        "energy_mae": energy_mae,
        "energy_rmse": energy_rmse,
        "energy_mae_per_atom": None if energy_mae is None else energy_mae / n_atoms,
        "forces_mae": forces_mae,
        "forces_rmse": forces_rmse,
        "n_structures": n_structures,
    }


def _mae_rmse(predicted, reference, shape, what):
    """Return (MAE, RMSE) over all components, or (None, None) without a reference."""
    if reference is None:
        return None, None
    predicted = np.asarray(predicted, dtype=float)
    if predicted.shape != shape:
        raise ValueError(f"predicted {what} have shape {predicted.shape}; the reference has {shape}")
    difference = predicted - reference
    return float(np.mean(np.abs(difference))), float(np.sqrt(np.mean(difference**2)))


def structure_errors(predictions, structures):
    """Return the errors of a potential on structures of any composition.

    Parameters
    ----------
    predictions : list of (energy, forces, virial)
        In eV, eV/Å of shape (n, 3), and eV of shape (3, 3), one for each structure.
    structures : openmm_kml.structures.StructureSet

    Returns
    -------
    dict
        The keys of `errors`, and ``virial_mae_per_atom`` in eV. Frames without a label do not count in its errors;
        where no frame has it, the numbers are None.

    Raises
    ------
    ValueError
        If there are no structures or not one prediction for each.
    """
    if len(structures) == 0 or len(predictions) != len(structures):
        raise ValueError(f"{len(predictions)} predictions came for {len(structures)} reference structures")
    energies, per_atom, forces, virials = [], [], [np.zeros(0)], []
    for (energy, force, virial), frame in zip(predictions, structures, strict=True):
        if frame.energy is not None:
            energies.append(energy - frame.energy)
            per_atom.append(energies[-1] / len(frame))
        if frame.forces is not None:
            forces.append(np.ravel(force - frame.forces))
        if frame.virial is not None:
            virials.append((virial - frame.virial) / len(frame))
    forces = np.concatenate(forces)
    return {
        "energy_mae": _mean_absolute(energies),
        "energy_rmse": float(np.sqrt(np.mean(np.square(energies)))) if energies else None,
        "energy_mae_per_atom": _mean_absolute(per_atom),
        "forces_mae": _mean_absolute(forces),
        "forces_rmse": float(np.sqrt(np.mean(np.square(forces)))) if len(forces) else None,
        "virial_mae_per_atom": _mean_absolute(virials),
        "n_structures": len(structures),
    }


def _mean_absolute(differences):
    return float(np.mean(np.abs(differences))) if len(differences) else None
