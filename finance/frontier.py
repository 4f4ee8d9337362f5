"""The efficient frontier, exactly: every portfolio of least variance at its return, as one piecewise linear
path, with the residuals that prove it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.lab.errors import VhatError
from finance.certificate import LEAST_SIZE, TOLERANCE, Certificate, checked_moments
from finance.constraints import LONG_ONLY, Constraints, InfeasibleError, StandardForm
from finance.critical_line import Line, LostError, trace
from finance.prices import Floats

_FEW = 64  # pivots between two factorisations
_MOVED = 1e-10  # far below `TOLERANCE`, far above rounding
_AT_ONCE = 256  # portfolios that are mixed at once, so that what is read twice is still near


class InaccurateError(VhatError):
    """An answer was found, but it is not optimal to the accuracy promised, so it is refused."""


class NoTangencyError(VhatError):
    """No portfolio has a greatest Sharpe ratio."""


@dataclass(frozen=True, eq=False)
class Portfolios:
    """P efficient portfolios.

    Attributes:
        weights: `[P, N]`.
        expected_return: `[P]`, a period of the moments.
        volatility: `[P]`, a period.
        risk_aversion: `[P]`, gamma for which each maximises w·m - (gamma/2) w·Sw; inf at least variance.
        kkt_residual: `[P]`, bound on the violation of the optimality conditions (Karush, Kuhn and Tucker):
            for each variable the smaller of the violation of its sign condition, relative to the gradient's
            largest term, and its distance to its bound; and of the constraints.
        duality_gap: `[P]`, bound on the gap to the optimum relative to the size of the objective's terms.
    """

    weights: Floats
    expected_return: Floats
    volatility: Floats
    risk_aversion: Floats
    kkt_residual: Floats
    duality_gap: Floats

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True, eq=False)
class Frontier:
    """All efficient portfolios: linear between K turning points, from greatest return to least variance.

    Attributes:
        mean: m `[N]`, expected returns a period.
        covariance: S `[N, N]`, a period.
        turning: the K turning points; the risk aversion of the first is the largest one up to which it holds.
        pivots: how often a weight reached or left a bound on the way.
        cross: `[K - 1]`, w_k·S w_{k+1}.
        segment_residual, segment_gap: `[K - 1]`, bounds for every portfolio between two turning points.
        ray_residual, ray_gap: bounds for the first turning point at every smaller risk aversion than its own.
    """

    mean: Floats
    covariance: Floats
    turning: Portfolios
    pivots: int
    cross: Floats
    segment_residual: Floats
    segment_gap: Floats
    ray_residual: float
    ray_gap: float

    def min_variance(self) -> Portfolios:
        """The portfolio of least variance; of several the one with greatest return."""
        return self._between(np.array([max(len(self.turning) - 2, 0)]), np.ones(1))

    def max_return(self) -> Portfolios:
        """The portfolio of greatest return; of several the one with least variance."""
        return self._between(np.zeros(1, dtype=np.intp), np.zeros(1))

    def at_risk_aversion(self, risk_aversion: float | Floats) -> Portfolios:
        """The greatest w·m - (gamma/2) w·Sw for each gamma >= 0 (inf: least variance).

        Raises:
            VhatError: for a risk aversion that is negative or not a number.
        """
        gamma = _asked(risk_aversion)
        if not (gamma >= 0).all():
            raise VhatError(f"risk aversion must not be negative, got {gamma.min()}")
        with np.errstate(divide="ignore"):
            tolerance, knots = 1.0 / gamma, 1.0 / self.turning.risk_aversion
        segment = self._segment(knots, tolerance)
        where = self._share(knots, tolerance, segment)
        found = self._between(segment, where)
        beyond = gamma < self.turning.risk_aversion[0]
        return Portfolios(
            found.weights,
            found.expected_return,
            found.volatility,
            gamma,
            np.where(beyond, self.ray_residual, found.kkt_residual),
            np.where(beyond, self.ray_gap, found.duality_gap),
        )

    def at_return(self, least: float | Floats) -> Portfolios:
        """The least variance with at least each expected return.

        Raises:
            InfeasibleError: for a return above the greatest one.
        """
        wanted, knots = _asked(least), self.turning.expected_return
        slack = 1e-12 * float(np.abs(self.mean).max())
        if not (wanted <= knots[0] + slack).all():
            raise InfeasibleError(
                f"no portfolio has an expected return of {wanted.max():g}; the greatest is {knots[0]:g}"
            )
        wanted = np.clip(wanted, knots[-1], knots[0])
        segment = self._segment(knots, wanted)
        return self._between(segment, self._share(knots, wanted, segment))

    def at_risk(self, most: float | Floats) -> Portfolios:
        """The greatest expected return with at most each volatility.

        Raises:
            InfeasibleError: for a volatility below the least one.
        """
        wanted, knots = _asked(most), self.turning.volatility
        least = float(knots.min())
        if not (wanted >= least * (1 - 1e-12)).all():
            raise InfeasibleError(
                f"no portfolio has a volatility as low as {wanted.min():g}; the least is {least:g}"
            )
        # Where all risk cancels, what is left of it is rounding, which need not fall.
        knots = np.maximum.accumulate(knots[::-1])[::-1]
        wanted = np.clip(wanted, knots[-1], knots[0])
        segment = self._segment(knots, wanted)
        if len(knots) == 1:
            return self._between(segment, np.zeros(len(segment)))
        start, end, cross = knots[segment] ** 2, knots[segment + 1] ** 2, self.cross[segment]
        # (1-s)^2 start + 2s(1-s) cross + s^2 end = wanted^2; the root in [0, 1] without cancellation.
        excess, half, square = start - wanted**2, start - cross, start - 2 * cross + end
        root = half + np.sqrt(np.maximum(half**2 - square * excess, 0.0))
        return self._between(segment, np.divide(excess, root, out=np.zeros_like(root), where=root > 0))

    def max_sharpe(self, risk_free: float = 0.0) -> Portfolios:
        """The greatest (w·m - risk_free) / volatility (the tangency portfolio).

        Raises:
            NoTangencyError: when no expected return exceeds the risk-free rate (cash is then best, and the
                ratio would reward risk), or when a portfolio without risk exceeds it (there is no bound).
        """
        above = self.turning.expected_return - risk_free
        scale = float(np.abs(self.turning.expected_return).max()) + abs(risk_free)
        if above[0] <= 1e-14 * scale:
            raise NoTangencyError(
                f"no portfolio's expected return ({self.turning.expected_return[0]:g} at most) exceeds the "
                f"risk-free rate ({risk_free:g}), so none has a greatest Sharpe ratio: hold cash, "
                "or take the portfolio of least variance"
            )
        variance = self.turning.volatility**2
        if len(above) == 1:
            self._refuse_riskless(above, variance)
            return self.max_return()
        start, end, cross, gain = variance[:-1], variance[1:], self.cross, np.diff(above)
        # The stationary point of (a + s gain) / sqrt(quadratic in s) on each segment, kept inside it.
        bend, top = cross - start, start - 2 * cross + end
        below = gain * bend - above[:-1] * top
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = np.clip(np.nan_to_num((above[:-1] * bend - gain * start) / below), 0.0, 1.0)
        share = np.stack([np.zeros_like(inner), inner, np.ones_like(inner)])
        spread = start + 2 * share * bend + share**2 * top
        earned = above[:-1] + share * gain
        self._refuse_riskless(earned, spread)
        ratio = np.where(earned > 0, earned, -np.inf) / np.sqrt(np.maximum(spread, np.finfo(float).tiny))
        row, segment = np.unravel_index(int(ratio.argmax()), ratio.shape)
        return self._between(np.array([segment]), share[row, [segment]])

    def spaced(self, count: int) -> Portfolios:
        """`count` portfolios from least variance to greatest return, at equal steps of expected return."""
        knots = self.turning.expected_return
        return self.at_return(np.linspace(knots[-1], knots[0], count))

    def _refuse_riskless(self, earned: Floats, variance: Floats) -> None:
        largest = float(np.abs(self.covariance).max())
        if bool(((variance <= 1e-15 * largest) & (earned > 0)).any()):
            raise NoTangencyError(
                "a portfolio without risk has an expected return above the risk-free rate, so the Sharpe "
                "ratio has no bound; use more periods than assets, or a shrunk covariance (Ledoit-Wolf)"
            )

    def _segment(self, knots: Floats, wanted: Floats) -> npt.NDArray[np.intp]:
        """The segment of falling knots that holds each value."""
        # From the end with least risk: of several portfolios at one value this is the one to take.
        place = len(knots) - 1 - np.searchsorted(knots[::-1], wanted, side="left")
        out: npt.NDArray[np.intp] = np.clip(place, 0, max(len(knots) - 2, 0))
        return out

    def _share(self, knots: Floats, wanted: Floats, segment: npt.NDArray[np.intp]) -> Floats:
        """How far along its segment each value lies, from 0 to 1."""
        if len(knots) == 1:
            return np.zeros(len(segment))
        begin, end = knots[segment], knots[segment + 1]
        with np.errstate(invalid="ignore"):
            share = np.divide(begin - wanted, begin - end, out=np.ones_like(wanted), where=begin > end)
        out: Floats = np.clip(np.nan_to_num(share), 0.0, 1.0)
        return out

    def _between(self, segment: npt.NDArray[np.intp], share: Floats) -> Portfolios:
        turning = self.turning
        if len(turning) == 1:
            pick = np.zeros(len(segment), dtype=np.intp)
            return Portfolios(*(getattr(turning, name)[pick] for name in Portfolios.__dataclass_fields__))
        after = segment + 1

        def mix(values: Floats) -> Floats:
            out: Floats = (1.0 - share) * values[segment] + share * values[after]
            return out

        variance = turning.volatility**2
        variance = (
            (1 - share) ** 2 * variance[segment]
            + 2 * share * (1 - share) * self.cross[segment]
            + share**2 * variance[after]
        )
        weights = np.empty((len(segment), turning.weights.shape[1]))
        for begin in range(0, len(segment), _AT_ONCE):
            some = slice(begin, begin + _AT_ONCE)
            part = np.take(turning.weights, segment[some], axis=0, out=weights[some], mode="clip")
            part *= (1.0 - share[some])[:, None]
            part += turning.weights[after[some]] * share[some, None]
        with np.errstate(divide="ignore"):
            gamma = 1.0 / mix(1.0 / turning.risk_aversion)
        return Portfolios(
            weights,
            mix(turning.expected_return),
            np.sqrt(np.maximum(variance, 0.0)),
            gamma,
            self.segment_residual[segment],
            self.segment_gap[segment],
        )


def efficient_frontier(mean: Floats, covariance: Floats, constraints: Constraints = LONG_ONLY) -> Frontier:
    """Trace the frontier.

    When rounding leads the line astray, or its result does not prove itself, it is traced again with a
    factorisation at every turning point, then twice on moments moved by 1e-10 of their size, which breaks
    ties and makes near-duplicates regular; each time the result is judged on the given moments.

    Args:
        mean: expected returns m `[N]`.
        covariance: S `[N, N]`, symmetric and positive semidefinite (singular is fine).
        constraints: what may be held.

    Raises:
        VhatError: for arguments that make no such problem.
        InfeasibleError: when no portfolio keeps the constraints.
        InaccurateError: when no way gives a result to within `TOLERANCE`.
    """
    problem = _Problem.of(mean, covariance, constraints)
    ways: tuple[Callable[[], Line], ...] = (
        lambda: trace(problem.curvature, problem.linear, problem.form, refresh=_FEW),
        lambda: trace(problem.curvature, problem.linear, problem.form, refresh=1),
        lambda: trace(*problem.moved(), problem.form, refresh=_FEW),
        lambda: trace(*problem.moved(), problem.form, refresh=1),
    )
    reason = ""
    for way in ways:
        try:
            found = problem.judge(way())
        except LostError as error:
            reason = str(error)
            continue
        residual = max(*found.segment_residual, *found.turning.kkt_residual, found.ray_residual)
        gap = max(*found.segment_gap, *found.turning.duality_gap, found.ray_gap)
        if residual > TOLERANCE:
            reason = f"KKT residual {residual:.1e}"
        elif gap > TOLERANCE:
            reason = f"relative duality gap {gap:.1e}"
        else:
            return found
    raise InaccurateError(
        f"the frontier found is not optimal to {TOLERANCE:g} and is refused ({reason}); the covariance is "
        "probably too ill-conditioned: drop near-duplicate assets or shrink it (Ledoit-Wolf)"
    )


@dataclass(frozen=True, eq=False)
class _Problem:
    """The moments in units in which they are of size 1, with a variable a limited sum."""

    mean: Floats
    covariance: Floats
    curvature: Floats
    linear: Floats
    form: StandardForm
    centre: float
    mean_unit: float
    risk_unit: float

    @classmethod
    def of(cls, mean: Floats, covariance: Floats, constraints: Constraints) -> _Problem:
        m, s, scaled, risk_unit = checked_moments(mean, covariance)
        form = constraints.standard(len(m))
        centre = 0.5 * float(m.max() + m.min())
        mean_unit = float(m.max()) - centre
        if mean_unit <= 1e-14 * abs(centre) or mean_unit < np.finfo(float).tiny:
            mean_unit, linear = 1.0, np.zeros_like(m)
        else:
            linear = (m - centre) / mean_unit
        extra = len(form.lower) - len(m)
        if extra:
            scaled, linear = np.pad(scaled, (0, extra)), np.pad(linear, (0, extra))
        return cls(m, s, scaled, linear, form, centre, mean_unit, risk_unit)

    def moved(self) -> tuple[Floats, Floats]:
        """The same moments but for `_MOVED` of their size: without ties, and better conditioned."""
        noise = np.random.default_rng(len(self.mean)).uniform(0.5, 1.0, (2, len(self.linear)))
        return self.curvature + np.diag(_MOVED * noise[0]), self.linear + _MOVED * noise[1]

    def judge(self, line: Line) -> Frontier:
        """The frontier with its residuals."""
        keep = np.append(True, np.diff(line.t) < 0)
        keep[-1] = True
        t, x, multipliers = line.t[keep], line.x[keep], line.multipliers[keep]
        size, form = len(self.mean), self.form
        risk = x @ self.curvature
        pull = t[:, None] * self.linear
        gradient = risk - pull - multipliers @ form.equalities
        # Sizes of terms, not of sums: where all risk cancels, what is left of it is rounding.
        own = np.abs(x) * np.diagonal(self.curvature)
        scale = np.maximum(np.maximum(np.abs(risk), own).max(axis=1), t * np.abs(self.linear).max())
        judged = Certificate.of(gradient, np.maximum(scale, LEAST_SIZE * form.reach), x, form)
        weights = np.ascontiguousarray(x[:, :size])
        variance = np.maximum((x * risk).sum(axis=1), 0.0)
        earned = weights @ (self.mean / self.mean_unit)
        size_of_risk = np.maximum(variance, (np.abs(x) * own).sum(axis=1))
        terms = np.abs(weights) @ np.abs(self.mean / self.mean_unit)
        value = np.maximum(size_of_risk + t * terms, LEAST_SIZE * form.reach**2)
        with np.errstate(divide="ignore"):
            gamma = self.mean_unit / (self.risk_unit * t)
        turning = Portfolios(
            weights,
            earned * self.mean_unit,
            np.sqrt(variance * self.risk_unit),
            gamma,
            judged.residual,
            judged.gap / value,
        )
        residual, gap = judged.between()
        # For t above the first the gradient goes on by what one more t adds to it.
        more = Certificate.of(
            -(self.linear + line.ray @ form.equalities)[None],
            np.array([max(float(np.abs(self.linear).max()), LEAST_SIZE)]),
            x[:1],
            form,
        )
        ray_residual, ray_lost = judged.onwards(more, max(float(terms[0]), LEAST_SIZE * form.reach))
        return Frontier(
            self.mean,
            self.covariance,
            turning,
            line.pivots,
            (x[:-1] * risk[1:]).sum(axis=1) * self.risk_unit,
            residual,
            gap / np.minimum(value[:-1], value[1:]),
            ray_residual,
            float(turning.duality_gap[0]) + ray_lost,
        )


def _asked(values: float | Floats) -> Floats:
    asked = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if asked.ndim != 1 or any(map(math.isnan, asked.tolist())):
        raise VhatError("ask with a number, or a list of numbers, none of them NaN")
    return asked
