"""What the trainers of local models have in common: noises, groups of frames, what is trained on."""

from dataclasses import dataclass, field, fields

import numpy as np

from openmm_kml.option_checks import check_choice, check_positive
from openmm_kml.term_checks import MAX_MEMBERS, is_integer

SELECTIONS = ("likelihood", "validation")


@dataclass
class FitOptions:
    """Options of a linear regression on energies, forces and virials.

    Parameters
    ----------
    noise_energy, noise_virial : float, eV per atom
    noise_force : float, eV/Å
        Standard deviations; their ratios are fixed, one common scale is learned.
    group_noise : dict
        Group of frames -> factor on its noises, or three factors (energy, force, virial).
    selection : str
        What chooses the hyperparameters: the marginal ``likelihood`` of the training data, or the errors on the
        ``validation`` frames, of which it takes many to do as well.
    energies, virials : bool
        Whether to train on them where the data have them. Both off: forces alone (coarse-grained force matching).
    atom_energies : dict, optional
        Atomic number -> energy of the isolated atom, eV. By default from frames of one lonely atom, else fitted.
    repulsion : bool
        Subtract screened nuclear repulsion before the fit; switch it off for beads that are not atoms.
    members : int
        Samples of the posterior that the weight file holds for the uncertainty; zero for none.
    n_threads : int
        Of the linear algebra. Its threads spin while they wait: on a busy machine two of them were slower by ten.
    progress : bool
    difference : bool
        The labels are differences to a baseline, so that nothing is said of two atoms that the model alone attracts.
    """

    noise_energy: float = 0.002
    noise_force: float = 0.1
    noise_virial: float = 0.05
    group_noise: dict = field(default_factory=dict)
    selection: str = "likelihood"
    energies: bool = True
    virials: bool = True
    atom_energies: dict | None = None
    repulsion: bool = True
    members: int = 16
    n_threads: int = 1
    progress: bool = True
    difference: bool = False

    _selections = SELECTIONS
    # Options that do not change the result.
    _not_recorded = frozenset({"progress", "n_threads", "difference"})

    def __post_init__(self):
        check_choice("selection", self.selection, self._selections)
        for name in ("noise_energy", "noise_force", "noise_virial", "n_threads"):
            check_positive(name, getattr(self, name))
        if not is_integer(self.members) or not 0 <= self.members <= MAX_MEMBERS:
            raise ValueError(f"members must be a whole number from 0 to {MAX_MEMBERS}; {self.members!r} was given")
        for group, factors in self.group_noise.items():
            for factor in np.atleast_1d(factors):
                check_positive(f"the noise of group {group!r}", float(factor))
            if np.size(factors) not in (1, 3):
                raise ValueError(f"the noise of group {group!r} must be one factor or three; {factors!r} was given")

    def noises(self, group):
        """Return the noises of energies, forces and virials of a group."""
        factors = np.broadcast_to(np.asarray(self.group_noise.get(group, 1.0), dtype=float), 3)
        return factors * (self.noise_energy, self.noise_force, self.noise_virial)

    def as_dict(self):
        """Return the options that decide the result, as JSON-able values."""
        result = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        result = {name: value for name, value in result.items() if name not in self._not_recorded}
        result["group_noise"] = {name: np.asarray(f, float).tolist() for name, f in self.group_noise.items()}
        if self.atom_energies is not None:
            result["atom_energies"] = {str(z): float(e) for z, e in self.atom_energies.items()}
        return result
