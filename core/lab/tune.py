"""Tune the hyperparameters of a rule on a problem: by hypergradient descent, on a grid, or at random.

All three search between the same bounds, in logarithms and logits, on the same tuning seeds, for the same
cost; what they find is reported on fresh seeds. Descent clips its derivatives (`core.lab.tuning.descent`).
Cost is counted in plain trainings (of one setting on all tuning seeds), of which a hypergradient costs
several: `core.lab.tuning.trials.price`. On the clock the methods differ at equal cost: a grid and random
points train in few large batches, descent waits for each round.

What is tuned is the loss after so many steps, and what is best there need not be best later. The study
`hypergradient` shows how much it costs; Wu, Ren, Liao and Grosse 2018 named it short-horizon bias.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from core.lab import stats
from core.lab.conformance import check_init
from core.lab.engines import one_thread
from core.lab.errors import VhatError, nearest
from core.lab.problem import Problem, players_of
from core.lab.progress import Progress, Quiet
from core.lab.random import Keys
from core.lab.tuning.descent import descend, spread_starts
from core.lab.tuning.path import Path
from core.lab.tuning.points import grid_points, look_at, random_points
from core.lab.tuning.space import Space
from core.lab.tuning.trials import Trials, price
from core.optim.hypergradient import Mode
from core.optim.rule import Rule
from core.optim.rules import RULES

Method = Literal["hypergradient", "grid", "random"]
METHODS: tuple[Method, ...] = ("hypergradient", "grid", "random")


@dataclass(frozen=True, repr=False)
class Tuned:
    """What a search found. Printing it says so in a line or two; a notebook shows a table and a figure.

    Attributes:
        method: by which it was found.
        best: the setting with the lowest mean loss on the tuning seeds.
        loss: that mean loss.
        fresh: the losses of the best setting on seeds that the search did not see, `[F]`.
        steps: the horizon it was tuned for.
        cost: what was paid, in plain trainings of one setting on all tuning seeds.
        seconds: what that took.
        edge: hyperparameters whose best value lies at an end of its range, or beyond it.
        path: all settings tried, with their losses.
    """

    method: Method
    best: Mapping[str, float]
    loss: float
    fresh: Tensor
    steps: int
    cost: int
    seconds: float
    edge: tuple[str, ...]
    path: Path = field(repr=False)

    @property
    def interval(self) -> stats.Interval:
        """The mean fresh loss with its 95% bootstrap interval."""
        return stats.interval(np.asarray(self.fresh.cpu().numpy(), dtype=np.float64), "mean")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to keep in mind about the setting, a sentence each."""
        horizon = (
            f"Tuned for {self.steps} steps; longer runs may want another setting (short-horizon bias; "
            "see the study hypergradient)."
        )
        widen = f"At an end of its range: {', '.join(self.edge)}; give a wider one."
        return (horizon, widen) if self.edge else (horizon,)

    def to_pandas(self) -> Any:
        """All settings that were tried, as a pandas `DataFrame`: see `core.lab.tuning.show.tuned_frame`."""
        from core.lab.tuning.show import tuned_frame

        return tuned_frame(self)

    def _repr_html_(self) -> str:
        from core.lab.notebook import shown
        from core.lab.tuning.show import tuned_figure, tuned_table

        alt = f"Loss on the tuning seeds of every setting tried, over {', '.join(self.path.settings)}."
        return shown(tuned_table([self]), tuned_figure(self), alt, self.warnings)

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        setting = ", ".join(f"{name} = {value:.4g}" for name, value in self.best.items())
        mean, low, high = self.interval
        return " ".join(
            (
                f"{setting}: loss {self.loss:.4g} on tuning seeds, {mean:.4g} [{low:.4g}, {high:.4g}] on "
                f"fresh ones, for the cost of {self.cost} trainings.",
                *self.warnings,
            )
        )


def tune(
    problem: Problem,
    rule: Rule | str,
    *,
    steps: int,
    over: Sequence[str] = ("lr", "beta1", "beta2"),
    method: Method = "hypergradient",
    budget: int = 120,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    fixed: Mapping[str, float] | None = None,
    starts: int | Sequence[Mapping[str, float]] = 2,
    seeds: int = 8,
    fresh_seeds: int = 20,
    measure: str = "loss",
    summed: bool = False,
    rate: float = 0.5,
    clip: float = 0.0,
    mode: Mode = "segments",
    device: str = "cpu",
    progress: Progress | None = None,
) -> Tuned:
    """Tune hyperparameters of a rule on a problem.

    Args:
        problem: for hypergradients its field must be differentiable; see
            `core.lab.differentiable.ProblemObjective`.
        rule: an update rule, or the name of one.
        steps: of each training.
        over: `lr` and numeric hyperparameters of the rule; of a grid the first has the most points.
        method: `hypergradient`, `grid` or `random`.
        budget: the most that may be paid, in plain trainings of one setting on all tuning seeds.
        ranges: (lowest, highest) by name, where it is not `core.lab.tuning.space.RANGES`. Descent begins
            within them and may leave them.
        fixed: hyperparameters that are not tuned, where they are not the rule's defaults.
        starts: of the descent: how many, spread along the first hyperparameter; or where, each a setting in
            which a name that is left out begins in the middle of its range.
        seeds: tuning seeds, at least 2, whose mean loss is searched.
        fresh_seeds: seeds for the report, at least 2.
        measure: of the problem; lower is better.
        summed: take the sum of the measure over all steps in place of its final value.
        rate: length of the descent's first step in logarithms and logits; steps grow to at most twice that.
        clip: derivatives of the mean loss by logarithms and logits that are longer count as so long, for
            which a step has its full length; shorter ones make shorter steps. With 0 all are clipped.
        mode: of `core.optim.hypergradient`, for the descent.
        device: of the problem.
        progress: is told of each round.

    Raises:
        VhatError: for an unknown method, rule, hyperparameter or measure, ranges or starts that make no
            sense, too few seeds, a budget too small for one round, a problem that is not differentiable, or
            if no training stayed finite.
    """
    begin = time.perf_counter()
    chosen = _rule(rule, problem)
    space = Space.of(chosen, over, ranges)
    held = _held(chosen, space, fixed or {})
    if min(seeds, fresh_seeds) < 2:
        raise VhatError("tuning needs at least two seeds and two fresh seeds")
    if steps < 1 or budget < 1 or not rate > 0:
        raise VhatError(f"tuning needs steps, a budget and a rate, got {steps}, {budget} and {rate}")
    if not 0 <= clip < math.inf:
        raise VhatError(f"derivatives can be clipped to a length of 0 or more, got {clip}")
    own = Keys.of(range(seeds), study="tune", device=device)
    others = Keys.of(range(seeds, seeds + fresh_seeds), study="tune", device=device)
    trials = Trials(problem, chosen, own, seeds, steps, measure, summed, held, mode)
    plan = _plan(method, space, trials, budget, starts, rate, clip)
    try:
        with one_thread():
            check_init(problem, problem.init(own), seeds)
            trials.check()
            path = plan(progress or Quiet())
            found, loss = path.best()
            if not bool(loss.isfinite()):
                raise VhatError("every training diverged: search smaller learning rates")
            again = Trials(problem, chosen, others, fresh_seeds, steps, measure, summed, held)
            fresh = again.each({name: value[:, None] for name, value in found.items()})[0, 0]
    except ValueError as error:
        hint = "; a grid and random points need no derivatives" if "differentiabl" in str(error) else ""
        raise VhatError(f"cannot tune: {error}{hint}") from error
    best = {name: float(value) for name, value in found.items()}
    return Tuned(
        method=method,
        best=MappingProxyType({**held, **best}),
        loss=float(loss),
        fresh=fresh,
        steps=steps,
        cost=int(path.costs()[-1]),
        seconds=time.perf_counter() - begin,
        edge=space.near_edge(best),
        path=path,
    )


def _plan(
    method: Method,
    space: Space,
    trials: Trials,
    budget: int,
    starts: int | Sequence[Mapping[str, float]],
    rate: float,
    clip: float,
) -> Callable[[Progress], Path]:
    """The search, ready to start."""
    device, size = trials.keys.device, len(space.names)
    if method == "grid":
        unit = grid_points(size, budget).to(device)[None]
    elif method == "random":
        unit = random_points(Keys.of([0], study="tune", device=device), size, budget)
    elif method == "hypergradient":
        if trials.mode not in ("reverse", "segments", "forward"):
            raise VhatError(nearest(trials.mode, ("reverse", "segments", "forward"), kind="mode"))
        unit = _starts(space, starts).to(device)[None]
        each = price(trials.mode, size)
        rounds = budget // (each * unit.shape[1])
        if rounds < 1:
            raise VhatError(
                f"a hypergradient costs {each} trainings: a budget of {budget} does not pay one from each of "
                f"{unit.shape[1]} starts"
            )
        return partial(descend, trials, space, unit, rounds=rounds, rate=rate, clip=clip)
    else:
        raise VhatError(nearest(method, METHODS, kind="method"))
    return partial(look_at, trials, space, unit, label=method)


def _rule(rule: Rule | str, problem: Problem) -> Rule:
    if isinstance(rule, str):
        if rule not in RULES:
            raise VhatError(nearest(rule, RULES, kind="update rule"))
        rule = RULES[rule]
    if len(players_of(problem)) > 1 and not rule.elementwise:
        raise VhatError(f"{rule.name} looks at a whole row: it cannot be unrolled on a problem with players")
    return rule


def _held(rule: Rule, space: Space, fixed: Mapping[str, float]) -> dict[str, float]:
    """The hyperparameters that stay, and nothing that is tuned."""
    for name in fixed:
        if name != "lr" and name not in rule.hyper:
            raise VhatError(nearest(name, ("lr", *rule.hyper), kind=f"hyperparameter of {rule.name}"))
        if name in space.names:
            raise VhatError(f"{name} is both tuned and held fixed; leave one out")
    if "lr" not in (*space.names, *fixed):
        raise VhatError("the learning rate lr must be tuned or held fixed")
    return dict(fixed)


def _starts(space: Space, starts: int | Sequence[Mapping[str, float]]) -> Tensor:
    """Points of the unit cube `[S, K]`."""
    count = starts if isinstance(starts, int) else len(starts)
    if count < 1:
        raise VhatError("descent needs at least one start")
    if isinstance(starts, int):
        return spread_starts(len(space.names), starts)
    return torch.stack([space.point(start) for start in starts])
