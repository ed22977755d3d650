"""Labels of frames by a reference, which is any ASE calculator."""

from dataclasses import replace

import numpy as np

from openmm_kml.interfaces.calculators import CalculationError, evaluate_calculator


class LabelError(CalculationError):
    """The reference gave no usable energy and forces for a frame; the message says why."""


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
    try:
        energy, forces, virial = evaluate_calculator(calculator, frame.positions, frame.numbers, frame.cell, frame.pbc)
    except CalculationError as error:
        raise LabelError(str(error)) from None
    largest = np.abs(forces).max()
    if largest > max_force:
        raise LabelError(f"a force component of {largest:.3g} eV/Å is above the bound of {max_force:g}")
    return replace(frame, energy=energy, forces=forces, virial=virial)
