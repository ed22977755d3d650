"""One choice of hyperparameters: the linear system it leads to, and the model that its solution is."""

from dataclasses import dataclass, replace

import numpy as np

from openmm_kml import metrics
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.training.assembly import mean_force_diagonal
from openmm_kml.training.geometry import build_geometry
from openmm_kml.training.prediction import Coefficients, predict
from openmm_kml.training.threads import pieces
from openmm_kml.weights import GDMLTerm

_CHUNK_BYTES = 64 * 2**20  # of structures predicted at a time


@dataclass(frozen=True)
class Hyperparameters:
    """Everything that is chosen before the linear system is solved.

    Attributes
    ----------
    power : float
    kernel : str
    length_scale : float, Å^-p
    regularization : float
        λ, added to the diagonal of the kernel matrix times its amplitude.
    energies : bool
        Whether energies are trained together with the forces.
    unit_amplitude : bool
        True for the published model; otherwise the amplitude makes the mean diagonal of the force-force block one,
        and λ is relative to that.
    descriptor_weights : tuple of float, length D, optional
        v_d; ones when None.
    """

    power: float
    kernel: str
    length_scale: float
    regularization: float
    energies: bool
    unit_amplitude: bool = False
    descriptor_weights: tuple | None = None

    def with_(self, **changes):
        """Return a copy with some values changed."""
        return replace(self, **changes)

    def as_dict(self):
        """Return JSON-able values, the descriptor weights left out (they stand in the weight file)."""
        return {
            "power": float(self.power),
            "kernel": self.kernel,
            "length_scale": float(self.length_scale),
            "regularization": float(self.regularization),
            "regularization_relative_to": "1" if self.unit_amplitude else "mean diagonal of the force-force block",
            "energies": bool(self.energies),
            "ard": self.descriptor_weights is not None,
        }


class Problem:
    """Training points, targets and symmetry group, shared by all choices of hyperparameters.

    Parameters
    ----------
    molecules : MoleculeSet
        With forces; with energies where they are to be trained.
    permutations : ndarray of int, shape (P, n_atoms)
    """

    def __init__(self, molecules, permutations):
        self.molecules, self.permutations = molecules, permutations
        self.gradients = -molecules.forces.reshape(len(molecules), -1)
        # A common factor of all targets: the regularization then means the same for soft and stiff molecules.
        self.scale = float(np.std(molecules.forces)) or 1.0
        self.mean_energy = 0.0 if molecules.energies is None else float(np.mean(molecules.energies))

    def __len__(self):
        return len(self.molecules)

    def subset(self, frames):
        """Return the problem of some of the frames only."""
        return Problem(self.molecules[frames], self.permutations)

    def targets(self, energies):
        """Return the right-hand side: gradients, then energies without their mean, over `scale`."""
        gradients = self.gradients.ravel() / self.scale
        if not energies:
            return gradients
        return np.concatenate([gradients, (self.molecules.energies - self.mean_energy) / self.scale])

    def geometry(self, hyperparameters, positions=None):
        """Return the `Geometry` of the training points or of other structures."""
        positions = self.molecules.positions if positions is None else positions
        return build_geometry(positions, self.permutations, hyperparameters.power, hyperparameters.descriptor_weights)

    def amplitude(self, geometry, hyperparameters):
        """Return the factor of the kernel."""
        if hyperparameters.unit_amplitude:
            return 1.0
        kernel = KERNELS[hyperparameters.kernel]
        return 1.0 / mean_force_diagonal(geometry, kernel, hyperparameters.length_scale)

    def model(self, hyperparameters, geometry, amplitude, solution):
        """Return the `Model` that a solution of the linear system stands for."""
        solution = solution * (self.scale * amplitude)
        n_forces = self.gradients.size
        coefficients = Coefficients(
            geometry.push(solution[:n_forces].reshape(self.gradients.shape)),
            solution[n_forces:].copy() if hyperparameters.energies else None,
        )
        model = Model(self, hyperparameters, geometry, coefficients, self.mean_energy)
        if hyperparameters.energies or self.molecules.energies is None:
            return model
        energies, _ = model.predict(self.molecules.positions)
        return replace(model, offset=self.mean_energy + float(np.mean(self.molecules.energies - energies)))


@dataclass(frozen=True)
class Model:
    """A trained model.

    Attributes
    ----------
    problem : Problem
    hyperparameters : Hyperparameters
    geometry : Geometry
        Of the training points.
    coefficients : Coefficients
        In eV Å^-p and eV.
    offset : float, eV
    """

    problem: Problem
    hyperparameters: Hyperparameters
    geometry: object
    coefficients: Coefficients
    offset: float

    def predict(self, positions):
        """Return energies (M,) in eV and forces (M, n_atoms, 3) in eV/Å."""
        # A hundred thousand frames of aspirin at once would take gigabytes of derivatives of pairs.
        step = max(1, _CHUNK_BYTES // (8 * 10 * positions.shape[1] ** 2))
        parts = [self._predict(positions[part]) for part in pieces(len(positions), step) or [slice(0)]]
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    def _predict(self, positions):
        query = self.problem.geometry(self.hyperparameters, positions)
        kernel = KERNELS[self.hyperparameters.kernel]
        energies, gradients = predict(
            query, self.geometry, kernel, self.hyperparameters.length_scale, self.coefficients
        )
        return energies + self.offset, -gradients.reshape(np.shape(positions))

    def errors(self, molecules):
        """Return the errors against reference data, as `openmm_kml.metrics.errors` does."""
        return metrics.errors(*self.predict(molecules.positions), molecules)

    def term(self):
        """Return the model as a term of a weight file."""
        hyperparameters = self.hyperparameters
        weights = hyperparameters.descriptor_weights
        return GDMLTerm(
            power=float(hyperparameters.power),
            kernel=hyperparameters.kernel,
            length_scale=float(hyperparameters.length_scale),
            energy_offset=self.offset,
            descriptor_weights=np.ones(self.geometry.n_pairs) if weights is None else np.array(weights),
            training_descriptors=self.geometry.x,
            descriptor_coefficients=self.coefficients.u,
            permutations=self.problem.permutations,
            energy_coefficients=self.coefficients.beta,
        )
