"""Reference data: reading, checking, digests and splits."""

from openmm_kml.structures.duplicates import duplicate_of
from openmm_kml.structures.molecules import MoleculeSet, formula
from openmm_kml.structures.reading import read_molecules
from openmm_kml.structures.splits import split

__all__ = ["MoleculeSet", "duplicate_of", "formula", "read_molecules", "split"]
