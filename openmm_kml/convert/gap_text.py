"""The words of GAP files: descriptors with their hyperparameters, and what potentials are added up."""

import re
from dataclasses import dataclass

from openmm_kml.convert.gap_numbers import read_flag, read_float, read_integer, shortened
from openmm_kml.errors import DataError

_WORD = re.compile(r"""\s*(?:([^\s={}"']+)\s*=\s*)?(?:\{+([^{}]*)\}+|"([^"]*)"|'([^']*)'|([^\s={}"']+))""")
MAX_ELEMENT = 118

# Of gap_fit: they choose hyperparameters and sparse points, and what came of that stands elsewhere in the file.
_NAMES = """
    energy_scale delta f0 n_sparse n_sparsex config_type_n_sparse sparse_method lengthscale_factor theta_fac
    lengthscale_uniform theta_uniform lengthscale_file theta_file sparse_file mark_sparse_atoms add_species
    covariance_type theta soap_exponent zeta print_sparse_index unique_hash_tolerance
    unique_descriptor_tolerance
"""
_OF_THE_FIT = frozenset(_NAMES.split())
_ALTERNATIVES = {"atom_gaussian_width": "atom_sigma", "normalize": "normalise"}


@dataclass(frozen=True)
class Words:
    """A descriptor's text: its kind, and its options in lower case (QUIP does not tell cases apart).

    Attributes
    ----------
    where : str
        How messages call it.
    kind : str
    options : dict of str
    """

    where: str
    kind: str
    options: dict

    def fail(self, key, expected):
        raise DataError(f"{self.where} has {key}={shortened(self.options[key])}; {expected}")

    def integer(self, key, default, least, most):
        return read_integer(f"{key} of {self.where}", self._text(key, default), least, most)

    def float(self, key, default=None):
        return read_float(f"{key} of {self.where}", self._text(key, default))

    def flag(self, key, default):
        return read_flag(f"{key} of {self.where}", self._text(key, default))

    def elements(self, key):
        """Return a list of atomic numbers, 0 for any; 0 alone when the option is absent."""
        words = self._text(key, "0").split()
        if not 1 <= len(words) <= MAX_ELEMENT:
            self.fail(key, "a list of atomic numbers is expected")
        return [read_integer(f"{key} of {self.where}", word, 0, MAX_ELEMENT) for word in words]

    def check_known(self, known, refused, skip):
        """Raise `DataError` for an option that is refused, or that is not known at all and not in `skip`.

        Parameters
        ----------
        known : collection of str
        refused : dict
            Option -> the value that changes nothing; any other is refused by name.
        skip : Skip
        """
        for key, value in self.options.items():
            if key in refused:
                if value.strip().lower() not in refused[key]:
                    self.fail(key, "this option is not supported")
            elif key not in known and key not in _OF_THE_FIT:
                skip.check(key, f"{self.where} has the option {key}={shortened(value)}, which is not known here")

    def _text(self, key, default):
        if key in self.options:
            return self.options[key]
        if default is None:
            raise DataError(f"{self.where} has no option {key!r}, which a descriptor of kind {self.kind!r} needs")
        return default


def read_words(where, text):
    """Return the `Words` of a descriptor's text, such as ``soap l_max=8 n_max=8 species_Z={6 14 }``."""
    pairs = _split(where, text)
    if not pairs or pairs[0][0] is not None:
        raise DataError(f"{where} reads {shortened(text.strip())}; the kind of the descriptor is expected first")
    options = {}
    for key, value in pairs[1:]:
        name, setting = (value, "T") if key is None else (key, value)  # a word alone is a switch
        name = _ALTERNATIVES.get(name.lower(), name.lower())
        if options.setdefault(name, setting) != setting:
            raise DataError(f"{where} gives the option {shortened(name)} twice, with different values")
    return Words(where, pairs[0][1].lower(), options)


def check_potentials(file, skip):
    """Raise `DataError` unless the energy of a GAP file is that of its GAP_params alone, or the rest is skipped.

    A file may describe a sum such as ``Sum init_args_pot1={IP Glue} init_args_pot2={IP GAP label=…}``.
    """
    parts = [part for label, text in file.potentials for part in _parts(file, label, text)]
    others = [name for name, _ in parts if name.lower() != "gap"]
    for name in others:
        skip.check(name, f"{file.path} adds the potential {shortened(name)} to its GAP, which cannot be converted")
    if len(parts) - len(others) > 1:
        raise DataError(f"{file.path} adds up several GAP potentials, which is not supported")
    for name, options in parts:
        for key, value in options:
            if name.lower() == "gap" and (key or "").lower() not in ("label", "xml_label"):
                word = value if key is None else f"{key}={value}"
                raise DataError(
                    f"{file.path} asks for its GAP with the option {shortened(word)}: that is not supported"
                )
    if file.has_core and not others:
        skip.check("core", f"{file.path} was fitted on top of a core potential (do_core), which it does not hold")


def _parts(file, label, text):
    """Return (name, options) of each interatomic potential that the arguments of a potential name."""
    where = f"{file.path}: Potential {shortened(label)}"
    pairs = _split(where, text)
    inner = [value for key, value in pairs if (key or "").lower().startswith("init_args")]
    if inner:
        return [part for value in inner for part in _parts(file, label, value)]
    words = [value for key, value in pairs if key is None]
    if not words:
        return [] if not pairs or {(key or "").lower() for key, _ in pairs} <= {"label", "xml_label"} else [(text, [])]
    if words[0].lower() != "ip" or len(words) < 2:
        return [(words[0], [])]
    return [(words[1], [pair for pair in pairs if pair[0] is not None or pair[1] not in words[:2]])]


class Skip:
    """Names of parts that the user wants left out, and which of them were met.

    Parameters
    ----------
    names : iterable of str
    """

    def __init__(self, names=()):
        self.names = {name.lower(): name for name in names}
        self.met = set()

    def asked(self, name):
        """Return whether a part is to be left out, and remember that it was there."""
        if name.lower() in self.names:
            self.met.add(name.lower())
            return True
        return False

    def check(self, name, problem):
        """Raise `DataError` unless the part is to be left out."""
        if not self.asked(name):
            raise DataError(f"{problem}; --skip {name} converts the rest without it")

    def check_all_met(self, path):
        """Raise `DataError` if a name stands for nothing in the file."""
        unknown = sorted(set(self.names) - self.met)
        if unknown:
            raise DataError(f"{path} has nothing called {shortened(self.names[unknown[0]])} that could be skipped")


def _split(where, text):
    """Return (key or None, value) of each word of a text; braces and quotes hold words together."""
    pairs, place = [], 0
    text = text.strip()
    while place < len(text):
        match = _WORD.match(text, place)
        if match is None:
            raise DataError(f"{where} cannot be understood from {shortened(text[place:])} on")
        pairs.append((match[1], next(group for group in match.groups()[1:] if group is not None).strip()))
        place = match.end()
    return pairs
