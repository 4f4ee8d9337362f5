"""What a portfolio may hold: bounds on each weight, the budget, and limits on groups or any linear sums."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.lab.errors import VhatError, nearest
from finance.prices import Floats


class InfeasibleError(VhatError):
    """No portfolio keeps all constraints, or none reaches what was asked for."""


@dataclass(frozen=True, eq=False)
class Constraints:
    """lower <= w <= upper, sum(w) = budget, row_lower <= rows w <= row_upper; long-only by default.

    Attributes:
        lower: smallest weight, a number or `[N]`, finite.
        upper: largest weight, a number or `[N]`; None where only the budget limits it.
        budget: the sum of all weights.
        rows: `[M, N]`, the sums that are limited (groups: ones where an asset belongs to it), or None.
        row_lower, row_upper: their limits, numbers or `[M]`; -inf and inf where there is none.
    """

    lower: float | Floats = 0.0
    upper: float | Floats | None = None
    budget: float = 1.0
    rows: Floats | None = None
    row_lower: float | Floats = -np.inf
    row_upper: float | Floats = np.inf

    @classmethod
    def by_group(
        cls,
        groups: Sequence[str],
        limits: Mapping[str, tuple[float, float]],
        *,
        lower: float | Floats = 0.0,
        upper: float | Floats | None = None,
        budget: float = 1.0,
    ) -> Constraints:
        """Limits (lowest, highest) on the sum of each named group, where `groups` names the group of each
        asset.

        Raises:
            VhatError: for a limit on a group that no asset belongs to.
        """
        for name in limits:
            if name not in groups:
                raise VhatError(nearest(name, set(groups), kind="group"))
        rows = np.array([[float(g == name) for g in groups] for name in limits]).reshape(-1, len(groups))
        low, high = np.array(list(limits.values()), dtype=np.float64).reshape(-1, 2).T
        return cls(lower, upper, budget, rows, low, high)

    def standard(self, assets: int) -> StandardForm:
        """The same set for N assets, with one further variable a row for its sum.

        Raises:
            VhatError: for bounds of another shape or that are not numbers.
            InfeasibleError: when a bound or limit contradicts another on its face.
        """
        try:
            lower = np.broadcast_to(np.asarray(self.lower, dtype=np.float64), (assets,))
            given = np.inf if self.upper is None else self.upper
            upper = np.broadcast_to(np.asarray(given, dtype=np.float64), (assets,))
            rows = np.zeros((0, assets)) if self.rows is None else np.asarray(self.rows, dtype=np.float64)
            row_lower = np.broadcast_to(np.asarray(self.row_lower, dtype=np.float64), rows.shape[:1])
            row_upper = np.broadcast_to(np.asarray(self.row_upper, dtype=np.float64), rows.shape[:1])
            rows.reshape(-1, assets)
        except ValueError as error:
            raise VhatError(f"the constraints do not fit {assets} assets ({error})") from None
        numbers = np.isfinite(lower).all() and np.isfinite(rows).all() and np.isfinite(self.budget)
        if not numbers or any(np.isnan(x).any() for x in (upper, row_lower, row_upper)):
            raise VhatError("lower bounds, budget and rows must be finite numbers, and no limit may be NaN")
        rounding = 1e-12 * (abs(self.budget) + float(np.abs(lower).max()))
        if lower.sum() > self.budget + rounding:
            raise InfeasibleError(
                f"no portfolio keeps these bounds: all lower bounds together ({lower.sum():g}) exceed the "
                f"budget ({self.budget:g})"
            )
        # What the budget leaves at most for one asset when all others stand at their lower bound.
        implied = self.budget - lower.sum() + lower
        bounded = upper < implied
        upper = np.where(bounded, upper, implied)
        least = np.where(rows > 0, rows * lower, rows * upper).sum(axis=1)
        most = np.where(rows > 0, rows * upper, rows * lower).sum(axis=1)
        low, high = np.maximum(row_lower, least), np.minimum(row_upper, most)
        if (
            (lower > upper + rounding).any()
            or (low > high + rounding).any()
            or upper.sum() < self.budget - rounding
        ):
            raise InfeasibleError(
                "no portfolio keeps these bounds: a lower limit lies above an upper one, "
                f"or all upper bounds together ({upper.sum():g}) stay below the budget ({self.budget:g})"
            )
        upper, high = np.maximum(lower, upper), np.maximum(low, high)
        return StandardForm(
            np.concatenate([lower, low]),
            np.concatenate([upper, high]),
            np.concatenate([bounded, row_upper < most]),
            np.vstack(
                [np.append(np.ones(assets), np.zeros(len(rows))), np.hstack([rows, -np.eye(len(rows))])]
            ),
            np.append(self.budget, np.zeros(len(rows))),
        )


LONG_ONLY = Constraints()


@dataclass(frozen=True, eq=False)
class StandardForm:
    """lower <= x <= upper, equalities x = totals, for x = (w, rows w) of D = N + M variables.

    Attributes:
        lower, upper: `[D]`, finite.
        bounded: `[D]`, whether an upper bound says more than budget and lower bounds do.
        equalities: `[1 + M, D]`: the budget, then each row's sum.
        totals: `[1 + M]`.
    """

    lower: Floats
    upper: Floats
    bounded: npt.NDArray[np.bool_]
    equalities: Floats
    totals: Floats

    @property
    def reach(self) -> float:
        """The largest size of a weight that the bounds leave, at least 1."""
        assets = len(self.lower) - len(self.totals) + 1
        return max(1.0, float(np.abs([self.lower[:assets], self.upper[:assets]]).max()))
