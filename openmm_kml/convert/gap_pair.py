"""The `distance_2b` descriptors of a GAP as `spline2` terms, exact to the resolution of the splines.

QUIP sums f_c(r) Σ_s a_s [δ² exp(-(r - x_s)²/(2θ²)) + f0²] over ordered pairs, with the cosine cutoff f_c. The
curvature of f_c jumps at r_c - w and at r_c, and cubic splines have no jumps: across one, their error would fall only
with h² in the energy and with h in the force. But a spline that begins at a distance s and stays linear below
(docs/theory.md) has a jump at s. So three terms stand for the pair energy:

- a stub of three intervals from r_c - w on, which carries the first jump,
- another from r_c on, which carries the second,
- the rest, which has no jumps: a spline from near zero to beyond r_c, where it takes back what the second stub adds.

Their sum is the cubic spline through the pair energy with its slopes at the ends of both pieces, and the error falls
with h⁴. Values and slopes are summed in extended precision where the machine has it: the weights of sparse points
reach 10⁵ and cancel.
"""

from dataclasses import dataclass

import numpy as np

from openmm_kml.descriptors.splines import bspline_values
from openmm_kml.errors import DataError
from openmm_kml.local_terms import Spline2Term, n_pairs, pair_number
from openmm_kml.term_checks import MAX_CUTOFF

KNOWN = frozenset(("cutoff", "cutoff_transition_width", "z1", "z2"))
REFUSED = {
    "exponents": ("1", "1.0"),
    "n_exponents": ("1",),
    "tail_exponent": ("0",),
    "tail_range": (),
    "resid_name": ("",),
    "only_intra": ("f", "false"),
    "only_inter": ("f", "false"),
}
STUB = 4  # intervals of a stub, the least a spline2 may have; the last is empty
FIRST_SPACING = 2e-3  # Å
MAX_INTERVALS = 20_000
MAX_ENERGY_ERROR = 1e-11  # eV a pair: some 40 neighbors make 4e-10 eV an atom when all errors have one sign
MAX_FORCE_ERROR = 5e-9  # eV/Å
MIN_LENGTH = 2e-3  # of the cutoff: what is shorter cannot be resolved by so many intervals
MAX_ENERGY = 1e30  # eV
_BLOCK = 4096  # distances at a time


@dataclass(frozen=True)
class PairFunction:
    """One `distance_2b` descriptor: the energy of a pair of atoms by their distance.

    Attributes
    ----------
    cutoff, width : float, Å
    elements : tuple of int
        Two atomic numbers, 0 for any.
    points : ndarray of shape (M,), Å
        x_s.
    coefficients : ndarray of shape (M,), eV
        a_s δ².
    constant : float, eV
        f0² Σ a_s.
    length_scale : float, Å
        θ.
    """

    cutoff: float
    width: float
    elements: tuple
    points: np.ndarray
    coefficients: np.ndarray
    constant: float
    length_scale: float

    def holds(self, a, b):
        """Return whether a pair of atomic numbers has this energy."""
        first, second = self.elements
        return any(first in (0, x) and second in (0, y) for x, y in ((a, b), (b, a)))

    def __call__(self, r):
        """Return the energy of an unordered pair (both orders of it) and its slope, in extended precision."""
        values, slopes = np.zeros_like(r), np.zeros_like(r)
        for start in range(0, len(r), _BLOCK):
            part = slice(start, start + _BLOCK)
            y = (r[part, None] - self.points) / np.longdouble(self.length_scale)
            terms = self.coefficients * np.exp(-y * y / 2)
            value = terms.sum(axis=1) + self.constant
            slope = -(terms * y).sum(axis=1) / np.longdouble(self.length_scale)
            cut, dcut = cosine_cutoff(r[part], self.cutoff, self.width)
            values[part], slopes[part] = 2 * cut * value, 2 * (cut * slope + dcut * value)
        return values, slopes


def cosine_cutoff(r, cutoff, width):
    """Return f_c and its slope: 1 below cutoff - width, 0 beyond the cutoff, half a cosine in between."""
    s = np.clip((r - cutoff) / width + 1, 0, 1)
    pi = 4 * np.arctan(np.ones((), dtype=s.dtype))
    inside = (s > 0) & (s < 1)
    return (1 + np.cos(pi * s)) / 2, np.where(inside, -pi / (2 * width) * np.sin(pi * s), 0)


def check(words, coordinates, skip):
    """Raise `DataError` for options and kernels that are not supported, except unknown options in `skip`."""
    words.check_known(KNOWN, REFUSED, skip)
    dimension = coordinates.sparse_points.shape[1]
    if coordinates.covariance_type != 1 or dimension != 1 or coordinates.theta is None:
        raise DataError(
            f"{words.where} has covariance_type {coordinates.covariance_type} in {dimension} dimensions; for a "
            "distance_2b descriptor only 1 (squared exponential) in one dimension with its theta is supported"
        )


def named_elements(words):
    """Return the atomic numbers that a `distance_2b` descriptor names."""
    return {z for key in ("z1", "z2") for z in words.elements(key)} - {0}


def pair_function(words, coordinates):
    """Return the `PairFunction` of one descriptor; `DataError` names a number that is out of range."""
    cutoff, width = words.float("cutoff"), words.float("cutoff_transition_width", "0.5")
    theta = float(coordinates.theta[0])
    if not (0 < cutoff < MAX_CUTOFF and width > 0 and min(width, theta) >= MIN_LENGTH * cutoff):
        raise DataError(
            f"{words.where} has cutoff {cutoff:g} Å, transition width {width:g} Å and theta {theta:g} Å; a cutoff "
            f"above zero and below {MAX_CUTOFF:g} Å, and the others at least {MIN_LENGTH:g} of it, are expected"
        )
    scale = float(np.abs(coordinates.coefficients).sum()) * max(abs(coordinates.delta), abs(coordinates.mean)) ** 2
    if not scale < MAX_ENERGY:
        raise DataError(f"{words.where} has coefficients of {scale:.1e} eV in all, which no potential has")
    elements = tuple(words.elements(key)[0] for key in ("z1", "z2"))
    weights = coordinates.coefficients.astype(np.longdouble)
    return PairFunction(
        cutoff=cutoff,
        width=width,
        elements=elements,
        points=coordinates.sparse_points[:, 0].astype(np.longdouble),
        coefficients=np.longdouble(coordinates.delta) ** 2 * weights,
        constant=np.longdouble(coordinates.mean) ** 2 * weights.sum(),
        length_scale=theta,
    )


def pair_terms(functions, elements):
    """Return the `Spline2Term`s of all `distance_2b` descriptors of a model, and their largest errors.

    Parameters
    ----------
    functions : list of PairFunction
    elements : sequence of int
        Atomic numbers of the model, ascending.

    Returns
    -------
    terms : list of Spline2Term
        Three for each cutoff and width in use (two when the cosine falls over all distances).
    errors : dict
        "energy" (eV) and "force" (eV/Å): the largest differences from the sums, between all knots.
    """
    terms, errors = [], {"energy": 0.0, "force": 0.0}
    for cutoff, width in sorted({(f.cutoff, f.width) for f in functions}):
        group = [f for f in functions if (f.cutoff, f.width) == (cutoff, width)]
        part, energy, force = _refined(group, cutoff, width, elements)
        terms += part
        errors = {"energy": errors["energy"] + energy, "force": errors["force"] + force}
    return terms, errors


def _refined(group, cutoff, width, elements):
    """Return terms and errors on the coarsest of a series of grids that meets the bounds, else on the finest."""
    rows = {}  # pair number -> functions of that pair
    for a, first in enumerate(elements):
        for b in range(a, len(elements)):
            held = [f for f in group if f.holds(first, elements[b])]
            if held:
                rows[int(pair_number(a, b, len(elements)))] = held
    spacing = FIRST_SPACING
    while True:
        grid = _Grid.of(cutoff, width, spacing)
        terms = _terms(grid, rows, n_pairs(len(elements)))
        energy, force = _errors(grid, rows, terms)
        if (energy <= MAX_ENERGY_ERROR and force <= MAX_FORCE_ERROR) or 2 * grid.n_intervals > MAX_INTERVALS:
            return terms, energy, force
        spacing /= 2


@dataclass(frozen=True)
class _Grid:
    """Knots start + k · spacing; number `turn` is at r_c - w, number `n_intervals` at r_c."""

    start: float
    spacing: float
    turn: int
    n_intervals: int

    @classmethod
    def of(cls, cutoff, width, spacing):
        span = min(width, cutoff)
        inner = max(STUB, int(np.ceil(span / spacing)))  # intervals between r_c - w and r_c
        spacing = span / inner
        total = max(inner, int(np.floor(cutoff / spacing * (1 + 1e-14))))
        return cls(max(0.0, cutoff - total * spacing), spacing, total - inner, total)

    def knots(self):
        return self.start + np.longdouble(self.spacing) * np.arange(self.n_intervals + 1)


def _terms(grid, rows, count):
    """Return the main spline and its stubs."""
    h = np.longdouble(grid.spacing)
    main = np.zeros((count, grid.n_intervals + 3), dtype=np.longdouble)
    turn, end = np.zeros((count, STUB)), np.zeros((count, STUB))
    knots = grid.knots()
    for row, functions in rows.items():
        values, slopes = (sum(part) for part in zip(*(f(knots) for f in functions), strict=True))
        values[-1] = slopes[-1] = 0
        inner = _curvatures(values[grid.turn :], slopes[grid.turn], slopes[-1], h)
        outer = _curvatures(values[: grid.turn + 1], slopes[0], slopes[grid.turn], h) if grid.turn else inner[:1]
        turn[row] = _stub(inner[0] - outer[-1], h)
        end[row] = _stub(-inner[-1], h)
        at_knots = values - h * h / 6 * np.concatenate([outer[:-1], inner])
        at_knots[grid.turn : grid.turn + 2] -= turn[row, 1:3]
        main[row, 1:-1] = at_knots
        main[row, 0] = 2 * at_knots[0] - at_knots[1] + h * h * outer[0]
        main[row, -1] = -end[row, 2]
    terms = [Spline2Term(grid.start, grid.start + (grid.n_intervals + 3) * grid.spacing, main.astype(float))]
    for first, coefficients in ((grid.turn, turn), (grid.n_intervals, end)):
        if coefficients.any():
            start = grid.start + first * grid.spacing
            terms.append(Spline2Term(start, start + STUB * grid.spacing, coefficients))
    return terms


def _stub(jump, h):
    """Return coefficients of a spline that is zero with its slope at its start, where its curvature is `jump`."""
    return np.array([2, -1, 2, 0]) * float(jump * h * h / 6)


def _curvatures(values, first_slope, last_slope, h):
    """Return the second derivatives at the knots of the cubic spline with given slopes at both ends.

    The moments m obey m_(k-1) + 4 m_k + m_(k+1) = 6 (f_(k+1) - 2 f_k + f_(k-1))/h² (de Boor, A Practical Guide to
    Splines, 1978); the system is solved by elimination from the first knot to the last.
    """
    steps = np.diff(values) / h
    steps = np.concatenate([[first_slope], steps, [last_slope]])
    right = 6 * np.diff(steps) / h
    diagonal = np.full(len(values), 4, dtype=np.longdouble)
    diagonal[[0, -1]] = 2
    for k in range(1, len(values)):
        factor = 1 / diagonal[k - 1]
        diagonal[k] -= factor
        right[k] -= factor * right[k - 1]
    right[-1] /= diagonal[-1]
    for k in range(len(values) - 2, -1, -1):
        right[k] = (right[k] - right[k + 1]) / diagonal[k]
    return right


def _errors(grid, rows, terms):
    """Return the largest errors of energy (eV) and slope (eV/Å), at thirds of all intervals and beyond the cutoff."""
    thirds = np.arange(3 * (grid.n_intervals + STUB)) / np.longdouble(3)
    r = grid.start + np.longdouble(grid.spacing) * thirds
    energy = force = 0.0
    for row, functions in rows.items():
        values, slopes = (sum(part) for part in zip(*(f(r) for f in functions), strict=True))
        for term in terms:
            index, w, dw = bspline_values(r.astype(float), term.start, term.spacing, term.n_intervals)
            c = np.concatenate([term.coefficients[row], np.zeros(3)])[index[:, None] + np.arange(4)]
            inside = r.astype(float) < term.cutoff
            values, slopes = values - inside * (w * c).sum(axis=1), slopes - inside * (dw * c).sum(axis=1)
        energy, force = max(energy, np.abs(values).max()), max(force, np.abs(slopes).max())
    return float(energy), float(force)
