"""Errors of a model of local terms: by the engine where it is built, else by its NumPy twin."""

from openmm_kml.metrics import structure_errors
from openmm_kml.reference import evaluate_structure
from openmm_kml.weights import to_bytes

try:
    from openmm_kml._engine import Engine
except ImportError:  # the trainers work without the compiled engine, slower
    Engine = None

NATIVE = Engine is not None


def model_errors(weights, structures):
    """Return `openmm_kml.metrics.structure_errors` of a model on some structures."""
    engine = Engine(to_bytes(weights)) if NATIVE else None
    predictions = []
    for frame in structures:
        where = frame.positions, frame.numbers, frame.cell, frame.pbc
        found = evaluate_structure(weights, *where) if engine is None else engine.evaluate_structure(*where)
        predictions.append(found[:3])
    return structure_errors(predictions, structures)
