"""Systems that are not fit for a kernel potential are refused before the first step, each in a sentence."""

import gc

import openmm
import pytest
from ethanol_case import FORCE_FIELD, PDB, ethanol_in_water, ethanol_potential, geometry
from openmm import OpenMMException, app
from openmm_helpers import context_for, energy_and_forces, system_with

from openmm_kml.interfaces.checks import check_system, constraints_without_bonds, kml_forces
from openmm_kml.interfaces.openmm import KMLForce

ROUTES = ("Reference", "base-class")
N = 12  # particles; the first nine are ethanol


def model(**options):
    return KMLForce(ethanol_potential(), particles=range(9), n_threads=1, **options)


def as_variable(force):
    """Return the force as the only variable of a CustomCVForce."""
    outer = openmm.CustomCVForce("E")
    outer.addCollectiveVariable("E", force)
    return outer


def test_the_forces_outlive_the_name_of_their_system():
    for wrap in (lambda force: force, as_variable):
        (force,) = kml_forces(system_with(wrap(model(scale_parameter="mine")), n_particles=N))
        gc.collect()
        others = [system_with(model(), n_particles=N) for _ in range(20)]  # into the memory that was freed
        assert force.getScaleParameter() == "mine"
        assert force.getParticles() == tuple(range(9))
        assert len(others) == 20


def as_alchemical(force):
    """Return the force as the only one inside of an ATMForce."""
    outer = openmm.ATMForce("u0")
    for _ in range(N):
        outer.addParticle(openmm.Vec3(0, 0, 0))
    outer.addForce(force)
    return outer


def constrained():
    system = system_with(model(), n_particles=N)
    system.addConstraint(9, 10, 0.1)  # outside of the model: fine
    system.addConstraint(8, 9, 0.1)  # half outside: fine
    system.addConstraint(2, 3, 0.1)
    return system


def with_virtual_site():
    system = system_with(model(), n_particles=N)
    system.setVirtualSite(4, openmm.TwoParticleAverageSite(10, 11, 0.5, 0.5))
    system.setParticleMass(4, 0.0)
    return system


def spring(name, value):
    force = openmm.CustomBondForce(f"{name}*r")
    force.addGlobalParameter(name, value)
    force.addBond(10, 11, [])
    return force


def with_taken_name():
    return system_with(spring("scale", 1.0), model(scale_parameter="scale"), n_particles=N)


def with_taken_name_of_another_value():
    return system_with(model(scale_parameter="scale"), spring("scale", 1000.0), n_particles=N)


def pressed(periodic=False):
    force = model()
    force.setUsesPeriodicBoundaryConditions(periodic)
    system = system_with(force, n_particles=N)
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    return system


def pressed_by_force():
    return pressed(periodic=True)


BAD = {
    constrained: r"particles 2 and 3 is constrained",
    with_virtual_site: r"particle 4 is a virtual site",
    with_taken_name: r"'scale' .*CustomBondForce",
    with_taken_name_of_another_value: r"'scale' .*CustomBondForce",
    pressed_by_force: r"a barostat changes the box, but no energy depends on the box",
}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
def test_a_bad_system_is_refused_by_the_check(make):
    with pytest.raises(ValueError, match=BAD[make]):
        check_system(make())


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("route_name", ROUTES)
def test_a_bad_system_is_refused_by_its_context(make, route_name):
    with pytest.raises(OpenMMException, match=r"KMLForce: .*" + BAD[make]):
        context_for(make(), [[k, 0, 0] for k in range(N)], route_name)


@pytest.mark.parametrize("route_name", ROUTES)
def test_a_barostat_on_a_molecule_alone_is_refused(route_name):
    with pytest.raises(ValueError, match="no energy depends on the box"):
        check_system(pressed())
    with pytest.raises(OpenMMException, match=r"[Bb]arostat"):
        context_for(pressed(), [[k, 0, 0] for k in range(N)], route_name)


@pytest.mark.parametrize("wrap", [as_variable, as_alchemical])
def test_inside_another_force_the_check_sees_what_the_force_cannot(wrap):
    system = system_with(wrap(model(scale_parameter="scale")), n_particles=N)
    check_system(system)
    system.addConstraint(0, 1, 0.15)
    with pytest.raises(ValueError, match="particles 0 and 1 is constrained"):
        check_system(system)
    system.removeConstraint(0)
    system.addForce(spring("scale", 1.0))
    with pytest.raises(ValueError, match="'scale'"):
        check_system(system)


def test_a_system_without_a_model_is_told_so():
    with pytest.raises(ValueError, match="has no KMLForce"):
        check_system(system_with(spring("k", 1.0), n_particles=N))


def test_a_good_system_passes():
    # Two molecules may share their scale; constraints elsewhere and a barostat in a solvent are as they should be.
    _, positions, classical = ethanol_in_water()
    system = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(classical))
    for k in reversed(range(system.getNumConstraints())):
        i, j, _ = system.getConstraintParameters(k)
        if i < 9 and j < 9:
            system.removeConstraint(k)
    for _ in range(2):
        system.addForce(model(scale_parameter="scale"))
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))
    check_system(system)
    assert len(kml_forces(system)) == 2
    assert system.getNumConstraints() == 3 * 80
    context = context_for(system, positions * 10)
    context.setParameter("scale", 0.0)
    energy_and_forces(context)


def test_two_models_that_share_a_scale_follow_it_together():
    system = system_with(model(scale_parameter="scale"), model(scale_parameter="scale"), n_particles=9)
    context = context_for(system, geometry())
    context.setParameter("scale", 0.5)
    energy = energy_and_forces(context)[0]
    assert energy == pytest.approx(ethanol_potential().evaluate(geometry()).energy, rel=1e-12)


def test_constraints_that_stand_for_bonds_are_found():
    field = app.ForceField(str(FORCE_FIELD))
    topology = app.PDBFile(str(PDB)).topology
    rigid = field.createSystem(topology, constraints=app.HBonds)
    assert len(constraints_without_bonds(rigid, range(9))) == 6
    assert constraints_without_bonds(rigid, range(3)) == []
    kept = field.createSystem(topology, constraints=app.HBonds, flexibleConstraints=True)
    assert constraints_without_bonds(kept, range(9)) == []


def test_particles_named_twice_are_refused():
    with pytest.raises(OpenMMException, match="particle 3 appears twice"):
        KMLForce(ethanol_potential(), particles=[0, 1, 2, 3, 3, 4, 5, 6, 7])


def test_a_platform_that_does_not_exist_is_refused_by_openmm():
    with pytest.raises(OpenMMException, match=r"no registered Platform called .GPU."):
        openmm.Platform.getPlatformByName("GPU")
