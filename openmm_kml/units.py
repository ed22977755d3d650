"""Units of energy and length, as factors to eV and Å.

Values: CODATA 2022 (Mohr, Newell, Taylor and Tiesinga, 2024); the molar units follow from the exact constants of the
SI of 2019 and the thermochemical calorie of 4.184 J.
"""

HARTREE = 27.211386245981  # eV
BOHR = 0.529177210544  # Å
BOLTZMANN = 8.617333262e-5  # eV/K
ELEMENTARY_CHARGE = 1.602176634e-19  # C
AVOGADRO = 6.02214076e23  # 1/mol
KJ_PER_MOL = 1e3 / (AVOGADRO * ELEMENTARY_CHARGE)  # eV
KCAL_PER_MOL = 4.184 * KJ_PER_MOL  # eV

ENERGY_UNITS = {
    "eV": 1.0,
    "meV": 1e-3,
    "kcal/mol": KCAL_PER_MOL,
    "kJ/mol": KJ_PER_MOL,
    "Hartree": HARTREE,
    "Ry": HARTREE / 2,
}
LENGTH_UNITS = {"Angstrom": 1.0, "Bohr": BOHR, "nm": 10.0, "pm": 0.01}

# Spellings met in files and on command lines, in lower case without blanks.
_ALIASES = {
    "ev": "eV",
    "electronvolt": "eV",
    "mev": "meV",
    "kcal/mol": "kcal/mol",
    "kcal": "kcal/mol",
    "kcal/mole": "kcal/mol",
    "kcalmol-1": "kcal/mol",
    "kcalmol^-1": "kcal/mol",
    "kj/mol": "kJ/mol",
    "kj": "kJ/mol",
    "kjmol-1": "kJ/mol",
    "kjmol^-1": "kJ/mol",
    "hartree": "Hartree",
    "ha": "Hartree",
    "eh": "Hartree",
    "ry": "Ry",
    "rydberg": "Ry",
    "angstrom": "Angstrom",
    "ang": "Angstrom",
    "a": "Angstrom",
    "å": "Angstrom",
    "bohr": "Bohr",
    "a0": "Bohr",
    "nm": "nm",
    "nanometer": "nm",
    "pm": "pm",
}


def _canonical(name, table, quantity):
    key = _ALIASES.get("".join(str(name).split()).lower())
    if key not in table:
        raise ValueError(f"{name!r} is not a unit of {quantity} known here; use one of {', '.join(table)}")
    return key


def energy_unit(name):
    """Return the name of an energy unit as spelled in ``ENERGY_UNITS``, from any usual spelling.

    Raises
    ------
    ValueError
        If the unit is unknown; the message lists the known ones.
    """
    return _canonical(name, ENERGY_UNITS, "energy")


def length_unit(name):
    """Return the name of a length unit as spelled in ``LENGTH_UNITS``; raise `ValueError` if it is unknown."""
    return _canonical(name, LENGTH_UNITS, "length")


def energy_factor(name):
    """Return the number of eV in one of the named unit."""
    return ENERGY_UNITS[energy_unit(name)]


def length_factor(name):
    """Return the number of Å in one of the named unit."""
    return LENGTH_UNITS[length_unit(name)]
