"""KMLForce as an object: its properties, who owns it, copies, the serialized form, and OpenMM's version."""

import base64
import copy
import ctypes
import gc
import hashlib
import os
import re
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import openmm
import pytest
from models import MODELS
from openmm_helpers import context_for, energy_and_forces, ethanol, potential_of, system_with

from openmm_kml.interfaces import _openmm_library
from openmm_kml.interfaces.openmm import KMLForce, load_plugin
from openmm_kml.weights import save, to_bytes

SHUFFLED = (8, 7, 6, 5, 4, 3, 2, 1, 0)


def full_force():
    """Return a force with no property left at its default."""
    force = KMLForce(ethanol()[0], SHUFFLED, 'a <quoted> & "odd" name', n_threads=2)
    force.setScaleParameterDefaultValue(1 / 3)
    force.addEnergyParameterDerivative(force.getScaleParameter())
    force.setForceGroup(31)
    force.setName("intramolecular")
    return force


def serialized():
    return openmm.XmlSerializer.serialize(full_force())


def check_full_force(force):
    assert force.getParticles() == SHUFFLED
    assert force.getScaleParameter() == 'a <quoted> & "odd" name'
    assert force.getScaleParameterDefaultValue() == 1 / 3
    assert force.getNumEnergyParameterDerivatives() == 1
    assert force.getEnergyParameterDerivativeName(0) == force.getScaleParameter()
    assert force.getNumThreads() == 2
    assert force.getForceGroup() == 31
    assert force.getName() == "intramolecular"
    assert not force.usesPeriodicBoundaryConditions()
    assert force.getPotential().to_bytes() == ethanol()[0].to_bytes()


def test_properties_are_kept():
    check_full_force(full_force())


def test_defaults():
    force = KMLForce(ethanol()[0])
    assert force.getParticles() == ()
    assert force.getScaleParameter() == ""
    assert force.getScaleParameterDefaultValue() == 1.0
    assert force.getNumEnergyParameterDerivatives() == 0
    assert force.getNumThreads() is None
    assert force.getForceGroup() == 0
    assert force.getName() == "KMLForce"
    assert not force.usesPeriodicBoundaryConditions()


def test_properties_can_be_changed_back():
    force = full_force()
    force.setParticles([])
    force.setScaleParameter(None)
    force.setNumThreads(None)
    force.setUsesPeriodicBoundaryConditions(True)
    assert force.getParticles() == ()
    assert force.getScaleParameter() == ""
    assert force.getNumEnergyParameterDerivatives() == 0
    assert force.getNumThreads() is None
    assert force.usesPeriodicBoundaryConditions()


def test_a_path_serves_as_well_as_a_potential(tmp_path):
    path = tmp_path / "model.safetensors"
    save(MODELS["water-exchange"], path)
    for spelling in (path, str(path)):
        assert KMLForce(spelling).getPotential().to_bytes() == path.read_bytes()


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_start_at_one(threads):
    with pytest.raises(openmm.OpenMMException, match=f"at least 1; {threads} was given"):
        KMLForce(ethanol()[0], n_threads=threads)


def test_only_the_scale_parameter_has_a_derivative():
    force = KMLForce(ethanol()[0])
    with pytest.raises(openmm.OpenMMException, match="depends on no parameter"):
        force.addEnergyParameterDerivative("coupling")
    force.setScaleParameter("coupling")
    with pytest.raises(openmm.OpenMMException, match="'coupling' only; 'other' was given"):
        force.addEnergyParameterDerivative("other")
    with pytest.raises(openmm.OpenMMException, match="no energy parameter derivative 0"):
        force.getEnergyParameterDerivativeName(0)


def test_a_scale_that_is_not_finite_is_refused():
    with pytest.raises(openmm.OpenMMException, match="finite number"):
        KMLForce(ethanol()[0]).setScaleParameter("coupling", float("nan"))


# --- ownership


def test_a_system_takes_the_force_over():
    force = KMLForce(ethanol()[0])
    assert force.thisown
    system = openmm.System()
    system.addForce(force)
    assert not force.thisown
    force.setForceGroup(5)  # still the same object
    assert system.getForce(0).getForceGroup() == 5
    with pytest.raises(Exception, match="does not own"):
        openmm.System().addForce(force)


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="AddressSanitizer keeps freed memory for a while")
def test_a_forgotten_force_is_freed():
    def resident_pages():
        return int(Path("/proc/self/statm").read_text().split()[1])

    potential = potential_of("seventeen-atoms-odd-power")
    size = len(potential.to_bytes())
    for in_system in (False, True):
        for repetition in range(260):
            if repetition == 60:  # by then the allocator has what it needs
                before = resident_pages()
            force = KMLForce(potential)
            if in_system:
                openmm.System().addForce(force)
            del force
        gc.collect()
        assert (resident_pages() - before) * 4096 < 100 * size


def test_python_objects_are_not_kept_alive():
    force = KMLForce(ethanol()[0])
    reference = weakref.ref(force)
    del force
    gc.collect()
    assert reference() is None


def test_cast_gives_the_same_force_its_methods_back():
    system = system_with(full_force(), n_particles=9)
    plain = system.getForce(0)
    assert type(plain) is openmm.Force
    force = KMLForce.cast(plain)
    check_full_force(force)
    force.setParticles(range(9))
    assert KMLForce.cast(system.getForce(0)).getParticles() == tuple(range(9))
    del force, plain
    gc.collect()
    assert KMLForce.cast(system.getForce(0)).getParticles() == tuple(range(9))


@pytest.mark.parametrize("other", [openmm.HarmonicBondForce(), None, "KMLForce"], ids=["bonds", "None", "text"])
def test_cast_refuses_what_is_no_kml_force(other):
    with pytest.raises(TypeError, match="a KMLForce was expected"):
        KMLForce.cast(other)


# --- copies and the serialized form


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_stand_alone(duplicate):
    force = full_force()
    twin = duplicate(force)
    assert type(twin) is KMLForce
    assert twin.thisown
    force.setName("changed")
    del force
    gc.collect()
    check_full_force(twin)


def test_a_system_is_copied_with_its_model():
    system = copy.deepcopy(system_with(full_force(), n_particles=9))
    check_full_force(KMLForce.cast(system.getForce(0)))


def test_clone():
    check_full_force(KMLForce.cast(openmm.XmlSerializer.clone(full_force())))


def test_serialization_round_trip_gives_equal_bytes():
    text = serialized()
    again = openmm.XmlSerializer.deserialize(text)
    check_full_force(KMLForce.cast(again))
    assert openmm.XmlSerializer.serialize(again) == text


@pytest.mark.parametrize("model", MODELS)
def test_a_serialized_system_evaluates_the_same(model):
    potential = potential_of(model)
    n = len(potential.species)
    positions = np.random.default_rng(3).normal(0, 1.5, (n, 3))
    system = system_with(KMLForce(potential), n_particles=n)
    twin = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(system))
    energy, forces = energy_and_forces(context_for(system, positions))
    twin_energy, twin_forces = energy_and_forces(context_for(twin, positions))
    assert twin_energy == energy
    assert np.array_equal(twin_forces, forces)


@pytest.mark.parametrize("model", MODELS)
def test_the_stated_digest_and_text_are_those_of_the_weight_file(model):
    data = to_bytes(MODELS[model])
    text = openmm.XmlSerializer.serialize(KMLForce(potential_of(model)))
    assert re.search(r'sha256="(\w+)"', text).group(1) == hashlib.sha256(data).hexdigest()
    assert base64.b64decode(re.search(r'base64="(\S+)"', text).group(1)) == data


def property_changed(name, value):
    return lambda text: re.sub(rf'(\b{name}=)"[^"]*"', rf'\1"{value}"', text, count=1)


def property_removed(name):
    return lambda text: re.sub(rf'\s\b{name}="[^"]*"', "", text, count=1)


def element_removed(name):
    return lambda text: re.sub(rf"<{name}\b([^>]*/>|.*?</{name}>)", "", text, count=1, flags=re.DOTALL)


def model_letters_changed(change):
    return lambda text: re.sub(r'base64="([^"]*)"', lambda match: f'base64="{change(match.group(1))}"', text)


def with_other_model(data):
    """Replace the model by other bytes, with the size and digest that belong to them."""

    def change(text):
        text = property_changed("size", len(data))(text)
        text = property_changed("sha256", hashlib.sha256(data).hexdigest())(text)
        return property_changed("base64", base64.b64encode(data).decode())(text)

    return change


MALFORMED = {
    "version of the future": (
        lambda t: t.replace(' version="1"', ' version="4"'),
        r'version "4", this openmm_kml reads version 3',
    ),
    "no version": (lambda t: t.replace(' version="1"', ""), "has no 'version'"),
    "no model": (element_removed("Model"), "has no <Model> element"),
    "no particles element": (element_removed("Particles"), "has no <Particles> element"),
    "no text of the model": (property_removed("base64"), "has no 'base64'"),
    "no digest": (property_removed("sha256"), "has no 'sha256'"),
    "text of odd length": (model_letters_changed(lambda t: t[:-3]), "not a multiple of four"),
    "foreign letter": (model_letters_changed(lambda t: t[:8] + "*" + t[9:]), "letter 8 does not belong there"),
    "padding inside": (model_letters_changed(lambda t: "A===" + t[4:]), "letter 1 does not belong there"),
    "line break inside": (model_letters_changed(lambda t: t[:4] + "\n   " + t[8:]), "does not belong there"),
    "empty text": (model_letters_changed(lambda t: ""), "0 bytes of a model"),
    "truncated text": (model_letters_changed(lambda t: t[: len(t) // 8 * 4]), "it was cut"),
    "one letter changed": (
        model_letters_changed(lambda t: t[:400] + ("B" if t[400] != "B" else "C") + t[401:]),
        "another SHA-256 than it states",
    ),
    "wrong size": (property_changed("size", 12), "bytes of a model of 12"),
    "negative size": (property_changed("size", -1), 'size="-1" where a whole number'),
    "empty model": (with_other_model(b""), "the model cannot be read"),
    "other file": (with_other_model(b"PK\3\4 not a weight file"), "the model cannot be read"),
    "cut weight file": (with_other_model(to_bytes(MODELS["ethanol-matern52"])[:-8]), "the model cannot be read"),
    "negative particle": (property_changed("index", -4), 'index="-4" where a whole number from 0'),
    "huge particle": (property_changed("index", 10**12), 'index="1000000000000" where'),
    "particle in words": (property_changed("index", "four"), 'index="four" where'),
    "particle twice": (property_changed("index", 3), "particle 3 appears twice"),
    "particle missing": (element_removed("Particle"), "names 8 particles for a model of 9 atoms"),
    "force group": (property_changed("forceGroup", 32), 'forceGroup="32" where a whole number from 0 to 31'),
    "threads": (property_changed("numThreads", -3), 'numThreads="-3"'),
    "scale in words": (property_changed("default", "half"), 'default="half" where a number is expected'),
    "scale with a tail": (property_changed("default", "0.5x"), 'default="0.5x" where a number is expected'),
    "scale not finite": (property_changed("default", "nan"), 'default="nan" where a number is expected'),
    "derivative without name": (lambda t: re.sub(r'name="a [^>]*?name"', 'name=""', t), "depends on no parameter"),
    "handle": (lambda t: '<Force type="KMLForceHandle"/>', "cannot be read from XML"),
}


@pytest.mark.parametrize("sample", MALFORMED)
def test_malformed_xml_is_refused_in_one_sentence(sample):
    change, message = MALFORMED[sample]
    text = serialized()
    damaged = change(text)
    assert damaged != text
    with pytest.raises(openmm.OpenMMException, match=message) as caught:
        openmm.XmlSerializer.deserialize(damaged)
    assert "\n" not in str(caught.value)


def test_random_damage_is_refused_or_harmless():
    """Whatever is read after a few letters changed is a force that can be written again; the model never changes."""
    rng = np.random.default_rng(11)
    text = serialized()
    start = text.index("<Force ") + len("<Force ")
    letters = "0123456789-+.eE=/&;<> \"'aZ\x7f"
    n_refused = 0
    for _ in range(400):
        damaged = list(text)
        head = start + (text.index("base64") - start if rng.random() < 0.7 else len(text) - start)
        for position in rng.integers(start, head, rng.integers(1, 4)):
            damaged[position] = letters[rng.integers(len(letters))]
        try:
            force = KMLForce.cast(openmm.XmlSerializer.deserialize("".join(damaged)))
        except openmm.OpenMMException:
            n_refused += 1
        else:
            openmm.XmlSerializer.serialize(force)
            assert force.getPotential().to_bytes() == ethanol()[0].to_bytes()
    assert n_refused > 200


def test_particles_past_the_end_of_the_system_are_found_with_the_context():
    text = property_changed("index", 9)(serialized())
    system = system_with(openmm.XmlSerializer.deserialize(text), n_particles=9)
    with pytest.raises(openmm.OpenMMException, match="particle 9 does not exist; the System has 9 particles"):
        context_for(system, np.zeros((9, 3)))


# --- the library


@pytest.mark.parametrize("version", ["8.5.1", "8.7.0", "8.60.1", "9.6"])
def test_another_openmm_is_refused_before_the_library_is_loaded(version, monkeypatch):
    monkeypatch.setattr(openmm.version, "short_version", version)
    with pytest.raises(ImportError, match=rf"built for OpenMM 8\.6, OpenMM {version} is installed"):
        _openmm_library.check_version()
    touched = []
    monkeypatch.setattr(openmm.Platform, "loadPluginLibrary", touched.append)
    _openmm_library.load_library.cache_clear()
    with pytest.raises(ImportError, match="pip install"):
        load_plugin()
    assert not touched
    monkeypatch.undo()
    load_plugin()  # once more, as it was


def test_a_missing_library_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(_openmm_library, "LIBRARY", tmp_path / "libOpenMMKML.so")
    _openmm_library.load_library.cache_clear()
    with pytest.raises(ImportError, match=r"libOpenMMKML\.so"):
        load_plugin()
    monkeypatch.undo()
    load_plugin()


def test_a_function_table_of_another_version_is_refused():
    table = (ctypes.c_int * 64)(999)
    with pytest.raises(openmm.OpenMMException, match="version 999, version 3 is expected"):
        _openmm_library.load_library().set_engine(ctypes.addressof(table))
    context = context_for(system_with(KMLForce(ethanol()[0]), n_particles=9), ethanol()[1])
    assert np.isfinite(energy_and_forces(context)[0])  # the sound table stays


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=sys.prefix,  # not the checkout, whose package has no compiled parts
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_another_process_reads_the_system_and_outlives_its_context(tmp_path):
    system = system_with(KMLForce(ethanol()[0]), n_particles=9)
    positions = ethanol()[1]
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    np.save(tmp_path / "positions.npy", positions / 10)
    code = """
import sys, numpy, openmm, openmm_kml.interfaces.openmm
system = openmm.XmlSerializer.deserialize(open(sys.argv[1] + "/system.xml").read())
context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
context.setPositions(numpy.load(sys.argv[1] + "/positions.npy"))
print(context.getState(energy=True).getPotentialEnergy()._value.hex())
sys.kept = context  # destroyed with the interpreter, when this module is long gone
"""
    result = run_python(code, tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    expected = context_for(system, positions).getState(energy=True).getPotentialEnergy()._value
    assert float.fromhex(result.stdout) == pytest.approx(expected, rel=1e-14)


def test_a_missing_openmm_is_named():
    result = run_python("import sys; sys.modules['openmm'] = None; from openmm_kml import KMLForce")
    assert result.returncode == 1
    assert result.stderr.endswith(
        "ImportError: KMLForce needs OpenMM, which is not installed: pip install 'openmm>=8.6,<8.7'\n"
    )


def test_importing_the_package_does_not_import_openmm():
    result = run_python("import sys, openmm_kml; sys.exit('openmm' in sys.modules)")
    assert (result.returncode, result.stderr) == (0, "")
