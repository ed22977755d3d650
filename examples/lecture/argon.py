"""Two atoms of argon, learned by the two-body trainer from the distances that one chooses."""

import numpy as np
from curves import draw_band, draw_curve, draw_points, draw_truth, rms

from openmm_kml.potential import KernelPotential
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.training.nbody.design import design_rows
from openmm_kml.weights import to_bytes

EPSILON, SIGMA, CUTOFF = 0.0103, 3.4, 8.5  # eV, Å, Å
NOISE_ENERGY, NOISE_FORCE = 5e-4, 2e-3  # eV, and eV/Å on each component
WELL = np.linspace(3.7, 8.0, 12)  # Å: a little inside the minimum at 3.82, and all that is farther
WALL = np.linspace(2.9, 3.5, 5)  # Å: the repulsive side
REACH = np.linspace(8.2, 2.0, 621)  # Å, as atoms approach each other
LEFT_OUT = np.abs(REACH - WALL.mean()) < np.ptp(WALL) / 2 + 1e-6  # both ends are in
COLLISION = 0.1  # eV, of two atoms that meet head-on
LABELS = "distance (Å)", "energy (meV)"
AXIS = np.array([1.0, 1.0, 1.0]) / np.sqrt(3)  # of the pair: no component of a force is zero for a trivial reason


def lennard_jones(r):
    """Return energy (eV) and force -dE/dr (eV/Å) of two atoms, shifted so that both vanish at the cutoff."""

    def plain(r):
        six = (SIGMA / r) ** 6
        return 4 * EPSILON * (six**2 - six), 24 * EPSILON * (2 * six**2 - six) / r

    (energy, force), (energy_end, force_end) = plain(np.asarray(r)), plain(CUTOFF)
    return energy - energy_end + force_end * (r - CUTOFF), force - force_end


def labeled(distances):
    """Return pairs with noisy energies and forces as a `StructureSet`; the same noise each time."""
    rng = np.random.default_rng(0)
    return StructureSet([_labeled(r, rng) for r in distances], "argon")


def fit(distances, repulsion):
    """Return a potential trained on labeled pairs, with or without screened nuclear repulsion."""
    options = NBodyOptions(
        cutoff2=CUTOFF,
        cutoff3=0,
        spacing2=0.1,
        inner_margin=1.2,  # below the data, too, the splines follow the Gaussian process and not their tangent
        noise_energy=NOISE_ENERGY / 2,  # of an atom
        noise_force=NOISE_FORCE,
        atom_energies={18: 0.0},
        repulsion=repulsion,
        progress=False,
    )
    return fit_nbody(labeled(distances), options=options)


def predict(trained, distances):
    """Return energies of pairs in eV by the compiled engine, and their standard deviations by the posterior."""
    potential = KernelPotential.from_bytes(to_bytes(trained.weights))
    pairs = [_pair(r) for r in distances]
    energies = np.array([potential.evaluate(pair.positions, pair.numbers).energy for pair in pairs])
    rows = np.array([design_rows(trained.basis, pair).energy for pair in pairs])
    rows[:, : trained.basis.n_elements] = 0.0  # the energies of single atoms are known
    return energies, np.sqrt(trained.posterior.variance(rows))


def left_out_error(energies):
    """Return the root mean square error in eV of energies at `REACH` on the repulsive side, 2.9 to 3.5 Å."""
    return float(rms((energies - lennard_jones(REACH)[0])[LEFT_OUT]))


def closest_approach(energies):
    """Return the distance in Å at which a head-on collision of `COLLISION` turns back; None if it does not.

    `energies` are those at the distances of `REACH`; atoms that pass 2 Å have fused.
    """
    turned = np.flatnonzero(energies > COLLISION)
    return float(REACH[turned[0]]) if len(turned) else None


def describe_turn(turn):
    """Return what `closest_approach` found, in words."""
    return "the atoms fuse" if turn is None else f"turns at {turn:.2f} Å"


def plot_curve(ax, trained, distances, color, label, band=False):
    """Draw the truth, a learned curve, and the points that it was learned from; return its energies and deviations."""
    energies, deviations = predict(trained, REACH)
    ax.axvspan(0, distances.min(), color="#f4ede4", linewidth=0)
    ax.axhline(0, color="#c8c8c8", linewidth=0.8)
    draw_truth(ax, REACH, 1e3 * lennard_jones(REACH)[0], "truth: Lennard-Jones")
    draw_curve(ax, REACH, 1e3 * energies, color, label)
    if band:
        draw_band(ax, REACH, 1e3 * energies, 1e3 * deviations, color, "its 95 % band")
    points = 1e3 * np.array([pair.energy for pair in labeled(distances)])
    draw_points(ax, distances, points, "learned from, with noise")
    ax.set(xlim=(2.7, 8.2), ylim=(-15, 60))
    above = int((points > 60).sum())
    if above:
        ax.text(3.15, 55, f"↑ {above} more points", fontsize=10.5)
    if distances.min() > 3.5:
        ax.text(2.75, -13.5, "no data", color="#a0703a", fontsize=10.5)
    return energies, deviations


def _labeled(r, rng):
    energy, force = lennard_jones(r)
    forces = np.array([-force * AXIS, force * AXIS]) + NOISE_FORCE * rng.standard_normal((2, 3))
    return _pair(r, float(energy + NOISE_ENERGY * rng.standard_normal()), forces)


def _pair(r, energy=None, forces=None):
    return Structure([18, 18], [np.zeros(3), r * AXIS], energy=energy, forces=forces)
