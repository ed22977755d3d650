"""Errors that users may want to catch. Each message says what came, what was expected and what to do."""


class KMLError(Exception):
    """Base of all errors of this package that are not plain ``ValueError`` or ``TypeError``."""


class WeightFileError(KMLError, ValueError):
    """A weight file is damaged, of another version, or not a weight file."""


class DataError(KMLError, ValueError):
    """Reference data cannot be used as they are; the message names the frame and the atom."""


class EvaluationError(KMLError, ArithmeticError):
    """A structure has no defined energy: atoms coincide, or a coordinate is not finite."""


class TrainingError(KMLError, RuntimeError):
    """The training cannot go on: the kernel matrix is not positive definite, or memory does not suffice."""


class ExtensionError(TrainingError):
    """A training cannot go on from the factor of an earlier one; the message says why, in a clause."""
