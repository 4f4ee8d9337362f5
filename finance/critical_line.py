"""The critical line: all minimisers of x'Sx/2 - t m'x under bounds and equalities, from t = infinity to 0.

Markowitz (1956, "The optimization of a quadratic function subject to linear constraints"); Niedermayer and
Niedermayer (2010, "Applying Markowitz's critical line algorithm"). Between two turning points the same
variables lie strictly between their bounds (they are free), and x is linear in t. At a turning point one
variable becomes free or stops being free. The inverse of the bordered matrix of the free variables, the
direction dx/dt and the reduced gradient are updated by one rank each time, at the cost of two products of a
matrix with a vector.

Ties and singular S. The line starts at a vertex of greatest return. Where that return is reached by a whole
face, the face's point of least variance is found first, by the same tracing with another linear term, which
is chosen so that the vertex is its only maximiser. A variable whose column depends on those of the free ones
(a duplicate; more assets than days) has no curvature of its own: along that direction the reduced gradient is
t times a constant, so that it never has to become free while t > 0, and it is passed over.

Other solvers. cvxcla traces the same line, also under ties; here a pivot costs two products instead of a
solve, which is several times faster (`scripts/bench/frontier.py`), and the caller proves each segment. The
first vertex under limits on sums is a linear program, left to HiGHS. Interior-point methods such as Clarabel
need a solve a point: they are the oracles of the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from finance.constraints import InfeasibleError, StandardForm
from finance.prices import Floats

_STILL = 1e-12  # a rate below this counts as none (S and m are scaled to 1)
_FLAT = 1e-11  # a curvature below this part of its own terms counts as none
_ROUNDING = 1e-15  # a curvature below this (S is scaled to 1) is all rounding, its own terms too
_TIED = 1e-13  # means this near to each other (scaled to 1) count as equal

_WIDER = 1e-6  # by how much bounds are moved apart to find a regular vertex
_WIDENINGS = (0.6180339887498949, 0.41421356237309515, 0.7320508075688772)  # how unlike the amounts are

Indices = npt.NDArray[np.intp]


class LostError(Exception):
    """The tracing lost its way in float64; a caller tries another way or refuses."""


@dataclass(frozen=True, eq=False)
class Line:
    """K turning points in order of falling t.

    Attributes:
        t: `[K]`, weight of the linear term; the first point holds for every larger t, the last is t = 0.
        x: `[K, D]`.
        multipliers: `[K, E]` of the equalities.
        ray: `[E]`, d(multipliers)/dt for every t above the first.
        pivots: how often a variable became free or stopped being free.
    """

    t: Floats
    x: Floats
    multipliers: Floats
    ray: Floats
    pivots: int


def trace(curvature: Floats, linear: Floats, form: StandardForm, *, refresh: int = 64) -> Line:
    """The critical line.

    Args:
        curvature: S `[D, D]`, positive semidefinite, entries of size 1.
        linear: m `[D]`, entries of size 1.
        form: bounds and equalities.
        refresh: pivots between two factorisations from scratch.

    Raises:
        InfeasibleError: when nothing keeps the constraints.
        LostError: when rounding has led astray.
    """
    linear = linear.copy()
    x, free, movable = _best_vertex(linear, form)
    walk = _Walk(curvature, form, x, free, refresh)
    if movable.sum() > len(free):
        spread = 1.0 + np.arange(len(linear)) * 0.6180339887498949 % 1.0
        at_upper = x > 0.5 * (form.lower + form.upper)
        walk.run(np.where(walk.is_free | ~movable, 0.0, np.where(at_upper, spread, -spread)), movable)
    walk.points.clear()
    walk.run(linear, form.upper > form.lower)
    t, points, multipliers = (np.array(part) for part in zip(*walk.points, strict=True))
    return Line(t, points, multipliers, walk.ray, walk.pivots)


def _best_vertex(linear: Floats, form: StandardForm) -> tuple[Floats, Indices, npt.NDArray[np.bool_]]:
    """A vertex of greatest linear term, its basis, and the variables that can move without losing any of it.

    Linear terms that tie are made equal in place.
    """
    return _greedy_vertex(linear, form) if len(form.totals) == 1 else _simplex_vertex(linear, form)


def _greedy_vertex(linear: Floats, form: StandardForm) -> tuple[Floats, Indices, npt.NDArray[np.bool_]]:
    order = np.argsort(-linear, kind="stable")
    room = (form.upper - form.lower)[order].cumsum()
    wanted = form.totals[0] - form.lower.sum()
    last = min(int(np.searchsorted(room, wanted)), len(order) - 1)
    x = form.lower.copy()
    x[order[:last]] = form.upper[order[:last]]
    basic = order[last]
    x[basic] += form.totals[0] - x.sum()
    movable = np.abs(linear - linear[basic]) <= _TIED
    linear[movable] = linear[basic]
    movable &= form.upper > form.lower
    movable[basic] = True
    return x, np.array([basic]), movable


def _simplex_vertex(linear: Floats, form: StandardForm) -> tuple[Floats, Indices, npt.NDArray[np.bool_]]:
    _simplex(linear, form, form.lower, form.upper)
    # With bounds a little wider, each by another amount, as many variables lie between them as there are
    # equalities, also where the vertex of the true problem is degenerate; the basis is right for both.
    span = form.upper - form.lower
    unit = float(span.max()) or 1.0
    near = 1e-3 * _WIDER * unit
    for factor in _WIDENINGS:
        wider = _WIDER * unit * (1.0 + np.arange(2 * len(span)).reshape(2, -1) * factor % 1.0)
        lower, upper = form.lower - wider[0], form.upper + wider[1]
        found, marginals = _simplex(linear, form, lower, upper)
        free = np.flatnonzero((found - lower > near) & (upper - found > near))
        if len(free) == len(form.totals):
            break
    else:
        raise LostError("the linear program has no regular vertex")
    x = np.where(2.0 * found > lower + upper, form.upper, form.lower)
    x[free] = 0.0
    try:
        x[free] = np.linalg.solve(form.equalities[:, free], form.totals - form.equalities @ x)
        multipliers = np.linalg.solve(form.equalities[:, free].T, linear[free])
    except np.linalg.LinAlgError:
        raise LostError("the linear program has no regular basis") from None
    movable = (np.abs(marginals) <= 1e-9) & (span > 0)
    movable[free] = True
    price = form.equalities.T @ multipliers
    tied = movable & (np.abs(linear - price) <= 1e-9)
    linear[tied] = price[tied]
    return x, free, movable


def _simplex(linear: Floats, form: StandardForm, lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """A vertex of greatest linear term between these bounds, and what moving each variable costs."""
    unit = float((upper - lower).max()) or 1.0  # its tolerances are meant for variables of size 1
    found = optimize.linprog(
        -linear,
        A_eq=form.equalities,
        b_eq=form.totals / unit,
        bounds=list(zip((lower / unit).tolist(), (upper / unit).tolist(), strict=True)),
        method="highs-ds",
        # Its own 1e-7 is too near to `_WIDER`: a basic variable would pass for one at its bound.
        options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
    )
    if found.status == 2:
        raise InfeasibleError("no portfolio keeps the budget, the bounds and the limits on sums together")
    if found.x is None:
        raise LostError(f"the linear program failed: {found.message}")
    return unit * np.asarray(found.x), np.asarray(found.lower.marginals + found.upper.marginals)


class _Walk:
    """The state at one point of a line: D variables, E equalities, k free variables, h = E + k.

    Attributes:
        border: `[>= h, D]`, rows -equalities, then the rows of S of the free variables.
        inverse: `[>= h, >= h]`, of [[0, -A_F], [-A_F', S_FF]].
        order: the free variables, in the order of those rows.
        direction: `[h]`, d(multipliers, x_F)/dt.
        room: `[D]`, of a free variable x - lower; of another its reduced gradient times `side`.
        rate: `[D]`, d(room)/dt. Falling t moves `room` towards 0 where the rate is positive.
        side: `[D]`, 1 at the lower bound, -1 at the upper one, 0 for what may not move.
    """

    def __init__(self, curvature: Floats, form: StandardForm, x: Floats, free: Indices, refresh: int) -> None:
        self.curvature, self.form, self.refresh = curvature, form, refresh
        self.equal, size = len(form.totals), len(x)
        self.x, self.pivots = x.copy(), 0
        self.order = list(map(int, free))
        self.is_free = np.zeros(size, dtype=bool)
        self.is_free[free] = True
        self.border = np.empty((self.equal + size, size))
        self.border[: self.equal] = -form.equalities
        self.inverse = np.empty((0, 0))
        self.span = form.upper - form.lower
        self.limited = bool(form.bounded.any())
        self.ceiling = np.full(size, np.inf)
        self.points: list[tuple[float, Floats, Floats]] = []
        self.direction, self.multipliers = np.zeros(self.equal + len(free)), np.zeros(self.equal)
        self.room, self.rate, self.side = np.zeros(size), np.zeros(size), np.zeros(size)
        self.linear, self.t, self.ray = np.zeros(size), np.inf, np.zeros(self.equal)

    def run(self, linear: Floats, movable: npt.NDArray[np.bool_]) -> None:
        """From t = infinity, where the present x is optimal, to t = 0."""
        self.linear = linear
        at_upper = self.x > self.form.lower + 0.5 * self.span
        self.side = np.where(movable, np.where(at_upper, -1.0, 1.0), 0.0)
        self.t = self._first()
        self.points.append((self.t, self.x.copy(), self.multipliers.copy()))
        limit, idle, since = 40 * len(linear) + 200, 0, 0
        for _ in range(limit):
            if self.t == 0.0:
                return
            step, at = self._next()
            self._advance(step)
            idle = 0 if step > 0 else idle + 1
            if idle > 6 * len(linear) + 50:
                break
            if self.t > 0.0:
                since += self._pivot(at)
                if since >= self.refresh:
                    self._factorise(self.t)
                    since = 0
        raise LostError("too many pivots")

    def _first(self) -> float:
        """The largest t at which something changes, with the state there."""
        self._factorise(0.0)
        self.direction[self.equal :] = 0.0  # here x does not depend on t
        self.rate[self.order] = 0.0
        turning = ~self.is_free & (self.rate > _STILL)
        t = float(np.max(-self.room[turning] / self.rate[turning], initial=0.0))
        self.room += t * self.rate
        self.ray = self.direction[: self.equal].copy()
        self.multipliers = self.multipliers + t * self.ray
        return t

    def _factorise(self, t: float) -> None:
        """Everything from scratch at t."""
        e, free = self.equal, np.array(self.order, dtype=np.intp)
        h = e + len(free)
        self.border[e:h] = self.curvature[free]
        matrix = np.zeros((h, h))
        matrix[:e, e:] = self.border[:e, free]
        matrix[e:, :e] = matrix[:e, e:].T
        matrix[e:, e:] = self.border[e:h, free]
        try:
            inverse = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:
            raise LostError("a singular basis") from None
        self._make_room(h)
        self.inverse[:h, :h] = inverse = 0.5 * (inverse + inverse.T)
        resting = np.where(self.is_free, 0.0, self.x)
        pull = resting @ self.curvature
        constant = np.concatenate([self.form.equalities @ resting - self.form.totals, -pull[free]])
        slope = np.concatenate([np.zeros(e), self.linear[free]])
        both = np.column_stack([constant + t * slope, slope])
        found = inverse @ both
        found += inverse @ (both - matrix @ found)
        point, self.direction = found[:, 0], found[:, 1]
        self.multipliers = point[:e].copy()
        gradient = pull + point @ self.border[:h] - t * self.linear
        change = self.direction @ self.border[:h] - self.linear
        self.room, self.rate = self.side * gradient, self.side * change
        self.x[free] = point[e:]
        self.room[free], self.rate[free] = point[e:] - self.form.lower[free], self.direction[e:]
        self.ceiling[:] = np.inf
        self.ceiling[free] = np.where(self.form.bounded[free], self.span[free], np.inf)

    def _make_room(self, size: int) -> None:
        # Not all that may ever be needed: rows far apart in memory would cost more than the arithmetic.
        if size > len(self.inverse):
            larger = np.empty((size + size // 2 + 24, size + size // 2 + 24))
            larger[: len(self.inverse), : len(self.inverse)] = self.inverse
            self.inverse = larger

    def _next(self) -> tuple[float, int]:
        """How far t falls until the next change, and the variable that changes; -1 at t = 0."""
        wait = np.full(len(self.room), np.inf)
        np.divide(self.room, self.rate, out=wait, where=self.rate > _STILL)
        at = int(wait.argmin())
        step = wait[at]
        if self.limited:
            wait = np.full(len(self.room), np.inf)
            np.divide(self.room - self.ceiling, self.rate, out=wait, where=self.rate < -_STILL)
            above = int(wait.argmin())
            if wait[above] < step:
                step, at = wait[above], above
        return (max(float(step), 0.0), at) if step < self.t else (self.t, -1)

    def _advance(self, step: float) -> None:
        """Lower t and record the point."""
        if step == 0.0:
            return
        self.room -= step * self.rate
        self.multipliers = self.multipliers - step * self.direction[: self.equal]
        self.t = self.t - step if step < self.t else 0.0
        self.x[self.order] = self.form.lower[self.order] + self.room[self.order]
        self.points.append((self.t, self.x.copy(), self.multipliers))

    def _pivot(self, at: int) -> bool:
        """The variable changes sides; False when it was passed over."""
        return self._leave(at) if self.is_free[at] else self._enter(at)

    def _enter(self, at: int) -> bool:
        h = self.equal + len(self.order)
        inverse = self.inverse[:h, :h]
        column = self.border[:h, at].copy()
        answer = inverse @ column
        terms = column * answer
        own = self.curvature[at, at]
        curvature = own - terms.sum()
        if curvature <= max(_FLAT * (own + np.abs(terms).sum()), _ROUNDING):
            self.room[at] = self.rate[at] = 0.0
            return False
        side = self.side[at]
        pull = -side * self.rate[at] / curvature
        moved = self.curvature[at] - answer @ self.border[:h]
        moved *= self.side
        moved *= pull
        self.rate += moved
        self.direction = np.append(self.direction - pull * answer, pull)
        scaled = answer / curvature
        inverse += answer[:, None] * scaled
        self._make_room(h + 1)
        self.inverse[:h, h] = self.inverse[h, :h] = -scaled
        self.inverse[h, h] = 1.0 / curvature
        self.border[h] = self.curvature[at]
        self.order.append(at)
        self.is_free[at] = True
        self.rate[self.order] = self.direction[self.equal :]
        self.room[at] = 0.0 if side > 0 else self.span[at]
        if self.limited and self.form.bounded[at]:
            self.ceiling[at] = self.span[at]
        self.pivots += 1
        return True

    def _leave(self, at: int) -> bool:
        e, place = self.equal, self.order.index(at)
        h, row = e + len(self.order), e + place
        inverse = self.inverse[:h, :h]
        column = inverse[:, row].copy()
        pivot = column[row]
        if pivot <= 0.0:
            raise LostError("a curvature that is not positive")
        pull = self.direction[row] / pivot
        moved = column @ self.border[:h]
        moved *= self.side
        moved *= pull
        self.rate -= moved
        self.direction -= pull * column
        self.direction[row] = self.direction[-1]
        self.direction = self.direction[:-1]
        inverse -= column[:, None] * (column / pivot)
        inverse[row] = inverse[-1]
        inverse[:, row] = inverse[:, -1]
        self.border[row] = self.border[h - 1]
        self.order[place] = self.order[-1]
        self.order.pop()
        self.is_free[at] = False
        # It leaves at the bound that it moves to as t falls.
        side = 1.0 if pull > 0 else -1.0
        self.x[at] = self.form.lower[at] if side > 0 else self.form.upper[at]
        self.side[at] = side if self.span[at] > 0 else 0.0
        self.room[at], self.rate[at] = 0.0, -self.side[at] * pull
        self.ceiling[at] = np.inf
        self.rate[self.order] = self.direction[e:]
        self.pivots += 1
        return True
