"""Checks of single options: each names the option, what came and what was expected."""

import math
from numbers import Integral, Real

_LONGEST_STEP = 10  # fs: more is a mistake of units


def check_choice(name, value, choices):
    """Raise ValueError unless a value is one of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; {value!r} was given")


def check_positive(name, value):
    """Raise ValueError unless a value is a finite number above zero."""
    if not isinstance(value, Real) or isinstance(value, bool) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number above zero; {value!r} was given")


def check_all_positive(options, names):
    """Raise ValueError unless the attributes of these names are finite numbers above zero, or None."""
    for name in names:
        if getattr(options, name) is not None:
            check_positive(name, getattr(options, name))


def check_count(name, value, least=1):
    """Raise ValueError unless a value is a whole number of at least `least`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number of {least} or more; {value!r} was given")


def check_all_counts(options, names, least=1):
    """Raise ValueError unless the attributes of these names are whole numbers of at least `least`."""
    for name in names:
        check_count(name, getattr(options, name), least)


def check_dynamics(options):
    """Raise ValueError unless `timestep` (fs), `friction` (1/ps) and `pressure` (bar or None) can be those of a run."""
    check_all_positive(options, ("timestep", "friction"))
    if options.timestep > _LONGEST_STEP:
        raise ValueError(f"timestep is in femtoseconds and at most {_LONGEST_STEP}; {options.timestep} was given")
    if options.pressure is not None and not math.isfinite(options.pressure):
        raise ValueError(f"pressure must be a finite number, in bar; {options.pressure!r} was given")
