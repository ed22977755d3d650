"""What is wrong with a System for a kernel potential, said before the first step.

A Context of a System with a `KMLForce` makes the checks of `check_system` itself, for forces that stand directly in
the System. Inside a CustomCVForce or an ATMForce a Force cannot see the System around it: call `check_system` for
those.
"""

import openmm

from openmm_kml.interfaces.openmm import KMLForce

BAROSTATS = (
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.MonteCarloMembraneBarostat,
)

CONTAINERS = (openmm.CustomCVForce, openmm.ATMForce)  # of other forces


def kml_forces(system):
    """Return every `KMLForce` of a System, those inside of a CustomCVForce or an ATMForce included."""
    forces = [force for force in _walk(system.getForces()) if isinstance(force, KMLForce)]
    for force in forces:
        force._system = system  # it owns the Force: a System that is freed would take it along
    return forces


def check_system(system):
    """Raise an exception if a System is not fit for the kernel potentials in it.

    Parameters
    ----------
    system : openmm.System

    Raises
    ------
    ValueError
        If there is no KMLForce; if a constraint or a virtual site lies among the atoms of a model; if a scale
        parameter is also a parameter of a force of another kind; if a barostat changes a box on which no energy
        depends.
    """
    forces = kml_forces(system)
    if not forces:
        raise ValueError("the System has no KMLForce; add one, or make the System with MLPotential('kml', ...)")
    for force in forces:
        particles = set(force.getParticles()) or set(range(system.getNumParticles()))
        _check_constraints(system, particles)
        _check_virtual_sites(system, particles)
    _check_scale_parameters(system, forces)
    _check_barostat(system)


def constraints_without_bonds(system, atoms):
    """Return the constraints (i, j) between some atoms that no bonded force would hold together in their stead.

    ``ForceField.createSystem(constraints=HBonds)`` leaves out the energy of the bonds that it constrains.
    """
    atoms = set(atoms)
    bonded = {
        frozenset(force.getBondParameters(k)[:2])
        for force in system.getForces()
        if isinstance(force, openmm.HarmonicBondForce | openmm.CustomBondForce)
        for k in range(force.getNumBonds())
    }
    return [pair for pair in _constraints_among(system, atoms) if frozenset(pair) not in bonded]


def _walk(forces):
    """Yield forces and those inside of CustomCVForces and ATMForces, KMLForces as such."""
    for force in forces:
        try:
            yield KMLForce.cast(force)
        except TypeError:
            yield force
        if isinstance(force, openmm.CustomCVForce):
            yield from _walk(force.getCollectiveVariable(k) for k in range(force.getNumCollectiveVariables()))
        elif isinstance(force, openmm.ATMForce):
            yield from _walk(force.getForce(k) for k in range(force.getNumForces()))


def _constraints_among(system, particles):
    pairs = (system.getConstraintParameters(k)[:2] for k in range(system.getNumConstraints()))
    return [(i, j) for i, j in pairs if i in particles and j in particles]


def _check_constraints(system, particles):
    constraints = _constraints_among(system, particles)
    if constraints:
        i, j = constraints[0]
        raise ValueError(
            f"the distance of particles {i} and {j} is constrained, but the model describes it: remove the "
            f"{len(constraints)} constraints among its atoms (System.removeConstraint(), or build the classical System "
            "with constraints=None)"
        )


def _check_virtual_sites(system, particles):
    for particle in sorted(particles):
        if system.isVirtualSite(particle):
            raise ValueError(
                f"particle {particle} is a virtual site, but the model describes atoms: list real atoms only"
            )


def _global_parameters(force):
    """Return the names of the Context parameters of a force, as far as Python can ask for them."""
    if not hasattr(force, "getNumGlobalParameters"):
        return set()
    return {force.getGlobalParameterName(k) for k in range(force.getNumGlobalParameters())}


def _check_scale_parameters(system, forces):
    scales = {force.getScaleParameter() for force in forces} - {""}
    for force in _walk(system.getForces()):
        taken = set() if isinstance(force, KMLForce) else scales & _global_parameters(force)
        if taken:
            raise ValueError(
                f"the scale parameter '{min(taken)}' of a KMLForce is also a parameter of the {type(force).__name__} "
                f"'{force.getName()}': give one of them another name"
            )


def _check_barostat(system):
    forces = list(system.getForces())
    if any(isinstance(force, BAROSTATS) for force in forces) and not any(map(_depends_on_box, forces)):
        raise ValueError(
            "a barostat changes the box, but no energy depends on the box: a model of one molecule knows no "
            "neighbors, and its pressure is that of an ideal gas; remove the barostat, or put the molecule into solvent"
        )


def _depends_on_box(force):
    """Return whether a force other than a model of one molecule is periodic."""
    inside = [inner for inner in _walk([force]) if not isinstance(inner, CONTAINERS)]
    return any(inner.usesPeriodicBoundaryConditions() and not _is_molecule(inner) for inner in inside)


def _is_molecule(force):
    return isinstance(force, KMLForce) and force.getPotential().species is not None
