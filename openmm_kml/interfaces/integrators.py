"""Multiple time steps: a cheap force often, what is left to the accurate one seldom (docs/integrators.md).

    inner (group 0)   F_cheap                 every inner step
    outer (group 1)   F_accurate - F_cheap    every outer step

The sum of all groups is the accurate force, so energies of the Context mean what they always mean.
"""

import openmm
from openmm import unit

from openmm_kml.interfaces.openmm import KMLForce

INNER_GROUP, OUTER_GROUP = 0, 1

# Classes whose energy is proportional to the last parameter of each of their terms.
_HARMONIC = {
    openmm.HarmonicBondForce: ("getNumBonds", "getBondParameters", "setBondParameters"),
    openmm.HarmonicAngleForce: ("getNumAngles", "getAngleParameters", "setAngleParameters"),
    openmm.PeriodicTorsionForce: ("getNumTorsions", "getTorsionParameters", "setTorsionParameters"),
}


def split_forces(system, accurate, cheap, inner_group=INNER_GROUP, outer_group=OUTER_GROUP):
    """Add a cheap force to a System, and take it away again in the group of the accurate one.

    Parameters
    ----------
    system : openmm.System
        Holds the accurate forces; changed in place.
    accurate : sequence of openmm.Force
        The System's expensive forces; they move to `outer_group`. All other forces stay in their groups, which must
        be one of the two (0 unless something else was set).
    cheap : sequence of openmm.Force
        Forces that resemble the accurate ones; copies are added to `inner_group`, and their negatives to
        `outer_group`.
    inner_group, outer_group : int, 0 to 31

    Raises
    ------
    ValueError
        If there is no cheap force, the groups are equal, an accurate force is not in the System, or another force is
        in a third group, which the integrator would leave out silently.
    """
    if inner_group == outer_group:
        raise ValueError(f"the inner and the outer group must differ; both are {inner_group}")
    if not cheap:
        raise ValueError(
            "at least one cheap force is needed; openmm_kml.interfaces.bonded_model makes some from the model"
        )
    addresses = {int(force.this) for force in system.getForces()}
    if any(int(force.this) not in addresses for force in accurate):
        raise ValueError("an accurate force is not in the System; add it there first and pass the same object")
    _check_groups(system, accurate, (inner_group, outer_group))
    for force in accurate:
        force.setForceGroup(outer_group)
    for force in cheap:
        for one, group in ((openmm.XmlSerializer.clone(force), inner_group), (negative(force), outer_group)):
            one.setForceGroup(group)
            system.addForce(one)


def _check_groups(system, accurate, groups):
    moved = {int(force.this) for force in accurate}
    for force in system.getForces():
        if int(force.this) not in moved and force.getForceGroup() not in groups:
            raise ValueError(
                f"the force '{force.getName()}' is in group {force.getForceGroup()}, which is neither {groups[0]} nor "
                f"{groups[1]}: the integrator would leave it out; move it by setForceGroup() (for an integrator with "
                "more groups, back again afterwards)"
            )


def negative(force):
    """Return a new Force with the negative energy.

    Harmonic bonds and angles, periodic torsions and `KMLForce` change the sign of their constants and stay as fast as
    they are; every other Force is wrapped into a ``CustomCVForce``, which costs an inner Context.
    """
    copy = openmm.XmlSerializer.clone(force)
    for kind, (count, get, put) in _HARMONIC.items():
        if isinstance(copy, kind):
            for k in range(getattr(copy, count)()):
                *others, constant = getattr(copy, get)(k)
                getattr(copy, put)(k, *others, -constant)
            return copy
    try:
        model = KMLForce.cast(copy)
    except TypeError:
        pass
    else:
        if not model.getScaleParameter():
            model.setScaleParameter("kml_minus_one", -1.0)
            return model
    wrapped = openmm.CustomCVForce("-energy")
    wrapped.addCollectiveVariable("energy", copy)
    return wrapped


def multiple_time_step_integrator(time_step, inner_steps, temperature=None, friction=1.0 / unit.picosecond):
    """Return OpenMM's integrator for two groups of forces, as `split_forces` makes them.

    Parameters
    ----------
    time_step : openmm.unit.Quantity
        The outer time step.
    inner_steps : int
        Inner steps in one outer step.
    temperature : openmm.unit.Quantity, optional
        BAOAB-RESPA Langevin dynamics (Lagardère et al., J. Phys. Chem. Lett. 10, 2593 (2019)) when given, else
        velocity Verlet r-RESPA at constant energy (Tuckerman et al., J. Chem. Phys. 97, 1990 (1992)).
    friction : openmm.unit.Quantity

    Raises
    ------
    ValueError
        If `inner_steps` is not a whole number above zero.
    """
    if inner_steps != int(inner_steps) or inner_steps < 1:
        raise ValueError(f"inner_steps is a whole number above zero; {inner_steps!r} was given")
    groups = [(OUTER_GROUP, 1), (INNER_GROUP, int(inner_steps))]
    if temperature is None:
        return openmm.MTSIntegrator(time_step, groups)
    return openmm.MTSLangevinIntegrator(temperature, friction, time_step, groups)
