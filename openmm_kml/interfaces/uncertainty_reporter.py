"""Reporters for ``Simulation.reporters``: the uncertainty of a model along a run, and a guard that ends one.

    simulation.reporters.append(UncertaintyReporter("uncertainty.csv", 100, potential))
    simulation.reporters.append(UncertaintyGuard(0.01, 100, potential, file="uncertain.xyz"))

OpenMM's units stop here: tables and thresholds are in eV, frames in Å.
"""

from pathlib import Path

import numpy as np
from openmm import unit

from openmm_kml.doubt import (
    ACTIONS,
    AUTO,
    UncertaintyError,
    check_threshold,
    check_uncertainty,
    doubt_of,
    frames_of,
    is_above,
    resolve_threshold,
    uncertain_frame,
)
from openmm_kml.errors import DataError
from openmm_kml.files import write_atomically
from openmm_kml.option_checks import check_choice, check_count
from openmm_kml.potential import KernelPotential
from openmm_kml.structures import Structure
from openmm_kml.structures.extended_xyz import frame_text

COLUMNS = ("step", "time_ps", "energy_std_eV", "energy_std_per_atom_eV", "largest_atomic_std_eV", "atom")


class _Observer:
    """What a reporter needs to ask a model about a state.

    Parameters
    ----------
    interval : int
        Steps between two looks.
    potential : KernelPotential or path
    particles : sequence of int, optional
        As for `openmm_kml.interfaces.openmm.KMLForce`: for a model of one molecule in its order of atoms; all
        particles, in order, when omitted.
    periodic : bool, optional
        Whether the model sees the periodic box; as the System has one when omitted.
    """

    def __init__(self, interval, potential, particles=None, periodic=None):
        check_count("interval", interval)
        self.interval = int(interval)
        self.potential = potential if isinstance(potential, KernelPotential) else KernelPotential.load(potential)
        check_uncertainty(self.potential)
        self._particles = None if particles is None else np.array(particles, dtype=int)
        self._periodic = periodic
        self._numbers = None

    def describeNextReport(self, simulation):
        """Return when the next report is due and what it needs."""
        steps = self.interval - simulation.currentStep % self.interval
        # Not wrapped: a model of one molecule must find it whole, and any other finds the images itself.
        return {"steps": steps, "periodic": False, "include": ["positions"]}

    def _look(self, simulation, state):
        """Return the `Structure` and its `Doubt`."""
        if self._numbers is None:
            self._set_up(simulation)
        positions = state.getPositions(asNumpy=True).value_in_unit(unit.angstrom)[self._particles]
        box = state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(unit.angstrom) if self._periodic else None
        frame = Structure(self._numbers, positions, box)
        return frame, doubt_of(self.potential, frame.positions, frame.numbers, frame.cell)

    def _set_up(self, simulation):
        atoms = list(simulation.topology.atoms())
        if self._particles is None:
            self._particles = np.arange(len(atoms))
        if len(self._particles) and not 0 <= self._particles.min() <= self._particles.max() < len(atoms):
            raise DataError(f"particles are counted from 0 to {len(atoms) - 1}; {self._particles.tolist()} were given")
        if self.potential.species is not None:
            self._periodic = False
        elif self._periodic is None:
            self._periodic = simulation.system.usesPeriodicBoundaryConditions()
        chosen = [atoms[k].element for k in self._particles]
        self._numbers = np.array([0 if element is None else element.atomic_number for element in chosen])

    def _particle(self, atom):
        return int(self._particles[atom])


class UncertaintyReporter(_Observer):
    """Writes a line for each frame: step, time, standard deviation of the energy, the largest of an atom and its index.

    Parameters
    ----------
    file : path
        Table with comma-separated values; the columns are `COLUMNS`. The particle counts from 0, as in OpenMM; the last
        two columns are empty under a model of one molecule.
    interval, potential, particles, periodic
        As for `KMLForce`; steps between two lines, and the model.
    per_atom : path, optional
        Extended XYZ with the standard deviation of each atom's energy, eV, in the column ``energy_std``.
    append : bool
        Go on with files that are there instead of replacing them.

    Raises
    ------
    openmm_kml.errors.DataError
        If the model has no uncertainty.
    ValueError
        If `per_atom` is given and the model is one of a molecule, which has no energies of single atoms.
    """

    def __init__(self, file, interval, potential, particles=None, periodic=None, per_atom=None, append=False):
        super().__init__(interval, potential, particles, periodic)
        if per_atom is not None and self.potential.species is not None:
            raise ValueError("a model of one molecule has no energies of single atoms; leave out per_atom")
        self._table, self._frames = Path(file), None if per_atom is None else Path(per_atom)
        for path in (self._table, self._frames):
            if path is not None and not (append and path.exists()):
                path.write_bytes(b"")
        if self._table.stat().st_size == 0:
            _append(self._table, ",".join(COLUMNS) + "\n")

    def report(self, simulation, state):
        """Write a line, at once and in one piece, and a frame if wanted."""
        frame, doubt = self._look(simulation, state)
        time_ps = state.getTime().value_in_unit(unit.picosecond)
        fields = [str(simulation.currentStep)]
        fields += [f"{value:.9g}" for value in (time_ps, doubt.energy_std, doubt.energy_std / len(frame))]
        fields += ["", ""] if doubt.atom is None else [f"{doubt.value:.9g}", str(self._particle(doubt.atom))]
        _append(self._table, ",".join(fields) + "\n")
        if self._frames is not None:
            info = {"step": simulation.currentStep, "time_ps": f"{time_ps:.9g}", "energy_std_eV": doubt.energy_std}
            _append(self._frames, frame_text(frame, info, {"energy_std": doubt.atomic_std}))


class UncertaintyGuard(_Observer):
    """Stops a run, or flags its frames, where the model's uncertainty is above a threshold.

    What is compared is the largest standard deviation of an atom's energy, or, under a model of one molecule, that of
    the energy by the number of atoms.

    Parameters
    ----------
    threshold : float or ``"auto"``, eV
        ``"auto"`` is a multiple of what the weight file records for frames of the data, or, without such a record, of
        the first look (`openmm_kml.doubt.resolve_threshold`).
    interval, potential, particles, periodic
        As for `KMLForce`; steps between two looks, and the model.
    action : str
        ``stop`` raises `openmm_kml.doubt.UncertaintyError`, which names step, atom, value and threshold; the Simulation
        stays where it is and may go on. ``flag`` notes the frame and goes on.
    file : path, optional
        Where the uncertain frames are kept as extended XYZ: the one that stopped the run, or those flagged. The file is
        whole at any time.
    most_frames : int
        Flagged frames to keep in the file; later ones are counted only.
    append : bool
        Keep the frames of a file that is there, and go on with it, instead of replacing it.

    Attributes
    ----------
    threshold : float, eV
        Known from the first look on, where it was ``"auto"``.
    flagged : list of (int, Doubt)
        Step and uncertainty of the frames above the threshold.
    n_looks : int

    Raises
    ------
    openmm_kml.errors.DataError
        If the model has no uncertainty.
    FileNotFoundError
        If there is no folder for the file.
    """

    def __init__(
        self,
        threshold,
        interval,
        potential,
        particles=None,
        periodic=None,
        action="stop",
        file=None,
        most_frames=100,
        append=False,
    ):
        super().__init__(interval, potential, particles, periodic)
        check_threshold(threshold)
        check_choice("action", action, ACTIONS)
        self.threshold, self.action = threshold, action
        self._file, self._most_frames = None if file is None else Path(file), most_frames
        self.flagged, self.n_looks, self._texts = [], 0, []
        if self._file is not None and not self._file.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {self._file.parent} for the frames of {self._file.name}")
        if append and self._file is not None and self._file.exists():
            self._texts = [text for _, text in frames_of(self._file.read_text())]

    def report(self, simulation, state):
        """Look at a state.

        Raises
        ------
        openmm_kml.doubt.UncertaintyError
            If the action is to stop, and the uncertainty above the threshold.
        """
        frame, doubt = self._look(simulation, state)
        if self.threshold == AUTO:
            first = (frame.positions, frame.numbers, frame.cell)
            self.threshold = resolve_threshold(AUTO, self.potential, lambda: [first])[0]
        self.n_looks += 1
        if not is_above(doubt, self.threshold):
            return
        step = simulation.currentStep
        self.flagged.append((step, doubt))
        if self._file is not None and len(self._texts) < self._most_frames:
            self._texts.append(uncertain_frame(frame, step, doubt, self.threshold))
            write_atomically(self._file, "".join(self._texts).encode())
        if self.action == "stop":
            where = "" if self._file is None else f"; {self._file} has the frame"
            raise UncertaintyError(
                f"the run was stopped at step {step}: {doubt.describe(frame.numbers)}, above the threshold of "
                f"{self.threshold:.3g} eV{where}: label it and train again, or raise the threshold",
                step,
                doubt,
                self.threshold,
            )


def _append(path, text):
    """Add text to a file in one piece, so that no kill leaves half of it."""
    with path.open("ab", buffering=0) as file:
        file.write(text.encode())
