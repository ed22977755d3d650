"""Reference data: reading, checking, digests and splits."""

from openmm_kml.structures.duplicates import duplicate_of
from openmm_kml.structures.molecules import MoleculeSet, formula
from openmm_kml.structures.reading import read_molecules
from openmm_kml.structures.splits import split
from openmm_kml.structures.structure import Structure, StructureSet
from openmm_kml.structures.structure_files import read_structures
from openmm_kml.structures.structure_splits import distinct_structures, split_structures

__all__ = [
    "MoleculeSet",
    "Structure",
    "StructureSet",
    "distinct_structures",
    "duplicate_of",
    "formula",
    "read_molecules",
    "read_structures",
    "split",
    "split_structures",
]
