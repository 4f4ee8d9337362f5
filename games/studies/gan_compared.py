"""The sweeps of the study `gan` as one comparison, and what its runs say of oscillation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from core.lab.experiment import Array
from core.lab.run import Run
from core.lab.study import Results
from core.lab.sweep import SweepResult
from games.assignments import unpacked
from games.studies.continued_sweep import ContinuedResult
from games.studies.gan_settings import BUDGETS


@dataclass(frozen=True)
class Compared:
    """The sweeps of one budget as one.

    Attributes:
        parts: the methods with one evaluation of the field a step, then those with two.
    """

    parts: tuple[SweepResult, ...]

    @classmethod
    def of(cls, results: Results, budget: str) -> Compared:
        """The sweeps of a budget."""
        return cls((results.sweep(f"{budget}: one evaluation"), results.sweep(f"{budget}: two evaluations")))

    @classmethod
    def continued(cls, results: Results) -> Compared:
        """The methods that go on from the short budget, seven times as long at the same rates."""
        parts = cls.of(results, "short").parts
        return cls(tuple(part.longer for part in parts if isinstance(part, ContinuedResult)))

    @property
    def regimes(self) -> tuple[str, ...]:
        """Names, in the sweeps' order."""
        return self.parts[0].regimes

    @property
    def methods(self) -> tuple[str, ...]:
        """Names, in the sweeps' order."""
        return tuple(name for part in self.parts for name in part.variants)

    def part(self, name: str) -> SweepResult:
        """The sweep that holds a method."""
        return next(p for p in self.parts if name in p.variants)

    def run(self, regime: str, name: str) -> Run:
        """The reported run."""
        return self.part(name).run(regime, name)

    def final(self, regime: str, name: str) -> Array:
        """The objective `[S]`."""
        return self.part(name).values(regime, name)

    def edges(self, regime: str) -> list[str]:
        """Methods whose best rate lies on the edge of the widest grid."""
        return [m for m in self.methods if self.part(m).tuned[regime, m].edge]


def budgets(results: Results) -> tuple[str, ...]:
    """Those of the plan."""
    return tuple(BUDGETS)[: results.plan.sizes["budgets"]]


def churn(run: Run) -> Array:
    """`[R]`: modes gained or lost from record to record, on average over the second half of training."""
    modes = run.curves["modes"]
    return np.asarray(np.abs(np.diff(modes[:, modes.shape[1] // 2 :], axis=1)).mean(axis=1))


def mass(run: Run) -> Array:
    """`[R, T, K]`: the share of samples near each mode."""
    count = sum(name.startswith("mass ") for name in run.curves)
    return np.stack([run.curves[f"mass {k}"] for k in range(count)], axis=-1)


def switched(run: Run) -> Array:
    """`[R]`: share of the fixed latents whose sample is in another mode, or in none, than at the record
    before, on average over the second half of training; NaN for a replica that diverged."""
    modes = unpacked(run.curves, mass(run).shape[2])[:, run.steps.shape[0] // 2 :]
    moved = (np.diff(modes, axis=1) != 0.0).mean(axis=(1, 2))
    return np.where(np.isnan(modes).any(axis=(1, 2)), np.nan, moved)


def regained(run: Run) -> Array:
    """`[R]`: how often a mode that had been dropped is covered again, over all of training; NaN for a replica
    that diverged."""
    near = mass(run)
    covered = near >= 0.25 / near.shape[2]
    ever = np.maximum.accumulate(covered, axis=1)
    times = (covered[:, 1:] & ~covered[:, :-1] & ever[:, :-1]).sum(axis=(1, 2))
    return np.where(np.isnan(near).any(axis=(1, 2)), np.nan, times)


def loss_spread(run: Run, player: str) -> Array:
    """`[R]`: standard deviation of a player's loss on held-out points from record to record, in the second
    half of training."""
    losses = run.curves[f"loss_{player}"]
    return np.asarray(losses[:, losses.shape[1] // 2 :].std(axis=1))


STEADINESS: dict[str, Callable[[Run], Array]] = {
    "modes gained or lost a record": churn,
    "latents that change modes a record": switched,
    "modes regained": regained,
    "spread of the generator's loss": partial(loss_spread, player="generator"),
    "spread of the discriminator's loss": partial(loss_spread, player="discriminator"),
}
