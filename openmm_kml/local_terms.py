"""The local terms of a weight file: what they hold, and the rules they obey (docs/weight_file_format.md)."""

from dataclasses import dataclass

import numpy as np

from openmm_kml.errors import WeightFileError
from openmm_kml.soap_term import SoapTerm, checked_soap
from openmm_kml.term_checks import MAX_CUTOFF, checked_array, checked_deviations, checked_flag, checked_length

MIN_INTERVALS = 4
MIN_FAR = 7


def pair_number(a, b, n):
    """Return the place of an unordered pair of n elements in the order (0,0), (0,1), … (0,n-1), (1,1), …

    Parameters
    ----------
    a, b : int or ndarray of int
        Places of the two elements in the model's list, in any order.
    n : int
        Elements of the model.
    """
    low, high = np.minimum(a, b), np.maximum(a, b)
    return low * n - low * (low - 1) // 2 + high - low


def n_pairs(n):
    """Return the number of unordered pairs of n elements."""
    return n * (n + 1) // 2


@dataclass(frozen=True)
class Spline2Term:
    """Two-body functions on cubic B-splines; the formulas are in docs/theory.md.

    Attributes
    ----------
    start, cutoff : float, Å
        Ends of the grid.
    coefficients : ndarray of shape (pairs, K), eV
        One row for each unordered pair of elements, in the order of `pair_number`; the three coefficients that follow
        are zero and not stored.
    deviations : ndarray of shape (S, pairs, K), eV, optional
        Of the coefficients, for the members of a model with uncertainty.
    """

    start: float
    cutoff: float
    coefficients: np.ndarray
    deviations: np.ndarray | None = None

    kind = "spline2"
    learned = True
    scalars = ("start", "cutoff")
    optional_scalars = ()
    tensors = ("coefficients",)
    optional_tensors = ("deviations",)

    @property
    def n_intervals(self):
        return self.coefficients.shape[1]

    @property
    def spacing(self):
        return (self.cutoff - self.start) / self.n_intervals

    @property
    def reach(self):
        """Distance in Å beyond which no neighbor counts."""
        return self.cutoff


@dataclass(frozen=True)
class Spline3Term:
    """Three-body functions of centered triples on cubic B-splines; the formulas are in docs/theory.md.

    Attributes
    ----------
    start, cutoff : float, Å
        Ends of the grid of the two distances to the center.
    start_far : float, Å
        Start of the grid of the distance between the neighbors; it ends at `cutoff` (compact) or twice that.
    compact : bool
        Whether only triples count whose three distances are all below the cutoff.
    taper_start, taper_width : float, Å
        Triples with a distance below `taper_start` have no energy; from there it grows smoothly over `taper_width`.
    coefficients : ndarray of shape (n, pairs, K, K, M), eV
        By center, unordered pair of neighbors, and the distances to the first and to the second of them and between
        them. Symmetric in the third and fourth axis for a pair of equal neighbors.
    deviations : ndarray of shape (S, n, pairs, K, K, M), eV, optional
        Of the coefficients, for the members of a model with uncertainty; with the same symmetry.
    """

    start: float
    cutoff: float
    start_far: float
    compact: bool
    taper_start: float
    taper_width: float
    coefficients: np.ndarray
    deviations: np.ndarray | None = None

    kind = "spline3"
    learned = True
    scalars = ("start", "cutoff", "start_far", "compact", "taper_start", "taper_width")
    optional_scalars = ()
    tensors = ("coefficients",)
    optional_tensors = ("deviations",)

    @property
    def n_intervals(self):
        return self.coefficients.shape[2]

    @property
    def spacing(self):
        return (self.cutoff - self.start) / self.n_intervals

    @property
    def end_far(self):
        """End of the grid of the distance between the neighbors, Å."""
        return self.cutoff if self.compact else 2 * self.cutoff

    @property
    def n_intervals_far(self):
        return self.coefficients.shape[4] - (0 if self.compact else 3)

    @property
    def spacing_far(self):
        return (self.end_far - self.start_far) / self.n_intervals_far

    @property
    def reach(self):
        """Distance in Å beyond which no neighbor counts."""
        return self.cutoff


@dataclass(frozen=True)
class RepulsionTerm:
    """Screened nuclear repulsion (ZBL), switched off smoothly; the formulas are in docs/theory.md.

    Attributes
    ----------
    switch : ndarray of shape (pairs, 2), Å
        For each unordered pair of elements, the distances where the switch begins to fall and where it reaches zero.
        The elements of a model of one molecule are its distinct ones, ascending.
    """

    switch: np.ndarray

    kind = "repulsion"
    learned = False  # so it has no uncertainty
    scalars = ()
    optional_scalars = ()
    tensors = ("switch",)
    optional_tensors = ()

    @property
    def reach(self):
        """Distance in Å beyond which no neighbor counts."""
        return float(self.switch[:, 1].max())


LOCAL_TERMS = {term.kind: term for term in (Spline2Term, Spline3Term, RepulsionTerm, SoapTerm)}


def checked_local(where, term, n_elements):
    """Return a local term with canonical types, or raise WeightFileError naming the field that breaks a rule."""
    checks = {
        Spline2Term: _checked_spline2,
        Spline3Term: _checked_spline3,
        RepulsionTerm: _checked_repulsion,
        SoapTerm: checked_soap,
    }
    return checks[type(term)](where, term, n_elements)


def _checked_spline2(where, term, n_elements):
    start, cutoff = _checked_grid(where, term)
    coefficients = checked_array(where, "coefficients", term.coefficients, 2)
    pairs = n_pairs(n_elements)
    if coefficients.shape[0] != pairs or coefficients.shape[1] < MIN_INTERVALS:
        raise WeightFileError(
            f"{where}.coefficients has shape {coefficients.shape}; ({pairs}, K) is expected, K at least {MIN_INTERVALS}"
        )
    return Spline2Term(start, cutoff, coefficients, checked_deviations(where, term, coefficients))


def _checked_spline3(where, term, n_elements):
    start, cutoff = _checked_grid(where, term)
    checked_flag(where, "compact", term.compact)
    end_far = cutoff if term.compact else 2 * cutoff
    start_far = checked_length(where, "start_far", term.start_far, 0, end_far)
    if start_far == end_far:
        raise WeightFileError(f"{where}.start_far must be below the end of its axis; {start_far!r} was found")
    taper_start = checked_length(where, "taper_start", term.taper_start, max(start, start_far), MAX_CUTOFF)
    taper_width = checked_length(where, "taper_width", term.taper_width, 0, MAX_CUTOFF)
    if taper_width == 0:
        raise WeightFileError(f"{where}.taper_width must be above zero; {term.taper_width!r} was found")
    coefficients = checked_array(where, "coefficients", term.coefficients, 5)
    pairs = n_pairs(n_elements)
    n, p, k, k2, m = coefficients.shape
    if (n, p) != (n_elements, pairs) or k != k2 or k < MIN_INTERVALS or m < MIN_FAR:
        raise WeightFileError(
            f"{where}.coefficients has shape {coefficients.shape}; ({n_elements}, {pairs}, K, K, M) is expected, "
            f"K at least {MIN_INTERVALS}, M at least {MIN_FAR}"
        )
    deviations = checked_deviations(where, term, coefficients)
    _check_exchange(f"{where}.coefficients", coefficients, n_elements)
    for member in () if deviations is None else deviations:
        _check_exchange(f"{where}.deviations", member, n_elements)
    return Spline3Term(start, cutoff, start_far, term.compact, taper_start, taper_width, coefficients, deviations)


def _check_exchange(name, coefficients, n_elements):
    for b in range(n_elements):
        equal = coefficients[:, pair_number(b, b, n_elements)]
        if not np.array_equal(equal, equal.swapaxes(1, 2)):
            raise WeightFileError(f"{name} of two equal neighbors must be symmetric in the third and fourth axis")


def _checked_repulsion(where, term, n_elements):
    switch = checked_array(where, "switch", term.switch, 2)
    pairs = n_pairs(n_elements)
    if switch.shape != (pairs, 2):
        raise WeightFileError(f"{where}.switch has shape {switch.shape}; ({pairs}, 2) is expected")
    if not (switch[:, 0] > 0).all() or not (switch[:, 1] > switch[:, 0]).all() or switch.max() > MAX_CUTOFF:
        raise WeightFileError(f"{where}.switch must hold 0 < r_1 < r_2 <= {MAX_CUTOFF:g} Å in each row")
    return RepulsionTerm(switch)


def _checked_grid(where, term):
    start = checked_length(where, "start", term.start, 0, MAX_CUTOFF)
    cutoff = checked_length(where, "cutoff", term.cutoff, start, MAX_CUTOFF)
    if cutoff == start:
        raise WeightFileError(f"{where}.cutoff must be above start; {cutoff!r} was found for both")
    return start, cutoff
