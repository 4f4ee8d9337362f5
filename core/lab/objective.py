"""Where runs are compared and by what: regimes, and the objective that is tuned for and reported."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from core.lab.errors import VhatError, nearest
from core.lab.experiment import Array
from core.lab.problem import Problem
from core.lab.run import Run
from core.lab.stats import centre


@dataclass(frozen=True)
class Regime:
    """A setting in which the claim is judged separately: a problem with its parameters.

    Attributes:
        name: as shown.
        problem: called with `settings` and `device=`; a module-level function or class.
        settings: plain JSON data.
        note: one phrase for the reader.
    """

    name: str
    problem: Callable[..., Problem]
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""

    def build(self, device: str) -> Problem:
        """The problem on a device."""
        return self.problem(**self.settings, device=device)

    def describe(self) -> dict[str, object]:
        """All that determines it, as plain data."""
        module = inspect.getmodule(self.problem)
        qualified = (
            f"{module.__name__ if module else ''}.{getattr(self.problem, '__qualname__', self.problem)}"
        )
        return {"problem": qualified, "settings": dict(self.settings)}


@dataclass(frozen=True)
class Objective:
    """What a learning rate is chosen by, and what is compared.

    Attributes:
        measure: the name of a measure of the problem (or `field/<name>` for a by-product of the field).
        at: its `final` value, its `mean` over the recorded steps (after the first), or `hit`: the first step
            at which it has reached `threshold`.
        threshold: for `hit`; reached means <= (>= where higher is better). Then the measure is watched at
            each step.
        higher: True where more is better.
        across: how seeds are put together when settings are ranked: `iqm`, `median` or `mean`.
        label: as shown on axes and in tables, with its unit.

    Raises:
        ValueError: for a threshold without a hit or a hit without one, or another word in `at` or `across`.
    """

    measure: str
    at: Literal["final", "mean", "hit"] = "final"
    threshold: float | None = None
    higher: bool = False
    across: Literal["iqm", "median", "mean"] = "iqm"
    label: str = ""

    def __post_init__(self) -> None:
        if (self.at == "hit") != (self.threshold is not None):
            raise ValueError("an objective has a threshold if and only if it is judged at its hit")
        if self.at not in ("final", "mean", "hit") or self.across not in ("iqm", "median", "mean"):
            raise ValueError(
                "an objective is taken at 'final', 'mean' or 'hit', across seeds by 'iqm', 'median' or "
                f"'mean'; got {self.at!r} and {self.across!r}"
            )

    def _curve(self, run: Run) -> Array:
        if self.measure not in run.curves:
            raise VhatError(f"the objective asks for an {nearest(self.measure, run.curves, kind='measure')}")
        return run.curves[self.measure].astype(np.float64)

    def values(self, run: Run) -> Array:
        """float64 `[R]` in the objective's own unit; a replica that diverged or never hit is the worst:
        +-inf."""
        if self.at == "hit":
            hit = run.hits[self.measure].astype(np.float64)
            return np.where((hit < 0) | (run.diverged_at >= 0), np.inf, hit)
        curve = self._curve(run)
        value = curve[:, -1] if self.at == "final" else curve[:, 1:].mean(axis=1)
        worst = -np.inf if self.higher else np.inf
        return np.where((run.diverged_at >= 0) | np.isnan(value), worst, value)

    def losses(self, run: Run) -> Array:
        """`values` `[R]`, signed so that lower is better (a hit already is)."""
        return -self.values(run) if self.higher and self.at != "hit" else self.values(run)

    def rank(self, run: Run) -> tuple[float, float, float]:
        """What settings are sorted by: the centre of the losses, the share of failures, the final measure."""
        losses = self.losses(run)
        final = self._curve(run)[:, -1]
        final = np.where(np.isnan(final), np.inf, -final if self.higher else final)
        return centre(losses, self.across), float(np.isinf(losses).mean()), centre(final, "median")
