"""Two atoms of argon, learned by the two-body trainer from the distances that one chooses."""

import numpy as np

from openmm_kml.potential import KernelPotential
from openmm_kml.structures import Structure, StructureSet
from openmm_kml.training.nbody import NBodyOptions, fit_nbody
from openmm_kml.training.nbody.design import design_rows
from openmm_kml.weights import to_bytes

EPSILON, SIGMA, CUTOFF = 0.0103, 3.4, 8.5  # eV, Å, Å
NOISE_ENERGY, NOISE_FORCE = 5e-4, 2e-3  # eV, and eV/Å on each component
WELL = np.linspace(3.7, 8.0, 12)  # Å: a little inside the minimum at 3.82, and all that is farther
WALL = np.linspace(2.9, 3.5, 5)  # Å: the repulsive side
REACH = np.linspace(7.6, 2.0, 561)  # Å, as atoms approach each other
LEFT_OUT = np.abs(REACH - WALL.mean()) <= np.ptp(WALL) / 2
AXIS = np.array([1.0, 1.0, 1.0]) / np.sqrt(3)  # of the pair: no component of a force is zero for a trivial reason


def lennard_jones(r):
    """Return energy (eV) and force -dE/dr (eV/Å) of two atoms, shifted so that both vanish at the cutoff."""

    def plain(r):
        six = (SIGMA / r) ** 6
        return 4 * EPSILON * (six**2 - six), 24 * EPSILON * (2 * six**2 - six) / r

    (energy, force), (energy_end, force_end) = plain(np.asarray(r)), plain(CUTOFF)
    return energy - energy_end + force_end * (r - CUTOFF), force - force_end


def fit(distances, repulsion, seed=0):
    """Return a potential trained on noisy energies and forces of pairs, with or without screened nuclear repulsion."""
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
    rng = np.random.default_rng(seed)
    return fit_nbody(StructureSet([_labeled(r, rng) for r in distances], "argon"), options=options)


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
    return float(np.sqrt(np.mean((energies - lennard_jones(REACH)[0])[LEFT_OUT] ** 2)))


def closest_approach(energies, collision):
    """Return the distance in Å at which a head-on collision of this energy in eV turns back; None if it does not.

    `energies` are those at the distances of `REACH`; atoms that pass 2 Å have fused.
    """
    turned = np.flatnonzero(energies > collision)
    return float(REACH[turned[0]]) if len(turned) else None


def plot_curve(ax, trained, distances, color, label, band=False):
    """Draw the truth, a learned curve, and the points that it was learned from."""
    energies, deviations = predict(trained, REACH)
    ax.axvspan(0, distances.min(), color="#f4ede4", linewidth=0)
    ax.axhline(0, color="#c8c8c8", linewidth=0.8)
    ax.plot(REACH, 1e3 * lennard_jones(REACH)[0], "--", color="black", linewidth=1.4, label="truth: Lennard-Jones")
    ax.plot(REACH, 1e3 * energies, color=color, linewidth=2, label=label)
    if band:
        low, high = 1e3 * (energies - 1.96 * deviations), 1e3 * (energies + 1.96 * deviations)
        ax.fill_between(REACH, low, high, color=color, alpha=0.25, linewidth=0, label="its 95 % band")
    # The noise of the labels is a tenth of a dot.
    ax.plot(distances, 1e3 * lennard_jones(distances)[0], "o", color="black", markersize=4.5, label="learned from")
    ax.set(xlabel="distance (Å)", xlim=(2.7, 7.6), ylim=(-15, 60))
    if distances.min() > 3.5:
        ax.text(2.75, -13.5, "no data", color="#a0703a", fontsize=10.5)
    return energies, deviations


def _labeled(r, rng):
    energy, force = lennard_jones(r)
    forces = np.array([-force * AXIS, force * AXIS]) + NOISE_FORCE * rng.standard_normal((2, 3))
    return _pair(r, float(energy + NOISE_ENERGY * rng.standard_normal()), forces)


def _pair(r, energy=None, forces=None):
    return Structure([18, 18], [np.zeros(3), r * AXIS], energy=energy, forces=forces)
