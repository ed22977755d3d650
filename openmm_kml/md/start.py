"""Atoms and positions to start from."""

import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from openmm_kml.bonds import bonds_from_positions
from openmm_kml.elements import formula
from openmm_kml.errors import DataError

_OPENMM_READERS = {".pdb": app.PDBFile, ".cif": app.PDBxFile, ".pdbx": app.PDBxFile}


@dataclass(frozen=True)
class Start:
    """A molecule, or atoms in a periodic box, to start from.

    Attributes
    ----------
    numbers : ndarray of int, shape (n,)
    positions : ndarray of shape (n, 3), Å
    bonds : list of (int, int)
        Pairs i < j, found by distance; none for a model of any structure.
    topology : openmm.app.Topology
    box : ndarray of shape (3, 3), Å, optional
        Box vectors in OpenMM's form; None without periodicity, and for a model of one molecule.
    """

    numbers: np.ndarray
    positions: np.ndarray
    bonds: list
    topology: app.Topology
    box: np.ndarray | None = None


def read_start(path, molecule=True):
    """Return the `Start` of a PDB, mmCIF or XYZ file, or of any other file that ASE reads; the first frame counts.

    Parameters
    ----------
    path : path
    molecule : bool
        True looks for bonds, False for a periodic box instead. A box in another orientation than OpenMM's is turned,
        and the positions with it.

    Raises
    ------
    DataError
        If the file cannot be understood, an atom has no element, or only some directions are periodic.
    OSError
        If the file cannot be opened.
    """
    path = Path(path)
    with path.open("rb"):
        pass  # a missing file gives OSError, whatever its name ends with
    suffix = path.suffix.lower()
    reader = _OPENMM_READERS.get(suffix)
    if reader is None:
        return start_of_atoms(_read_with_ase(path)[0], molecule, path)
    try:
        file = reader(str(path))
    # OpenMM's readers raise errors of every kind on files they do not understand.
    except Exception as error:
        raise DataError(f"{path} is not a {suffix[1:].upper()} file with atoms ({_one_line(error)})") from None
    atoms = list(file.topology.atoms())
    nameless = [atom for atom in atoms if atom.element is None]
    if nameless or not atoms:
        what = f"atom {nameless[0].index + 1} ({nameless[0].name}) has no element" if nameless else "it has no atoms"
        raise DataError(f"{path}: {what}; give the element in columns 77 and 78 of its line")
    numbers = np.array([atom.element.atomic_number for atom in atoms])
    positions = np.array(file.getPositions(asNumpy=True).value_in_unit(unit.angstrom))
    if not molecule:
        vectors = file.topology.getPeriodicBoxVectors()
        box = None if vectors is None else np.array(vectors.value_in_unit(unit.angstrom))
        return Start(numbers, _checked(path, positions), [], file.topology, box)
    return Start(numbers, _checked(path, positions), bonds_from_positions(numbers, positions), file.topology)


def read_start_frames(path, molecule=True, most=20):
    """Yield positions, shape (n, 3) in Å, and box vectors, or None, of the first frames of a start.

    Of PDB and mmCIF files the first counts. Arguments and errors as in `read_start`.
    """
    path = Path(path)
    if path.suffix.lower() in _OPENMM_READERS:
        starts = [read_start(path, molecule)]
    else:
        starts = (start_of_atoms(atoms, molecule, path) for atoms in _read_with_ase(path, slice(most)))
    for start in starts:
        yield start.positions, start.box


def start_of_atoms(atoms, molecule=True, name="the start"):
    """Return the `Start` of an `ase.Atoms`; `molecule` and errors as in `read_start`, `name` for their messages."""
    numbers = np.array(atoms.numbers)
    if not molecule:
        positions, box = _in_box(name, atoms)
        return Start(numbers, positions, [], molecule_topology(numbers, [], box), box)
    positions = _checked(name, np.array(atoms.positions))
    bonds = bonds_from_positions(numbers, positions)
    return Start(numbers, positions, bonds, molecule_topology(numbers, bonds))


def pdb_text(start):
    """Return the start as a PDB file, which viewers need beside a trajectory."""
    text = io.StringIO()
    app.PDBFile.writeFile(start.topology, start.positions * unit.angstrom, text, keepIds=True)
    return text.getvalue()


def model_order(potential, start):
    """Return the index in the start of each atom of the model.

    Parameters
    ----------
    potential : openmm_kml.potential.KernelPotential
    start : Start

    Returns
    -------
    tuple of int
        Found from elements, bonds and positions; 0, 1, … wherever the atoms may stand in the model's order already.

    Raises
    ------
    ValueError
        If the start is not the molecule of the model, or has elements that the model does not know.
    """
    if potential.species is None:
        potential.check_numbers(start.numbers)
        return tuple(range(len(start.numbers)))
    from openmm_kml.interfaces.matching import common_permutations, find_molecules, model_graph

    species = np.asarray(potential.species)
    if sorted(start.numbers) != sorted(species):
        raise ValueError(f"the model is for {formula(species)}, but the start is {formula(start.numbers)}")
    in_order = tuple(range(len(species)))
    fits = np.array_equal(start.numbers, species) and _bonded_alike(model_graph(potential.weights), start.bonds)
    topology = molecule_topology(start.numbers, start.bonds)
    try:
        found = find_molecules(potential.weights, topology, positions=start.positions * unit.angstrom)[0]
    except ValueError:
        if fits:  # a geometry that does not tell one labeling from another
            return in_order
        raise
    equal = np.array(found)[common_permutations(potential.weights)].tolist()
    return in_order if fits and list(in_order) in equal else tuple(found)


def _bonded_alike(graph, bonds):
    """Return whether a molecular graph has exactly these bonds."""
    return {(i, j) for i, neighbors in enumerate(graph.neighbors) for j in neighbors if i < j} == set(bonds)


def molecule_topology(numbers, bonds, box=None, residue="MOL"):
    """Return an OpenMM Topology of one residue; atoms are named by their element and a running number.

    Parameters
    ----------
    numbers : iterable of int
    bonds : iterable of (int, int)
    box : ndarray of shape (3, 3), Å, optional
        Vectors of a periodic box.
    residue : str
        Its name.
    """
    topology = app.Topology()
    if box is not None:
        topology.setPeriodicBoxVectors(box * unit.angstrom)
    residue = topology.addResidue(residue, topology.addChain())
    atoms, counts = [], {}
    for number in numbers:
        element = app.Element.getByAtomicNumber(int(number))
        counts[element.symbol] = counts.get(element.symbol, 0) + 1
        atoms.append(topology.addAtom(f"{element.symbol}{counts[element.symbol]}", element, residue))
    for i, j in bonds:
        topology.addBond(atoms[i], atoms[j])
    return topology


def _read_with_ase(path, frames=slice(1)):
    """Return a list of `ase.Atoms`."""
    from ase.io import read

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read(path, index=frames)
    # ASE's readers raise errors of every kind on files they do not understand.
    except Exception as error:
        raise DataError(f"{path} cannot be read by ASE: {_one_line(error)}") from None
    if not found or any(len(atoms) == 0 or atoms.numbers.min() < 1 for atoms in found):
        raise DataError(f"{path} has no atoms, or one without an element")
    return found


def _in_box(path, atoms):
    """Return positions and box vectors in OpenMM's form, Å: a along x, b in the plane of x and y, little skew."""
    from openmm.app.internal.unitcell import reducePeriodicBoxVectors

    positions = _checked(path, np.array(atoms.positions))
    if not atoms.pbc.any():
        return positions, None
    if not atoms.pbc.all() or atoms.cell.rank < 3:
        raise DataError(
            f"{path} is periodic in some directions only; OpenMM's boxes are periodic in all: set the periodicity of "
            "all three, with an empty layer thicker than the model's cutoff where there is none"
        )
    if atoms.cell.handedness < 0:
        raise DataError(f"{path} has lattice vectors in left-handed order: exchange two of them")
    standard, rotation = atoms.cell.standard_form()
    vectors = reducePeriodicBoxVectors([openmm.Vec3(*row) for row in np.asarray(standard)] * unit.angstrom)
    return positions @ rotation.T, np.array(vectors.value_in_unit(unit.angstrom))


def _checked(path, positions):
    if not np.isfinite(positions).all():
        atom = int(np.argwhere(~np.isfinite(positions))[0][0])
        raise DataError(f"{path}: the position of atom {atom + 1} is not finite")
    return positions


def _one_line(error):
    return " ".join(str(error).split()) or type(error).__name__
