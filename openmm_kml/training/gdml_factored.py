"""The Cholesky factor of a molecule's kernel matrix, extended by the rows of new frames.

For K + λ = ((A, Bᵀ), (B, C)) with A = L Lᵀ the factor is ((L, 0), (B L⁻ᵀ, M)), M Mᵀ = C - B A⁻¹ Bᵀ: Golub and Van Loan,
Matrix Computations (2013), section 4.2.9. With n old rows and m new ones it costs n² m, not (n + m)³ / 3. The
amplitude of the kernel, which sets what the regularization means, stays that of the first training.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_solve, cholesky, solve_triangular

from openmm_kml.errors import ExtensionError
from openmm_kml.kernels.radial import KERNELS
from openmm_kml.training.array_file import read_arrays, write_arrays
from openmm_kml.training.assembly import kernel_columns, matrix_size
from openmm_kml.training.model import Hyperparameters

MOST_UNKNOWNS = 12000  # of a factor that is kept: a gigabyte


@dataclass(frozen=True)
class FactoredMolecule:
    """The factor of K + λ of some frames.

    Attributes
    ----------
    digest : str
        Of the frames.
    n_frames : int
    hyperparameters : Hyperparameters
    amplitude : float
        Of the kernel.
    permutations : ndarray of int, shape (P, n_atoms)
    rows : ndarray of int, shape (n,)
        Frame and component of each row, as frame (3 n_atoms + 1) + component; energies are the last component.
    factor : ndarray of shape (n, n)
        L, lower triangular.
    """

    digest: str
    n_frames: int
    hyperparameters: Hyperparameters
    amplitude: float
    permutations: np.ndarray
    rows: np.ndarray
    factor: np.ndarray

    @classmethod
    def of(cls, model):
        """Return the factor of a model's frames, made from nothing.

        Raises
        ------
        ExtensionError
            If it is none of the direct solver's models with one length scale, or too large to be kept.
        """
        problem, chosen = model.problem, model.hyperparameters
        if chosen.descriptor_weights is not None:
            raise ExtensionError("the model has weights of pairs, which every training chooses anew")
        n_atoms = problem.molecules.positions.shape[1]
        if matrix_size(len(problem), n_atoms, chosen.energies) > MOST_UNKNOWNS:
            raise ExtensionError(f"the kernel matrix has more than {MOST_UNKNOWNS} rows")
        empty, amplitude = np.zeros(0, dtype=np.int64), float(problem.amplitude(model.geometry, chosen))
        permutations = np.array(problem.permutations)
        nothing = cls("", 0, chosen, amplitude, permutations, empty, np.zeros((0, 0)))
        return nothing.extended(problem, model.geometry)

    def check(self, train, permutations):
        """Raise `ExtensionError` unless the frames and symmetries go on from those of the factor."""
        if len(train) < self.n_frames or train[: self.n_frames].digest != self.digest:
            raise ExtensionError("the frames are not those that the factor was made with")
        if not np.array_equal(permutations, self.permutations):
            raise ExtensionError("the new frames change which symmetries the molecule shows")
        if matrix_size(len(train), len(train.numbers), self.hyperparameters.energies) > MOST_UNKNOWNS:
            raise ExtensionError(f"the kernel matrix has more than {MOST_UNKNOWNS} rows")

    def extended(self, problem, geometry):
        """Return the factor of all frames of a problem, of which the first are those of this one."""
        chosen, m = self.hyperparameters, geometry.n_components
        fresh = np.arange(self.n_frames, len(problem))
        new = (fresh[:, None] * (m + 1) + np.arange(m + bool(chosen.energies))).ravel()
        old, added = self._places(self.rows, len(problem), m), self._places(new, len(problem), m)
        kernel = KERNELS[chosen.kernel]
        columns = kernel_columns(geometry, kernel, chosen.length_scale, added, self.amplitude, chosen.energies)
        corner = columns[added]
        corner[np.diag_indices_from(corner)] += chosen.regularization
        side = solve_triangular(self.factor, columns[old], lower=True, check_finite=False)
        try:
            corner = cholesky(corner - side.T @ side, lower=True, check_finite=False)
        except LinAlgError:
            raise ExtensionError("the matrix is not positive definite with the new frames") from None
        n = len(old)
        factor = np.zeros((n + len(added),) * 2)
        factor[:n, :n], factor[n:, :n], factor[n:, n:] = self.factor, side.T, corner
        rows = np.concatenate([self.rows, new])
        digest = problem.molecules.digest
        return FactoredMolecule(digest, len(problem), chosen, self.amplitude, self.permutations, rows, factor)

    def model(self, problem, geometry):
        """Return the `Model` of a problem whose frames are those of this factor."""
        places = self._places(self.rows, len(problem), geometry.n_components)
        solution = np.empty(len(places))
        targets = problem.targets(self.hyperparameters.energies)
        solution[places] = cho_solve((self.factor, True), targets[places], check_finite=False)
        return problem.model(self.hyperparameters, geometry, self.amplitude, solution)

    def write(self, path):
        """Write it to a file."""
        write_arrays(path, vars(self) | {"hyperparameters": json.dumps(asdict(self.hyperparameters))})

    @classmethod
    def read(cls, path):
        """Return what `write` wrote, None if the file is not there, or not whole."""
        found = read_arrays(path, list(cls.__dataclass_fields__))
        if found is None:
            return None
        chosen = Hyperparameters(**json.loads(str(found["hyperparameters"])))
        plain = {"digest": str(found["digest"]), "n_frames": int(found["n_frames"])}
        return cls(**found | plain | {"hyperparameters": chosen, "amplitude": float(found["amplitude"])})

    def _places(self, rows, n_frames, m):
        """Return the places of rows in the matrix of all frames: gradients frame by frame, then energies."""
        frame, component = np.divmod(rows, m + 1)
        return np.where(component < m, frame * m + component, n_frames * m + frame)
