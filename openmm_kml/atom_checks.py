"""Whether a model is for some atoms, by their atomic numbers."""

import numpy as np

from openmm_kml.elements import SYMBOLS, formula, symbol, symbols


def check_elements(numbers, elements):
    """Raise ValueError unless a model that knows these elements knows all atoms.

    Parameters
    ----------
    numbers : array_like of int, shape (n_atoms,)
    elements : ndarray of int
        Atomic numbers that the model knows.
    """
    numbers = np.asarray(numbers)
    unknown = np.flatnonzero(~np.isin(numbers, elements))
    if len(unknown):
        number = numbers.flat[unknown[0]]
        raise ValueError(
            f"element {number} ({symbol(number)}, atom {unknown[0]}) is not in the model, which knows "
            f"{symbols(elements)}"
        )


def check_order(numbers, species):
    """Raise ValueError unless these are the atoms of one molecule's model, in its order.

    Parameters
    ----------
    numbers : array_like of int, shape (n_atoms,)
    species : ndarray of int
        Atomic numbers of the molecule.
    """
    numbers = np.asarray(numbers)
    if numbers.shape != species.shape:
        raise ValueError(
            f"the model is for {len(species)} atoms ({formula(species)}); "
            f"atomic numbers of shape {numbers.shape} were given"
        )
    different = np.flatnonzero(numbers != species)
    if len(different):
        atom = different[0]
        found = numbers.tolist()[atom]
        name = symbol(found) if found in range(len(SYMBOLS)) else repr(found)
        raise ValueError(
            f"atom {atom} is {name}, but the model expects {symbol(species[atom])} there: "
            "give atomic numbers, in the order of the training data"
        )
