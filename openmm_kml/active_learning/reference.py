"""References that label frames: any ASE calculator, found by name."""

import importlib
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from openmm_kml.errors import DataError, KMLError

_VOIGT = np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])  # ASE: xx yy zz yz xz xy


class LabelError(KMLError):
    """The reference gave no usable energy and forces for a frame; the message says why."""


def load_reference(name, options=None):
    """Return an ASE calculator.

    Parameters
    ----------
    name : str
        ``tblite``, ``pyscf``, or ``MODULE:FUNCTION``, where MODULE is a module's name or the path of a ``.py`` file and
        FUNCTION is called to make the calculator.
    options : dict, optional
        Keyword arguments of that call.

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
        make = _named(name)
    else:
        raise DataError(
            f"there is no reference {name!r}; give tblite, pyscf or MODULE:FUNCTION, such as ase.calculators.emt:EMT "
            "or reference.py:make"
        )
    try:
        calculator = make(**options)
    except TypeError as error:
        raise DataError(f"the reference {name} does not take {options}: {error}") from None
    properties = getattr(calculator, "implemented_properties", None)
    if properties is None or not hasattr(calculator, "calculate"):
        raise DataError(f"{name} gave {type(calculator).__name__}, not an ASE calculator")
    for needed in ("energy", "forces"):
        if needed not in properties:
            raise DataError(f"the calculator of {name} has no {needed}, which learning needs; choose one that has")
    return calculator


def resolved(name):
    """Return the name of a reference that holds in any directory: the path of a file is made absolute."""
    module, colon, function = name.rpartition(":")
    return f"{Path(module).resolve()}:{function}" if colon and module.endswith(".py") else name


def label(calculator, frame, max_force):
    """Return a frame with energy, forces and, in a periodic cell, the virial of a reference.

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
    frame : openmm_kml.structures.Structure
    max_force : float, eV/Å

    Raises
    ------
    LabelError
        If the calculator fails, a number is not finite, or a force is above the bound.
    """
    from ase import Atoms

    atoms = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=frame.pbc)
    wanted = ["energy", "forces"]
    if frame.pbc.all() and "stress" in calculator.implemented_properties:
        wanted.append("stress")
    atoms.calc = calculator
    try:
        values = [np.array(calculator.get_property(name, atoms), dtype=float) for name in wanted]
    # Calculators raise errors of every kind: programs that crash, cycles that do not converge.
    except Exception as error:
        raise LabelError(" ".join(str(error).split()) or type(error).__name__) from None
    finally:
        calculator.reset() if hasattr(calculator, "reset") else None
    return replace(frame, **_checked(frame, values, max_force))


def _checked(frame, values, max_force):
    energy, forces = values[:2]
    if energy.shape != () or forces.shape != (len(frame), 3):
        raise LabelError(f"energy and forces have the shapes {energy.shape} and {forces.shape}")
    for name, value in zip(("energy", "forces", "stress"), values, strict=False):
        if not np.isfinite(value).all():
            raise LabelError(f"the {name} of the reference is not finite")
    largest = np.abs(forces).max()
    if largest > max_force:
        raise LabelError(f"a force component of {largest:.3g} eV/Å is above the bound of {max_force:g}")
    labels = {"energy": float(energy), "forces": forces, "virial": None}
    if len(values) > 2:
        labels["virial"] = -values[2].ravel()[_VOIGT] * frame.volume
    return labels


def _named(name):
    module, _, function = name.rpartition(":")
    try:
        return getattr(_module(module), function)
    except (ImportError, OSError, SyntaxError) as error:
        raise DataError(f"the module {module} of the reference cannot be imported: {error}") from None
    except AttributeError:
        raise DataError(f"the module {module} has no function {function!r} that makes a reference") from None


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
        raise DataError("the reference tblite is not installed; install it with: pip install tblite") from None
    return TBLite(method=method, verbosity=0, **options)


def _pyscf(**options):
    try:
        from openmm_kml.active_learning.pyscf_reference import PySCFCalculator
    except ImportError:
        raise DataError("the reference pyscf is not installed; install it with: pip install pyscf") from None
    return PySCFCalculator(**options)
