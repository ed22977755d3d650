"""Converted GAP potentials against QUIP itself, on models made by its own `gap_fit` and on random ones.

These need the package quippy-ase; without it they are skipped.
"""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from gap_models import NEW, Descriptor, pair, soap, write_gap
from local_models import STRUCTURES, random_spline2
from nbody_cases import frames, labeled

from openmm_kml.convert import convert_gap
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import Weights, to_bytes

quippy = pytest.importorskip("quippy", reason="QUIP is not installed (pip install quippy-ase)")
ase = pytest.importorskip("ase")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SILICON, SILICA = (14,), (8, 14)
E0 = {8: -1.25, 14: -3.5}
SOME = ("distorted crystal", "one atom in a tiny cell", "vacancy")
PERIODIC = [name for name in STRUCTURES if name not in ("dimer", "trimer", "cluster", "wire without the other vectors")]
SOAP = (
    "soap n_max=4 l_max=4 cutoff=3.8 cutoff_transition_width=0.6 atom_sigma=0.5 delta=0.4 covariance_type=dot_product"
)
PAIR = "distance_2b cutoff=4.2 cutoff_transition_width=0.7 covariance_type=ard_se delta=1.0 theta_uniform=0.9"


def _atoms(positions, numbers, cell, pbc):
    return ase.Atoms(numbers, positions, cell=cell, pbc=pbc)


def quip(xml, atoms):
    """Return energy, forces and virial of an XML by QUIP, which finds sparse files only in the working directory."""
    from quippy.potential import Potential

    before = Path.cwd()
    os.chdir(xml.parent)
    try:
        atoms.calc = Potential("IP GAP", param_filename=xml.name)
        stress = atoms.get_stress(voigt=False) if atoms.pbc.any() and atoms.cell.rank == 3 else None
        return atoms.get_potential_energy(), atoms.get_forces(), stress
    finally:
        os.chdir(before)


def structures(elements):
    """Return name -> arguments of a structure: distorted, with a vacancy, triclinic, tiny, of several species."""
    rng = np.random.default_rng(3)
    table = {}
    for name in PERIODIC:
        positions, cell, pbc = STRUCTURES[name]
        table[name] = (positions, rng.choice(elements, len(positions)), cell, pbc)
    positions, numbers, cell, pbc = table["distorted crystal"]
    table["vacancy"] = (positions[1:], numbers[1:], cell, pbc)
    table["cluster in a box"] = (positions, numbers, 20 * np.eye(3), (True, True, True))
    return table


def assert_equal_to_quip(xml, elements, names=None):
    """Assert that energies, forces and stresses agree as docs/gap.md says, on all structures or on some."""
    potential = KernelPotential(to_bytes(convert_gap(xml, elements)))
    largest = 0.0
    table = structures(elements)
    for name in names or table:
        structure = table[name]
        positions, _, cell, _ = structure
        energy, forces, stress = quip(xml, _atoms(*structure))
        found, found_forces, virial = potential.evaluate(*structure)[:3]
        assert abs(found - energy) < 1e-9 * len(positions), name
        np.testing.assert_allclose(found_forces, forces, rtol=0, atol=1e-7, err_msg=name)
        if stress is not None:
            np.testing.assert_allclose(-virial / abs(np.linalg.det(cell)), stress, rtol=0, atol=1e-9, err_msg=name)
        largest = max(largest, np.abs(forces).max())
    assert largest > 0.1


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return elements -> an extended XYZ file of structures labeled by a random pair potential."""
    paths = {}
    for elements in (SILICON, SILICA):
        rng = np.random.default_rng(7)
        energies = {z: E0[z] for z in elements}
        terms = (random_spline2(len(elements), rng, 1.2, 4.4, 8),)
        model = Weights(elements=elements, terms=terms, atom_energies=energies)
        images = []
        for frame in labeled(frames(1, 8, numbers=(elements * 8)[:8]), model):
            atoms = _atoms(frame.positions, frame.numbers, frame.cell, frame.pbc)
            atoms.info |= {"e": frame.energy, "v": frame.virial}
            atoms.arrays["f"] = frame.forces
            images.append(atoms)
        paths[elements] = tmp_path_factory.mktemp("data") / "data.xyz"
        from ase.io import write

        write(paths[elements], images)
    return paths


def gap_fit(folder, data, elements, descriptors):
    """Return the XML that gap_fit makes of some descriptors."""
    command = [
        str(Path(quippy.__file__).parent / "gap_fit"),
        f"at_file={data}",
        f"gap={{{' : '.join(descriptors)}}}",
        "default_sigma={0.001 0.05 0.05 0}",
        "energy_parameter_name=e force_parameter_name=f virial_parameter_name=v",
        f"e0={{{':'.join(f'{symbol}:{E0[z]}' for z, symbol in ((8, 'O'), (14, 'Si')) if z in elements)}}}",
        "sparse_jitter=1e-8 rnd_seed=1 do_copy_at_file=F sparse_separate_file=T gp_file=gap.xml",
    ]
    words = [word for part in command for word in ([part] if "{" in part else part.split())]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (folder / "gap.xml").is_file(), done.stdout[-2000:] + done.stderr[-2000:]
    return folder / "gap.xml"


FITS = {
    "one element, zeta 4": (SILICON, 4),
    "one element, zeta 2": (SILICON, 2),
    "two elements, zeta 4": (SILICA, 4),
    "two elements, zeta 2": (SILICA, 2),
}


@pytest.mark.parametrize("case", FITS)
def test_models_of_gap_fit_are_equal_to_quip(tmp_path, data, case):
    elements, zeta = FITS[case]
    descriptors = [
        f"{SOAP} zeta={zeta} n_sparse=20 sparse_method=cur_points",
        f"{PAIR} n_sparse=10 sparse_method=uniform",
    ]
    xml = gap_fit(tmp_path, data[elements], elements, descriptors)
    assert_equal_to_quip(xml, elements)


def _random(version=NEW, zeta=4.0, **options):
    return [soap(np.random.default_rng(z), version, zeta=zeta, species=SILICA, center=z, **options) for z in SILICA]


RANDOM = {
    "zeta 2.5": {"zeta": 2.5},
    "offset": {"sigma0": 0.2, "zeta": 3.0},
    "not normalised": {"normalise": "F", "zeta": 1.0},
    "decay": {"central_weight": 0.5, "cutoff_dexp": 4, "cutoff_scale": 2.5},
    "decay without rate": {"cutoff_dexp": 2, "cutoff_scale": 2.5, "cutoff_rate": 0},
    "2015": {"version": 1425000000},
    "2014": {"version": 1400000000},
    "before versions": {"version": 0},
    "means": {"mean": 0.5},
    "a long tail of the basis": {"basis_error_exponent": 6, "n_max": 5},
}


@pytest.mark.parametrize("case", RANDOM)
def test_random_models_of_every_age_are_equal_to_quip(tmp_path, case):
    options = RANDOM[case]
    xml = write_gap(tmp_path, _random(**options), E0, options.get("version", NEW) or None)
    assert_equal_to_quip(xml, SILICA, SOME)


@pytest.mark.parametrize("form", ["text", "slices"])
def test_sparse_points_inside_the_xml_are_read_as_quip_does(tmp_path, form):
    xml = write_gap(tmp_path, [*_random(), pair(np.random.default_rng(9), 8, 14)], E0, form=form)
    assert_equal_to_quip(xml, SILICA, SOME)


def test_e0_for_all_elements_is_read_as_quip_does(tmp_path):
    xml = write_gap(tmp_path, _random(), {14: -7.0}, data='do_core="F" e0="-2.5"')
    assert_equal_to_quip(xml, SILICA, SOME)


def test_pairs_that_add_up_are_equal_to_quip(tmp_path):
    rng = np.random.default_rng(9)
    pairs = [pair(rng, 8, 14), pair(rng, 14, 14, mean=0.3), pair(rng, 8, 0), pair(rng, 0, 0, cutoff=3.1)]
    assert_equal_to_quip(write_gap(tmp_path, pairs, E0), SILICA)


BASE = "soap cutoff=3.8 atom_sigma=0.5 n_max=4 n_species=2"
VECTORS = {
    "polynomials": "l_max=3 species_Z={8 14} radial_basis=POLY",
    "Gaussian-type orbitals": "l_max=3 species_Z={8 14} radial_basis=GTO",
    "diagonal": "l_max=3 species_Z={8 14} diagonal_radial=T",
    "diagonal, not normalised": "l_max=3 species_Z={8 14} diagonal_radial=T normalise=F",
    "one center": "l_max=3 species_Z={8 14} Z=8",
    "two centers": "l_max=3 species_Z={8 14} n_Z=2 Z={8 14}",
    "center in all channels": "l_max=3 species_Z={8 14} central_reference_all_species=T",
    "center in its own channel": "l_max=3 species_Z={8 14} central_reference_all_species=F",
    "another order of species": "l_max=3 species_Z={14 8}",
    "upper case": "L_MAX=2 SPECIES_Z={8 14} NORMALISE=F",
    "only l = 0": "l_max=0 species_Z={8 14}",
}


@pytest.mark.parametrize("case", VECTORS)
def test_vectors_of_other_options_are_those_of_quip(tmp_path, case):
    """A model whose sparse points are QUIP's own vectors at some atoms has energies that depend on every entry."""
    from quippy.descriptors import Descriptor as QuipDescriptor

    text = f"{BASE} {VECTORS[case]}"
    vectors = [QuipDescriptor(text).calc_descriptor(_atoms(*structure)) for structure in structures(SILICA).values()]
    vectors = np.concatenate([part for part in vectors if part.size])
    rng = np.random.default_rng(5)
    points = vectors[rng.permutation(len(vectors))[:6]]
    alpha = rng.normal(size=len(points)) / np.linalg.norm(points[0]) ** 4
    xml = write_gap(tmp_path, [Descriptor(text, points, alpha, zeta=2.0)], E0)
    assert_equal_to_quip(xml, SILICA, SOME)
