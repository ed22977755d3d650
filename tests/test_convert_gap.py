"""GAP potentials of QUIP, converted: against the formulas, over the ages of the format, and from hostile hands."""

import json

import numpy as np
import pytest
from gap_models import NEW, Descriptor, gap_energy, pair, pair_energy, soap, soap_text, write_gap
from local_models import STRUCTURES

from openmm_kml.cli import main
from openmm_kml.convert import convert_gap
from openmm_kml.convert.gap_numbers import read_float
from openmm_kml.errors import DataError
from openmm_kml.potential import KernelPotential
from openmm_kml.weights import load, save, to_bytes

E0 = {8: -1.25, 14: -3.5}
SILICA = (8, 14)
STRUCTURE_NAMES = (
    "distorted crystal",
    "triclinic cell, atoms outside",
    "two atoms in a primitive cell",
    "one atom in a tiny cell",
    "cluster",
)


def _rng(seed=0):
    return np.random.default_rng(seed)


def _both(**options):
    """Return soap descriptors around both elements of silica."""
    return [soap(_rng(z), species=SILICA, center=z, **options) for z in SILICA]


def _silica_pairs():
    rng = _rng(9)
    return [pair(rng, 8, 14), pair(rng, 8, 8, mean=0.3), pair(rng, 0, 0, cutoff=3.1), pair(rng, 14, 0, width=0.4)]


CASES = {
    "one element": (lambda: [soap(_rng(), species=(14,), center=14)], NEW),
    "any element in one channel": (lambda: [soap(_rng())], NEW),
    "pairs alone": (_silica_pairs, NEW),
    "two elements with pairs, zeta 2": (lambda: _both(zeta=2.0) + _silica_pairs(), NEW),
    "zeta 2.5": (lambda: _both(zeta=2.5), NEW),
    "mean of a soap counts nothing": (lambda: _both(mean=0.5), NEW),
    "offset sigma0": (lambda: _both(zeta=3.0, sigma0=0.2), NEW),
    "not normalised": (lambda: _both(zeta=1.0, normalise="F"), NEW),
    "central weight and decay": (lambda: _both(central_weight=0.4, cutoff_dexp=4, cutoff_scale=2.5), NEW),
    "decay without rate": (lambda: _both(cutoff_dexp=2, cutoff_scale=2.5, cutoff_rate=0), NEW),
    "another error of the basis": (lambda: _both(basis_error_exponent=6), NEW),
    "center in all channels, 2015": (lambda: _both(version=1425000000), 1425000000),
    "without angular weights, 2014": (lambda: _both(version=1400000000), 1400000000),
    "no version at all": (lambda: _both(version=0), None),
    "an element that is no neighbor": (lambda: [soap(_rng(), species=(14,), center=8), pair(_rng(), 8, 14)], NEW),
}


@pytest.mark.parametrize("case", CASES)
def test_energy_is_that_of_the_formulas(tmp_path, case):
    make, version = CASES[case]
    descriptors = make()
    weights = convert_gap(write_gap(tmp_path, descriptors, E0, version), elements=SILICA)
    potential = KernelPotential(saved(weights, tmp_path))
    for name in STRUCTURE_NAMES:
        positions, cell, pbc = STRUCTURES[name]
        numbers = np.array(SILICA)[np.arange(len(positions)) * 3 // 2 % 2]
        expected = gap_energy(descriptors, E0.get, version or 0, positions, numbers, cell, pbc)
        assert abs(potential.evaluate(positions, numbers, cell, pbc).energy - expected) < 1e-9 * len(positions), name


def saved(weights, tmp_path):
    """Return the bytes of the weight file, which read back gives the same bytes."""
    save(weights, tmp_path / "m.safetensors")
    assert to_bytes(load(tmp_path / "m.safetensors")) == to_bytes(weights)
    return to_bytes(weights)


@pytest.mark.parametrize("form", ["text", "slices"])
def test_sparse_points_inside_the_xml_are_those_of_files(tmp_path, form):
    descriptors = [*_both(), pair(_rng(), 8, 14)]
    path = write_gap(tmp_path, descriptors, E0)
    expected = convert_gap(path)
    for file in tmp_path.glob("*sparseX*"):
        file.unlink()
    weights = convert_gap(write_gap(tmp_path, descriptors, E0, form=form))
    for one, other in zip(weights.terms, expected.terms, strict=True):
        np.testing.assert_allclose(one.coefficients, other.coefficients, rtol=1e-15, atol=1e-15)
        if one.kind == "soap":
            np.testing.assert_array_equal(one.sparse_points, other.sparse_points)
            assert one.zeta == other.zeta == 4.0


def test_one_body_energies_stand_for_all_or_for_one_element(tmp_path):
    path = write_gap(tmp_path, _both(), {14: -7.0}, data='do_core="F" e0="-2.5D+000"')
    assert convert_gap(path).atom_energies == {8: -2.5, 14: -7.0}


def test_provenance_says_where_the_model_comes_from(tmp_path):
    weights = convert_gap(write_gap(tmp_path, [*_both(), pair(_rng())], E0))
    source = weights.provenance["converted_from"]
    assert (source["format"], source["label"], source["gap_version"]) == ("GAP", "GAP_T", NEW)
    assert source["command_line"] == "at_file=x.xyz gap={a < b}"
    assert source["pair_error"]["energy"] < 1e-11
    assert source["file_digest"].startswith("sha256:")


def test_training_data_inside_the_xml_are_passed_over(tmp_path):
    path = write_gap(tmp_path, _both(), E0)
    expected = to_bytes(convert_gap(path))
    lines = "Si 1.0 2.0 3.0\n" * 100_000 + "x" * 2_000_000
    _edit(path, "</GAP_params>", f"<XYZ_data><![CDATA[{lines}]]></XYZ_data></GAP_params>")
    weights = convert_gap(path)
    assert weights.provenance["converted_from"]["command_line"] == "at_file=x.xyz gap={a < b}"
    assert len(to_bytes(weights)) == len(expected)  # only the digest of the XML differs


def test_numbers_of_fortran_are_read():
    texts = (".5", "-1.", "+2.5E-003", "1.5D+01", "0.25d2", "0.5-101", "1.0+002", "7")
    values = (0.5, -1.0, 2.5e-3, 15.0, 25.0, 0.5e-101, 100.0, 7.0)
    assert [read_float("x", text) for text in texts] == list(values)


# --- pairs


PAIRS = {
    "as usual": {},
    "over all distances": {"cutoff": 3.5, "width": 3.5},
    "wider than the cutoff": {"cutoff": 3.0, "width": 4.0},
    "nearly over all distances": {"cutoff": 3.0, "width": 2.9995},
    "narrow": {"cutoff": 5.0, "width": 0.25},
}


@pytest.mark.parametrize("case", PAIRS)
def test_pair_energies_are_exact_across_the_jumps_of_curvature(tmp_path, case):
    descriptor = pair(_rng(), **PAIRS[case])
    weights = convert_gap(write_gap(tmp_path, [descriptor]))
    options = {"cutoff": 3.9, "width": 0.7} | PAIRS[case]
    ends = np.array([options["cutoff"], max(options["cutoff"] - options["width"], 0.2)])
    near = np.geomspace(1e-9, 1e-2, 40)
    r = np.concatenate(
        [np.linspace(0.05, 1.01 * ends[0], 400), *(end + sign * near for end in ends for sign in (-1, 1))]
    )
    # The fourth-order difference of the formula is off by 1e-8 where its stencil meets a jump, so slopes are compared
    # away from those, and across them the slope must not change by more than the curvature allows.
    potential = KernelPotential(to_bytes(weights))
    energies, forces = [], []
    for distance in r:
        positions = np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]])
        result = potential.evaluate(positions, [14, 14])
        energies.append(result.energy)
        forces.append(result.forces[1, 0])
    assert np.abs(energies - pair_energy(descriptor, r)).max() < 1e-10
    step = 1e-3
    difference = sum(w * pair_energy(descriptor, r + k * step) for w, k in ((8, 1), (-8, -1), (-1, 2), (1, -2)))
    smooth = (np.abs(r[:, None] - ends) > 2.5 * step).all(axis=1)
    np.testing.assert_allclose(np.array(forces)[smooth], -difference[smooth] / (12 * step), atol=2e-8)
    order = np.argsort(r)
    curvature = np.abs(pair_energy(descriptor, np.linspace(0.05, ends[0], 500))).max() * (np.pi / options["width"]) ** 2
    assert np.abs(np.diff(np.array(forces)[order])).max() < (3 * curvature + 100) * np.diff(r[order]).max()


def test_beyond_the_cutoff_there_is_no_energy(tmp_path):
    weights = convert_gap(write_gap(tmp_path, [pair(_rng())]))
    potential = KernelPotential(to_bytes(weights))
    for distance in np.linspace(3.9 + 1e-12, 3.91, 50):
        result = potential.evaluate(np.array([[0.0, 0.0, 0.0], [distance, 0.0, 0.0]]), [14, 14])
        assert abs(result.energy) < 1e-15
        assert np.abs(result.forces).max() < 1e-12


# --- what is refused


def _wrong(text, **changes):
    return [Descriptor(text, np.ones((2, 20)), np.ones(2), zeta=2.0, attributes=changes)]


def _one(**options):
    return lambda: [soap(_rng(), **options)]


def _soap_with(**options):
    return lambda: _wrong(soap_text(**options))


REFUSED = {
    "another descriptor": (lambda: _wrong("soap_turbo l_max=8"), {}, "is of kind 'soap_turbo', which cannot be"),
    "three bodies": (lambda: _wrong("angle_3b cutoff=3"), {}, "--skip angle_3b converts the rest without it"),
    "average": (_soap_with(average="T"), {}, "average='T'; this option is not supported"),
    "compression": (_soap_with(nu_R=1), {}, "nu_r='1'; this option is not supported"),
    "mixing": (_soap_with(R_mix="T", K=5), {}, "r_mix='T'; this option"),
    "Z_map": (_soap_with(Z_map="{8,14:8}"), {}, "z_map='8,14:8'; this option"),
    "coupling": (_soap_with(coupling="F"), {}, "coupling='F'; this option"),
    "unknown option": (_soap_with(frobnicate=3), {}, "has the option frobnicate='3', which is not known"),
    "species without their number": (_soap_with(species_Z="{8 14}"), {}, "QUIP needs n_species with it"),
    "species of another number": (_soap_with(n_species=3, species_Z="{8 14}"), {}, "3 different atomic numbers"),
    "species twice": (_soap_with(n_species=2, species_Z="{14 14}"), {}, "2 different atomic numbers"),
    "centers of another number": (_soap_with(Z="{8 14}"), {}, "2 and n_z elements do not agree"),
    "no cutoff": (lambda: _wrong("soap n_max=3 l_max=2 atom_sigma=0.5"), {}, "has no option 'cutoff'"),
    "no sensible cutoff": (_soap_with(cutoff=-1), {}, "cannot be converted: .*cutoff"),
    "far too large l_max": (_soap_with(l_max=10**9), {}, "l_max of .* is '1000000000'; a whole number from 0 to 20"),
    "no number": (_soap_with(n_max="many"), {}, "n_max of .* is 'many'; a whole number"),
    "no truth": (_soap_with(normalise="maybe"), {}, "normalise of .* is 'maybe'; T or F"),
    "another basis": (_soap_with(radial_basis="LEGENDRE"), {}, "EQUISPACED_GAUSS, POLY or GTO is expected"),
    "options twice": (lambda: _wrong(soap_text() + " l_max=3"), {}, "gives the option 'l_max' twice"),
    "braces left open": (lambda: _wrong(soap_text() + " Z={14"), {}, "cannot be understood from '={14' on"),
    "no text": (lambda: _wrong(""), {}, "the kind of the descriptor is expected first"),
    "another dimension": (_soap_with(), {}, "have 20 entries; by its options they have 19"),
    "a soap of the wrong kernel": (
        lambda: _wrong(soap_text(), covariance_type=1, zeta=None),
        {"form": "slices"},
        "theta .* holds 1 numbers; 20 are expected",
    ),
    "an unknown kernel": (lambda: _wrong(soap_text(), covariance_type=4), {}, "covariance_type 4; for a soap"),
    "a pair of the wrong kernel": (lambda: _wrong("distance_2b cutoff=4"), {}, "covariance_type 2 in 20 dimensions"),
    "exponents": (lambda: [_pair_with("n_exponents=2")], {}, "n_exponents='2'; this option is not"),
    "tails": (lambda: [_pair_with("tail_exponent=-6")], {}, "tail_exponent='-6'; this option is not"),
    "molecules": (lambda: [_pair_with("resid_name=res only_inter=T")], {}, "resid_name='res'; this option"),
    "no transition": (lambda: [pair(_rng(), width=0)], {}, "transition width 0 Å"),
    "a pair too far": (lambda: [pair(_rng(), cutoff=1e6)], {}, "a cutoff above zero and below 100 Å"),
    "a step": (lambda: [pair(_rng(), width=1e-7)], {}, "transition width 1e-07 Å .* the others at least 0.002 of it"),
    "a needle": (lambda: [pair(_rng(), theta=1e-200)], {}, "theta 1e-200 Å; .* the others at least 0.002 of it"),
    "far too much energy": (
        lambda: [Descriptor("distance_2b cutoff=4", np.ones((2, 1)), np.full(2, 1e300), theta=1.0)],
        {},
        "coefficients of 9.8e.299 eV in all, which no potential has",
    ),
    "permutations": (lambda: _wrong(soap_text(), n_permutations=2), {}, "n_permutations .* is 2; more than 1"),
    "not sparsified": (lambda: _wrong(soap_text(), sparsified="F"), {}, "is not sparsified"),
    "no delta": (lambda: _wrong(soap_text(), signal_variance=None), {}, "lacks the attribute 'signal_variance'"),
    "not a number": (lambda: _wrong(soap_text(), signal_variance="nan"), {}, "is 'nan'; a finite number is expected"),
    "too large a number": (lambda: _wrong(soap_text(), zeta="1e999"), {}, "is '1e999'; a finite number"),
    "no power": (lambda: _wrong(soap_text(), zeta=None), {}, "neither the attribute 'zeta' nor"),
    "a core": (_one(species=(14,)), {"data": 'do_core="T"'}, r"\(do_core\).*--skip core converts"),
    "a sum": (
        _one(species=(14,)),
        {"potential": "Sum init_args_pot1={IP Glue} init_args_pot2={IP GAP label=GAP_T}"},
        "adds the potential 'Glue' to its GAP, .*--skip Glue",
    ),
    "two of them": (
        _one(species=(14,)),
        {"potential": "Sum init_args_pot1={IP GAP label=GAP_A} init_args_pot2={IP GAP label=GAP_B}"},
        "adds up several GAP",
    ),
    "a scale": (_one(species=(14,)), {"potential": "IP GAP label=GAP_T E_scale=2.0"}, "the option 'E_scale=2.0'"),
    "no element at all": (_one(), {}, "its descriptors name none; say which ones .* --elements Si"),
    "nothing": (list, {}, "its descriptors name none"),
}


def _pair_with(option):
    descriptor = pair(_rng())
    descriptor.text += " " + option
    return descriptor


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(tmp_path, case):
    make, options, message = REFUSED[case]
    path = write_gap(tmp_path, make(), E0, **options)
    with pytest.raises(DataError, match=message) as error:
        convert_gap(path, elements=() if "name none" in message else (14,))
    assert "gap.xml" in str(error.value)


def test_parts_are_left_out_only_when_asked(tmp_path):
    sum_of_two = "Sum init_args_pot1={IP Glue} init_args_pot2={IP GAP label=GAP_T}"
    own = soap(_rng(), species=(14,), center=14)
    strange = Descriptor("angle_3b cutoff=3 Z=14", np.ones((2, 3)), np.ones(2), theta=1.0, attributes={"dimensions": 3})
    strange.attributes = {"covariance_type": 2, "zeta": 1}
    strange.theta = None
    path = write_gap(tmp_path, [own, strange], E0, potential=sum_of_two, data='do_core="T"')
    weights = convert_gap(path, skip=["Glue", "angle_3b"])
    assert len(weights.terms) == 1
    assert weights.provenance["converted_from"]["skipped"] == ["Glue", "angle_3b"]
    with pytest.raises(DataError, match="nothing called 'gleu' that could be skipped"):
        convert_gap(path, skip=["Glue", "angle_3b", "gleu"])
    with pytest.raises(DataError, match=r"no descriptor that is left|descriptors name none"):
        convert_gap(path, skip=["Glue", "angle_3b", "soap"])


# --- hostile and damaged files


@pytest.fixture
def good(tmp_path):
    return write_gap(tmp_path, [soap(_rng(), species=(14,), center=14)], E0)


def _edit(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


BOMB = '<!DOCTYPE b [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>\n'
EDITS = {
    "entities": ("<GAP_T>", BOMB + "<GAP_T>&b;", "declares a document type or entities"),
    "a file from outside": (
        "<GAP_T>",
        '<!DOCTYPE b [<!ENTITY x SYSTEM "file:///etc/passwd">]><GAP_T>&x;',
        "declares a document type or entities",
    ),
    "an undeclared entity": ("<GAP_T>", "<GAP_T>&x;", "is not whole XML: undefined entity"),
    "deep nesting": ("<GAP_T>", "<GAP_T>" + "<a>" * 100_000, "more than 64 elements inside each other"),
    "a huge tag": ("<GAP_T>", f'<GAP_T><a b="{"x" * 3_000_000}"/>', "a tag is longer than 1048576 bytes"),
    "many sparse points": ('n_sparseX="5"', 'n_sparseX="999999"', "too few for the 999999 sparse points|holds 5 elem"),
    "too many sparse points": ('n_sparseX="5"', f'n_sparseX="{10**12}"', "a whole number from 1 to 1000000"),
    "a huge dimension": ('dimensions="19"', 'dimensions="1000000"', "bytes, too few for the 5 sparse points"),
    "an absurd dimension": ('dimensions="19"', 'dimensions="99999999999999999999"', "a whole number from 1 to 1048577"),
    "a dimension below zero": ('dimensions="19"', 'dimensions="-19"', "a whole number from 1"),
    "fewer elements": ('<sparseX i="3"', '<sparseY i="3"', "holds 4 elements 'sparseX'; its n_sparseX is 5"),
    "an element twice": ('<sparseX i="3"', '<sparseX i="2"', "has the number 2 twice"),
    "an element too far": ('<sparseX i="3"', '<sparseX i="6"', "a whole number from 1 to 5"),
    "a file elsewhere": ('sparseX_filename="', 'sparseX_filename="../', "only a file beside the XML is read"),
    "an absolute file": ('sparseX_filename="', 'sparseX_filename="/etc/', "only a file beside the XML is read"),
    "a file of Windows": ('sparseX_filename="', 'sparseX_filename="c:\\', "only a file beside the XML is read"),
    "no such file": ('sparseX_filename="', 'sparseX_filename="no', "which is not beside it; copy it there"),
    "no file name": ('sparseX_filename="gap.xml.sparseX.GAP_T1"', 'sparseX_filename=""', "only a file beside the XML"),
    "another check sum": ('sparseX_md5sum="', 'sparseX_md5sum="0', "has the md5 sum .* it belongs to another fit"),
    "no GAP_params": ("GAP_params", "GAP_parameters", "is not whole XML: mismatched tag|no element GAP_params"),
    "two GAP_params": ("</GAP_params>", '</GAP_params><GAP_params label="b"/>', "holds two GAP_params"),
    "a long descriptor": ("<descriptor>", "<descriptor>" + " " * 100_000, "holds more text than it can need"),
    "no descriptor": ("descriptor>", "describer>", "lacks the element 'descriptor'"),
}


@pytest.mark.parametrize("case", EDITS)
def test_hostile_xml_is_refused(good, case):
    old, new, message = EDITS[case]
    _edit(good, old, new, count=2 if old in ("GAP_params", "descriptor>") else 1)
    if case == "no GAP_params":
        good.write_text("<a><b/></a>")
    with pytest.raises(DataError, match=message):
        convert_gap(good)


SPARSE = {
    "short": (lambda data: data[: data.rindex(b"\n", 0, -1)], "holds 94 numbers; the XML says 95"),
    "long": (lambda data: data + b"1.0\n", "holds more than 95 numbers"),
    "empty": (lambda data: b"", "has 0 bytes, too few"),
    "text": (lambda data: data + b"one\n", "holds text that is not a number|more than 95 numbers"),
    "text inside": (lambda data: b"one " + data, "holds text that is not a number"),
    "not finite": (lambda data: data.replace(data.split()[7], b"nan", 1), "holds numbers that are not finite"),
    "binary": (lambda data: bytes(range(256)) * 20, "holds text that is not a number"),
}


@pytest.mark.parametrize("case", SPARSE)
def test_damaged_sparse_files_are_refused(good, case):
    change, message = SPARSE[case]
    sparse = next(good.parent.glob("*sparseX*"))
    sparse.write_bytes(change(sparse.read_bytes()))
    _edit(good, "sparseX_md5sum", "was_md5sum")
    with pytest.raises(DataError, match=message):
        convert_gap(good)


def test_missing_sparse_file_is_named(good):
    next(good.parent.glob("*sparseX*")).unlink()
    with pytest.raises(DataError, match=r"names the sparse file 'gap.xml.sparseX.GAP_T1', which is not beside it"):
        convert_gap(good)


def test_truncated_and_flipped_xml_is_refused_or_read(good):
    data = good.read_bytes()
    for size in range(0, len(data) - 20, 211):
        good.write_bytes(data[:size])
        with pytest.raises(DataError):
            convert_gap(good)
    rng = _rng()
    for place in rng.integers(0, len(data), 150):
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(rng.integers(8))
        good.write_bytes(flipped)
        try:
            to_bytes(convert_gap(good))
        except DataError:
            continue


# --- the command


def test_command_converts_and_reports(tmp_path, capsys):
    path = write_gap(tmp_path, [*_both(), *_silica_pairs()], E0)
    model, report = tmp_path / "m.safetensors", tmp_path / "r.json"
    assert main(["convert", str(path), str(model), "--json", str(report)]) == 0
    out = capsys.readouterr().out
    assert "GAP potential of O Si" in out
    assert "soap around Si: 5 sparse points, n_max 3, l_max 2, zeta 4, cutoff 3.6 Å" in out
    assert "pair energies as splines, within" in out
    assert json.loads(report.read_text())["elements"] == ["O", "Si"]
    assert main(["info", str(model)]) == 0
    assert "converted from  GAP" in capsys.readouterr().out


def test_command_asks_for_elements_and_warns_of_what_it_skips(tmp_path, capsys):
    path = write_gap(tmp_path, [soap(_rng())], E0, data='do_core="T"')
    model = str(tmp_path / "m.safetensors")
    assert main(["convert", str(path), model, "--skip", "core"]) == 2
    assert "--elements Si" in capsys.readouterr().err
    assert main(["convert", str(path), model, "--skip", "core", "--elements", "Si,O"]) == 0
    assert "warning: core was left out" in capsys.readouterr().err
    assert [int(z) for z in load(model).elements] == [8, 14]
    assert main(["convert", str(path), model, "--elements", "Sillicon"]) == 2
    assert "Sillicon was given" in capsys.readouterr().err
    assert main(["convert", str(path), model, "--energy-unit", "eV"]) == 2
    assert "--energy-unit has no meaning here" in capsys.readouterr().err


def test_command_warns_of_pairs_that_vary_too_fast(tmp_path, capsys):
    path = write_gap(tmp_path, [pair(_rng(), width=0.03)], E0)
    assert main(["convert", str(path), str(tmp_path / "m.safetensors")]) == 0
    assert "vary too fast to be kept exactly" in capsys.readouterr().err
