"""The guard of the uncertainty in a run: its table, the frames that it keeps, and what it says."""

from openmm_kml.doubt import check_uncertainty, doubt_of, frames_of, is_above, resolve_threshold, uncertain_frame
from openmm_kml.files import write_atomically
from openmm_kml.md.outputs import Table
from openmm_kml.md.start import read_start_frames
from openmm_kml.structures import Structure

DOUBTS, UNCERTAIN = "uncertainty.csv", "uncertain.xyz"
COLUMNS = ("step", "uncertainty_eV", "energy_std_eV", "atom")
MOST_FRAMES = 100  # flagged frames that are kept; later ones are in the table alone


class UncertaintyWatch:
    """Looks at the uncertainty of a run's frames.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
    start_path : path
        What the run starts from; of several frames all count for a threshold that is ``"auto"``.
    start : openmm_kml.md.start.Start
    particles : sequence of int
        Index in the start of each atom of the model.
    settings : openmm_kml.md.settings.Settings
    directory : path

    Raises
    ------
    DataError
        If the model has no uncertainty.
    """

    def __init__(self, potential, start_path, start, particles, settings, directory):
        check_uncertainty(potential)
        self._potential, self._particles = potential, list(particles)
        self._numbers = start.numbers[self._particles]
        self._action, self._interval = settings.guard_action, settings.guard_interval
        self._doubts, self._path = directory / DOUBTS, directory / UNCERTAIN
        self._table, self._texts, self._n_looks, self._n_flagged = None, {}, 0, 0

        def frames():
            for positions, box in read_start_frames(start_path, potential.species is not None):
                yield positions[self._particles], self._numbers, box

        self.threshold, self._source = resolve_threshold(settings.guard_uncertainty, potential, frames)

    def open(self, outputs, step):
        """Open the table, cut back to the length that it had at a checkpoint, and forget frames from its step on."""
        self._table = Table(self._doubts, outputs.get("uncertainty", {"size": 0})["size"], COLUMNS)
        if self._path.exists():
            self._texts = {k: text for k, text in frames_of(self._path.read_text()) if k < step}

    def complaint(self, now, again=False):
        """Note the uncertainty of a look; return a sentence if the run is to stop, else None.

        With `again`, it is the look of a checkpoint, which the table has already.
        """
        frame = Structure(self._numbers, now.positions[self._particles], now.box)
        doubt = doubt_of(self._potential, frame.positions, frame.numbers, frame.cell)
        if not again:
            atom = None if doubt.atom is None else self._particles[doubt.atom]
            self._table.write(now.step, doubt.value, doubt.energy_std, atom)
        self._n_looks += 1
        if not is_above(doubt, self.threshold):
            return None
        self._n_flagged += 1
        if len(self._texts) < MOST_FRAMES:
            self._texts[now.step] = uncertain_frame(frame, now.step, doubt, self.threshold)
            write_atomically(self._path, "".join(self._texts.values()).encode())
        if self._action == "flag":
            return None
        return (
            f"the run was stopped at step {now.step}: {doubt.describe(frame.numbers)}, above the threshold of "
            f"{self.threshold:.3g} eV ({self._source}); {self._path} has the frame: label it and train again, or go on "
            "with --resume and a higher --guard-uncertainty"
        )

    def marks(self):
        """Bring the table to the disk and return what a continuation needs to know."""
        return {"uncertainty": self._table.mark()}

    def close(self):
        if self._table is not None:
            self._table.close()

    def summary(self):
        """Return one sentence on what was seen."""
        frames = f"; frames in {self._path}" if self._n_flagged else ""
        return (
            f"{self._n_flagged} of {self._n_looks} looks above the uncertainty of {self.threshold:.3g} eV "
            f"({self._source}){frames}"
        )
