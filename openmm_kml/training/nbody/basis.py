"""The spline basis: grids, and which column of the design matrix belongs to which coefficient."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from openmm_kml.local_terms import MIN_INTERVALS, Spline2Term, Spline3Term, n_pairs


@dataclass(frozen=True)
class Grid:
    """A uniform grid of a distance.

    Attributes
    ----------
    start, end : float, Å
    n_intervals : int
    closed : bool
        Whether functions vanish at the end with slope and curvature: the last three coefficients are zero, not stored.
    """

    start: float
    end: float
    n_intervals: int
    closed: bool = True

    @classmethod
    def with_spacing(cls, start, end, spacing, closed=True):
        """Return the grid whose spacing is the largest that does not exceed the wanted one."""
        return cls(start, end, max(MIN_INTERVALS, int(np.ceil((end - start) / spacing - 1e-9))), closed)

    @property
    def spacing(self):
        return (self.end - self.start) / self.n_intervals

    @property
    def n_coefficients(self):
        """Stored coefficients."""
        return self.n_intervals + (0 if self.closed else 3)

    def sites(self, margin=0):
        """Return the Greville abscissae start + (b - 1) spacing of the coefficients, and `margin` more each way."""
        return self.start + self.spacing * (np.arange(-margin, self.n_coefficients + margin) - 1)


@dataclass(frozen=True)
class Block:
    """The columns of one function: f2 of a pair of elements, or f3 of a center and a pair of neighbors.

    Attributes
    ----------
    columns : slice
    entries : tuple of int arrays
        Place of each column's coefficient on each axis of the grid; (b,) for two bodies, (i, j, k) for three.
    symmetric : bool
        Whether the first two axes exchange: only i <= j is stored.
    """

    columns: slice
    entries: tuple
    symmetric: bool = False


@dataclass(frozen=True)
class SplineBasis:
    """Columns: one-body energies of the elements, then f2 of all pairs, then f3 of all centers and pairs.

    Attributes
    ----------
    elements : tuple of int
        Atomic numbers, ascending.
    grid2 : Grid
    grid3, grid_far : Grid or None
        Of the two distances to the center, and of that between the neighbors; None without three bodies.
    taper_start, taper_width : float, Å
    """

    elements: tuple
    grid2: Grid
    grid3: Grid | None = None
    grid_far: Grid | None = None
    taper_start: float = 0.0
    taper_width: float = 1.0

    @classmethod
    def for_data(cls, elements, shortest, options):
        """Return the basis that the options ask for, for data whose shortest distance is `shortest`."""
        # Never at zero: distances in units of the spacing must not depend on what atoms cannot reach.
        start = float(max(0.1 * shortest, shortest - options.inner_margin))
        grid2 = Grid.with_spacing(start, options.cutoff2, options.spacing2)
        if not options.cutoff3:
            return cls(tuple(elements), grid2)
        grid3 = Grid.with_spacing(start, options.cutoff3, options.spacing3)
        far = grid3 if options.compact else Grid.with_spacing(start, 2 * options.cutoff3, options.spacing3, False)
        if far.n_coefficients < 7:
            far = Grid(far.start, far.end, 7, far.closed)
        return cls(tuple(elements), grid2, grid3, far, start, float(shortest) - start)

    @property
    def n_elements(self):
        return len(self.elements)

    @property
    def n_columns(self):
        return self.blocks[-1].columns.stop

    @property
    def reach(self):
        """Distance in Å within which neighbors are needed."""
        return max(self.grid2.end, self.grid3.end if self.grid3 else 0.0)

    @cached_property
    def blocks2(self):
        """One `Block` for each unordered pair of elements."""
        size, first = self.grid2.n_coefficients, self.n_elements
        return [
            Block(slice(first + p * size, first + (p + 1) * size), (np.arange(size),))
            for p in range(n_pairs(self.n_elements))
        ]

    @cached_property
    def blocks3(self):
        """One `Block` for each center and unordered pair of neighbors, centers first."""
        if self.grid3 is None:
            return []
        first, blocks = self.blocks2[-1].columns.stop, []
        pairs = [(b, c) for b in range(self.n_elements) for c in range(b, self.n_elements)]
        entries = {symmetric: self._reachable(symmetric) for symmetric in (False, True)}
        for _ in range(self.n_elements):
            for b, c in pairs:
                size = len(entries[b == c][0])
                blocks.append(Block(slice(first, first + size), entries[b == c], b == c))
                first += size
        return blocks

    @property
    def blocks(self):
        return [*self.blocks2, *self.blocks3]

    def _reachable(self, symmetric):
        """Return the coefficients (i, j, k) whose splines do not vanish on all triangles."""
        near, far = self.grid3, self.grid_far
        i, j, k = np.indices((near.n_coefficients, near.n_coefficients, far.n_coefficients)).reshape(3, -1)
        low = [grid.start + (n - 3) * grid.spacing for n, grid in ((i, near), (j, near), (k, far))]
        high = [edge + 4 * grid.spacing for edge, grid in zip(low, (near, near, far), strict=True)]
        keep = (low[2] < high[0] + high[1]) & (low[1] < high[0] + high[2]) & (low[0] < high[1] + high[2])
        if symmetric:
            keep &= i <= j
        return i[keep], j[keep], k[keep]

    @cached_property
    def columns2(self):
        """Column of each coefficient, shape (pairs, K + 3); n_columns where there is none."""
        table = np.full((n_pairs(self.n_elements), self.grid2.n_intervals + 3), self.n_columns, np.int32)
        for pair, block in enumerate(self.blocks2):
            table[pair, block.entries[0]] = np.arange(block.columns.start, block.columns.stop)
        return table

    @cached_property
    def columns3(self):
        """Column of each coefficient, shape (n, pairs, K + 3, K + 3, M + 3 or M); n_columns where there is none."""
        near, far = self.grid3.n_intervals + 3, self.grid_far.n_intervals + 3
        n = self.n_elements
        table = np.full((n * n_pairs(n), near, near, far), self.n_columns, np.int32)
        for number, block in enumerate(self.blocks3):
            i, j, k = block.entries
            table[number, i, j, k] = np.arange(block.columns.start, block.columns.stop)
            if block.symmetric:
                table[number, j, i, k] = table[number, i, j, k]
        return table.reshape(n, -1, near, near, far)

    def coefficients(self, solution):
        """Return one-body energies and the coefficients of `Spline2Term` and `Spline3Term` (None without).

        Parameters
        ----------
        solution : ndarray of shape (n_columns,)

        Returns
        -------
        atom_energies : ndarray of shape (n,), eV
        two : ndarray of shape (pairs, K), eV
        three : ndarray of shape (n, pairs, K, K, M), eV, or None
        """
        padded = np.append(solution, 0.0)
        two = padded[self.columns2[:, : self.grid2.n_coefficients]]
        if self.grid3 is None:
            return solution[: self.n_elements], two, None
        near, far = self.grid3.n_coefficients, self.grid_far.n_coefficients
        return solution[: self.n_elements], two, padded[self.columns3[:, :, :near, :near, :far]]

    def terms(self, solution):
        """Return the two-body term, and the three-body term if there is one, of a solution of shape (n_columns,)."""
        _, two, three = self.coefficients(solution)
        terms = [Spline2Term(self.grid2.start, self.grid2.end, two)]
        if three is not None:
            near, far = self.grid3, self.grid_far
            taper = self.taper_start, self.taper_width
            terms.append(Spline3Term(near.start, near.end, far.start, far.closed, *taper, three))
        return terms
