"""ASE calculators, found by name and asked for energy, forces and virial: references of data, baselines of models."""

import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np

from openmm_kml.errors import DataError, KMLError
from openmm_kml.potential import Evaluation

_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])  # ASE: xx yy zz yz xz xy


class CalculationError(KMLError):
    """A calculator gave no usable energy and forces; the message says why."""


def load_calculator(name, options=None, what="reference"):
    """Return an ASE calculator.

    Parameters
    ----------
    name : str
        ``tblite``, ``pyscf``, or ``MODULE:FUNCTION``, where MODULE is a module's name or the path of a ``.py`` file and
        FUNCTION is called to make the calculator.
    options : dict, optional
        Keyword arguments of that call.
    what : str
        What it is for, in messages.

    Raises
    ------
    DataError
        If there is no such module or function, it does not give a calculator, or the calculator has no forces.
    """
    options = dict(options or {})
    if name == "tblite":
        make = _tblite
    elif name == "pyscf":
        make = _pyscf
    elif ":" in name:
        make = _named(name, what)
    else:
        raise DataError(
            f"there is no {what} {name!r}; give tblite, pyscf or MODULE:FUNCTION, such as ase.calculators.emt:EMT or "
            f"{what}.py:make"
        )
    try:
        calculator = make(**options)
    except TypeError as error:
        raise DataError(f"the {what} {name} does not take {options}: {error}") from None
    properties = getattr(calculator, "implemented_properties", None)
    if properties is None or not hasattr(calculator, "calculate"):
        raise DataError(f"{name} gave {type(calculator).__name__}, not an ASE calculator")
    for needed in ("energy", "forces"):
        if needed not in properties:
            raise DataError(f"the calculator of {name} has no {needed}, which learning needs; choose one that has")
    return calculator


def absolute_name(name):
    """Return the name of a calculator that holds in any directory: the path of a file is made absolute."""
    module, colon, function = name.rpartition(":")
    return f"{Path(module).resolve()}:{function}" if colon and module.endswith(".py") else name


def has_stress(calculator):
    """Return whether a calculator says that it has a stress."""
    return "stress" in calculator.implemented_properties


def evaluate_calculator(calculator, positions, numbers, cell=None, pbc=None, what="reference"):
    """Return the `openmm_kml.potential.Evaluation` of a structure by an ASE calculator.

    Its virial is None unless all directions are periodic and the calculator has a stress. The calculator is reset
    afterwards: no result depends on the structures before.

    Raises
    ------
    CalculationError
        If the calculator fails, or a shape or a number is not usable.
    """
    from ase import Atoms

    atoms = Atoms(numbers, positions, cell=cell, pbc=cell is not None if pbc is None else pbc)
    wanted = ["energy", "forces"]
    if atoms.pbc.all() and has_stress(calculator):
        wanted.append("stress")
    atoms.calc = calculator
    try:
        values = [np.array(calculator.get_property(name, atoms), dtype=float) for name in wanted]
    # Calculators raise errors of every kind: programs that crash, cycles that do not converge.
    except Exception as error:
        raise CalculationError(" ".join(str(error).split()) or type(error).__name__) from None
    finally:
        calculator.reset() if hasattr(calculator, "reset") else None
    energy, forces = values[:2]
    if energy.shape != () or forces.shape != (len(atoms), 3):
        raise CalculationError(f"energy and forces have the shapes {energy.shape} and {forces.shape}")
    for name, value in zip(wanted, values, strict=True):
        if not np.isfinite(value).all():
            raise CalculationError(f"the {name} of the {what} is not finite")
    virial = -values[2].ravel()[_VOIGT] * atoms.get_volume() if len(values) > 2 else None
    return Evaluation(float(energy), forces, virial)


def _named(name, what):
    module, _, function = name.rpartition(":")
    try:
        return getattr(_module(module), function)
    except (ImportError, OSError, SyntaxError) as error:
        raise DataError(f"the module {module} of the {what} cannot be imported: {error}") from None
    except AttributeError:
        raise DataError(f"the module {module} has no function {function!r} that makes a {what}") from None


def _module(module):
    if not module.endswith(".py"):
        return importlib.import_module(module)
    path = Path(module)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(specification)
    sys.modules.setdefault(path.stem, loaded)
    specification.loader.exec_module(loaded)
    return loaded


def _tblite(method="GFN2-xTB", **options):
    try:
        from tblite.ase import TBLite
    except ImportError:
        raise DataError("tblite is not installed; install it with: pip install tblite") from None
    return TBLite(method=method, verbosity=0, **options)


def _pyscf(**options):
    try:
        from openmm_kml.interfaces.pyscf_calculator import PySCFCalculator
    except ImportError:
        raise DataError("pyscf is not installed; install it with: pip install pyscf") from None
    return PySCFCalculator(**options)
