"""GAP potentials of QUIP (XML with files of sparse points) as weight files.

Bartók, Payne, Kondor and Csányi, Phys. Rev. Lett. 104, 136403 (2010); Bartók and Csányi, Int. J. Quantum Chem. 115,
1051 (2015). A model is a sum over descriptors, each with a sparse Gaussian process of its own, and one-body energies.
What is converted, and how exactly, is in docs/gap.md; everything else is refused by name.
"""

from openmm_kml import __version__
from openmm_kml.convert import gap_pair, gap_soap
from openmm_kml.convert.gap_numbers import shortened
from openmm_kml.convert.gap_text import MAX_ELEMENT, Skip, check_potentials, read_words
from openmm_kml.convert.gap_xml import read_gap
from openmm_kml.errors import DataError
from openmm_kml.weights import Weights

_KINDS = {"soap": gap_soap, "distance_2b": gap_pair}


def convert_gap(path, elements=(), skip=()):
    """Return the `Weights` of a GAP potential.

    Parameters
    ----------
    path : path-like
        The XML; its files of sparse points are read from the same directory.
    elements : iterable of int, optional
        Atomic numbers that the model shall know besides those that its descriptors name. Needed where they name none.
    skip : iterable of str, optional
        Names of what may be left out because it cannot be converted, as the errors call it: potentials of a sum
        ("Glue"), "core", kinds of descriptors ("angle_3b"), unknown options.

    Returns
    -------
    Weights
        In eV and Å; the provenance says what was left out, and how exactly pair energies are kept.

    Raises
    ------
    DataError
        If the file is damaged or holds something that cannot be converted and is not in `skip`; the message names it.
    OSError
        If a file cannot be read.
    """
    file, skip = read_gap(path), Skip(skip)
    check_potentials(file, skip)
    parts = []
    for number, coordinates in enumerate(file.coordinates, 1):
        words = read_words(f"{file.path}: descriptor {number}", coordinates.text)
        if _wanted(words, skip):
            _KINDS[words.kind].check(words, coordinates, skip)
            parts.append((words, coordinates))
    skip.check_all_met(file.path)
    elements = _elements(file, parts, elements)
    terms, errors = _terms(parts, file.version, elements)
    if not terms:
        raise DataError(f"{file.path} has no descriptor that is left to convert")
    return Weights(
        elements=elements,
        terms=tuple(terms),
        atom_energies={z: file.atom_energies.get(z, file.e0) for z in elements},
        provenance=_provenance(file, skip, errors),
    )


def _wanted(words, skip):
    """Return whether a descriptor is to be converted; raise `DataError` if it can be neither converted nor skipped."""
    if words.kind in _KINDS:
        return not skip.asked(words.kind)
    skip.check(words.kind, f"{words.where} is of kind {shortened(words.kind)}, which cannot be converted")
    return False


def _terms(parts, version, elements):
    """Return the terms, and how exactly pairs are kept."""
    terms = [gap_soap.soap_term(*part, version, elements) for part in parts if part[0].kind == "soap"]
    terms, errors = [term for term in terms if term is not None], {}
    pairs = [gap_pair.pair_function(*part) for part in parts if part[0].kind == "distance_2b"]
    pairs = [f for f in pairs if any(f.holds(a, b) for a in elements for b in elements)]
    if pairs:
        found, errors["pair_error"] = gap_pair.pair_terms(pairs, elements)
        terms += found
    return terms, errors


def _elements(file, parts, given):
    """Return the atomic numbers of the model, ascending."""
    numbers = {int(z) for z in given}
    for words, _ in parts:
        numbers |= _KINDS[words.kind].named_elements(words)
    if not numbers:
        raise DataError(
            f"{file.path} is for any element: its descriptors name none; say which ones are meant, for example with "
            "--elements Si"
        )
    if not numbers <= set(range(1, MAX_ELEMENT + 1)):
        raise DataError(f"the elements {sorted(numbers)} are not all atomic numbers from 1 to {MAX_ELEMENT}")
    return sorted(numbers)


def _provenance(file, skip, errors):
    source = {"format": "GAP", "label": file.label, "gap_version": file.version, "file_digest": file.digest}
    if file.command_line:
        source["command_line"] = file.command_line
    if skip.met:
        source["skipped"] = sorted(skip.names[name] for name in skip.met)
    return {"program": f"openmm_kml {__version__}", "converted_from": source | errors}
