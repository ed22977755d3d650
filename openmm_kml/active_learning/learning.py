"""Learning on the fly: a campaign in a directory, from its beginning or from where it was left, to its pictures."""

from pathlib import Path

from openmm_kml.active_learning import pictures
from openmm_kml.active_learning.beginning import begin
from openmm_kml.active_learning.campaign import Campaign, Summary
from openmm_kml.active_learning.journal import STATE, Journal, read_state
from openmm_kml.errors import DataError
from openmm_kml.interfaces.baseline_kinds import CalculatorBaseline


def learn(directory, recipe, settings, calculator, start=None, *, identity=None, compare=0, say=print, progress=True):
    """Learn on the fly until the budget is used or the target is reached.

    Parameters
    ----------
    directory : path
        Where everything is written; made if it does not exist.
    recipe : openmm_kml.active_learning.models.Recipe
    settings : openmm_kml.active_learning.settings.Settings
    calculator : ase.calculators.calculator.Calculator
        The reference, with energy and forces.
    start : list of openmm_kml.structures.Structure, optional
        Frames to begin with, with labels of the same reference or without. None goes on with what the directory holds.
    identity : dict, optional
        What else a continuation must have in common, such as the name of the reference; plain JSON.
    compare : int
        Test frames of a comparison with random sampling at the end; 0 for none. Its reference calls are not part of
        the budget.
    say : callable
        Given the log in words.
    progress : bool

    Returns
    -------
    Summary

    Raises
    ------
    DataError
        If the start frames, the directory or the budget do not fit, or the reference fails from the beginning.
    """
    directory = Path(directory)
    identity = recipe.identity() | {"settings": settings.identity()} | (identity or {})
    _check_engine(settings, recipe.baseline)
    if start is not None:
        begin(directory, recipe, settings, start, identity)
    state = read_state(directory)
    _check_identity(directory, state["identity"], identity)
    journal = Journal(directory, state["log_size"], say)
    try:
        campaign = Campaign(directory, recipe, settings, calculator, state, journal, progress)
        summary = campaign.run()
        if compare:
            from openmm_kml.active_learning.compare import compare_with_random

            comparison = compare_with_random(campaign, compare)
            summary = Summary(**vars(summary) | {"comparison": comparison})
        pictures.draw(directory, campaign, summary.comparison)
        return summary
    finally:
        journal.close()


def _check_engine(settings, baseline):
    if isinstance(baseline, CalculatorBaseline):
        raise DataError(f"the exploration does not run the ASE calculator {baseline.name}; give another baseline")
    if baseline is not None and settings.engine == "lammps":
        raise DataError("the exploration adds a baseline in OpenMM alone; leave the engine lammps out")
    if settings.engine == "lammps":
        from openmm_kml.active_learning.lammps_run import check_lammps

        check_lammps()


def _check_identity(directory, found, expected):
    for name in sorted(expected):
        if found.get(name) != expected[name]:
            raise DataError(
                f"{directory / STATE} is of another campaign: its {name} is {_short(found.get(name))}, now it would be "
                f"{_short(expected[name])}; resume with the options of the campaign, or name another directory"
            )


def _short(value):
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + " …"
