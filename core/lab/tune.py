"""Hypergradient descent: tune learning rate, momentum and the rest by the derivative of the whole training.

The search runs over logarithms (of `lr`, `eps`, `weight_decay`) and logits (of `beta1`, `beta2`, `alpha`,
`momentum`), so that a step is a factor, and no value leaves its range. Each round trains all starts on all
tuning seeds in one batch. A start whose mean loss fell steps on against the derivative, and its steps grow by
a half; one whose loss rose or diverged goes back and tries half the step. The derivative gives the direction
alone: it is clipped to the length of the step, however an exploding training blows it up.

What is tuned is the loss after so many steps, and what is best there need not be best later: short horizons
favour rates that decay too early (short-horizon bias, Wu, Ren, Liao and Grosse 2018).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from core.lab.differentiable import objective_of
from core.lab.errors import VhatError, nearest
from core.lab.problem import Problem, players_of
from core.lab.random import Keys
from core.optim.hypergradient import Mode, hypergradients
from core.optim.rule import Rule
from core.optim.rules import RULES
from core.optim.unroll import unroll

_LOGIT = frozenset({"beta1", "beta2", "alpha", "momentum"})
_LONGEST = 2.0  # factor on `rate` that steps grow to


@dataclass(frozen=True)
class Tuned:
    """What hypergradient descent found.

    Attributes:
        best: the setting with the lowest mean loss on the tuning seeds.
        loss: that mean loss.
        fresh: the losses of the best setting on seeds that the search did not see, `[F]`.
        steps: the horizon it was tuned for.
        settings: the path of each start, `{name: [rounds, starts]}`.
        losses: the mean loss along it, `[rounds, starts]`; not finite where trainings diverged.
    """

    best: Mapping[str, float]
    loss: float
    fresh: Tensor
    steps: int
    settings: Mapping[str, Tensor]
    losses: Tensor

    def __str__(self) -> str:
        setting = ", ".join(f"{name} = {value:.4g}" for name, value in self.best.items())
        return (
            f"{setting}: loss {self.loss:.4g} on tuning seeds, {self.fresh.mean():.4g} on fresh ones. "
            f"Tuned for {self.steps} steps; longer runs may want another setting (short-horizon bias)."
        )


def tune(
    problem: Problem,
    rule: Rule | str,
    *,
    steps: int,
    over: Sequence[str] = ("lr", "beta1", "beta2"),
    starts: Sequence[Mapping[str, float]] = ({"lr": 1e-3}, {"lr": 1e-1}),
    rounds: int = 30,
    seeds: int = 8,
    fresh_seeds: int = 8,
    measure: str = "loss",
    summed: bool = False,
    rate: float = 0.5,
    mode: Mode = "segments",
    device: str = "cpu",
) -> Tuned:
    """Tune hyperparameters of a rule on a problem by hypergradient descent.

    Args:
        problem: its field must be differentiable; see `core.lab.differentiable.objective_of`.
        rule: an update rule, or the name of one.
        steps: of each training.
        over: `lr` and numeric hyperparameters of the rule.
        starts: where to begin, each with `lr`; a name in `over` that a start leaves out begins at the rule's
            default. Further names are held fixed.
        rounds: trainings of each start; the cost is `rounds` hypergradients, each about 4 plain trainings.
        seeds: tuning seeds, at least 2, whose mean loss is descended on.
        fresh_seeds: seeds for the report, at least 2.
        measure: of the problem; lower is better.
        summed: descend on the sum of the measure over all steps in place of its final value.
        rate: length of the first step in logarithms and logits; steps grow to at most twice that.
        mode: of `core.optim.hypergradient`.
        device: of the problem.

    Raises:
        VhatError: for an unknown rule, hyperparameter or measure, a start outside its range, too few seeds or
            rounds, a problem that is not differentiable, or if no training stayed finite.
    """
    if isinstance(rule, str):
        if rule not in RULES:
            raise VhatError(nearest(rule, RULES, kind="update rule"))
        rule = RULES[rule]
    if seeds < 2 or fresh_seeds < 2 or rounds < 1 or not starts:
        raise VhatError("tuning needs at least two seeds, two fresh seeds, one round and one start")
    if len(players_of(problem)) > 1 and not rule.elementwise:
        raise VhatError(f"{rule.name} looks at a whole row: it cannot be unrolled on a problem with players")
    search = _Search(rule, over, starts, device=device)
    keys = Keys.of(range(seeds), study="tune", copies=len(starts), device=device)
    fresh_keys = Keys.of(range(seeds, seeds + fresh_seeds), study="tune", device=device)
    objective, params = objective_of(problem, keys, measure), problem.init(keys)
    try:
        for _ in range(rounds):
            found = hypergradients(
                objective,
                rule,
                params,
                search.hyper(repeats=seeds),
                steps=steps,
                over=search.names,
                mode=mode,
                summed=summed,
            )
            search.move(found.loss, found.gradients, rate=rate)
        best = search.best()
        with torch.no_grad():
            fresh = unroll(
                objective_of(problem, fresh_keys, measure),
                rule,
                problem.init(fresh_keys),
                best,
                steps=steps,
                summed=summed,
            ).loss
    except ValueError as error:
        raise VhatError(f"cannot tune: {error}") from error
    return Tuned(
        best=MappingProxyType(best),
        loss=float(search.best_loss.min()),
        fresh=fresh,
        steps=steps,
        settings={name: torch.stack([s[:, k] for s in search.path]) for k, name in enumerate(search.names)},
        losses=torch.stack(search.losses),
    )


class _Search:
    """S starts in K unbounded coordinates, the direction of each, and what they have seen."""

    def __init__(
        self, rule: Rule, over: Sequence[str], starts: Sequence[Mapping[str, float]], *, device: str
    ) -> None:
        self.names = tuple(dict.fromkeys(over))
        self.logit = torch.tensor([name in _LOGIT for name in self.names], device=device)
        self.device = device
        rows = [_begin(rule, start, self.names) for start in starts]
        fixed = {name for start in starts for name in start if name not in self.names}
        self.fixed = {
            name: self._fixed(rule, starts, name) for name in sorted(fixed | {"lr"} - {*self.names})
        }
        self.at = self._inverse(torch.tensor(rows, dtype=torch.float64, device=device))
        self.speed = torch.ones(len(rows), dtype=torch.float64, device=device)
        self.best_at = self.at
        # Until a training has been finite, the one thing to try is a smaller learning rate.
        retreat = torch.tensor([-4.0 * (name == "lr") for name in self.names], dtype=torch.float64)
        self.direction = retreat.to(device).expand_as(self.at)
        self.best_loss = torch.full_like(self.speed, math.inf)
        self.path: list[Tensor] = []
        self.losses: list[Tensor] = []

    def _fixed(self, rule: Rule, starts: Sequence[Mapping[str, float]], name: str) -> Tensor:
        values = [start.get(name, rule.hyper.get(name)) for start in starts]
        if any(isinstance(v, bool) or not isinstance(v, float | int) for v in values):
            raise VhatError(f"every start must give {name}, as a number")
        return torch.tensor(values, dtype=torch.float64, device=self.device)

    def _inverse(self, values: Tensor) -> Tensor:
        return torch.where(self.logit, torch.logit(values), values.log())

    def values(self) -> Tensor:
        """The hyperparameters `[S, K]`."""
        return torch.where(self.logit, torch.sigmoid(self.at), self.at.exp())

    def hyper(self, *, repeats: int) -> dict[str, Any]:
        """`[S * repeats]` of each, start by start."""
        tuned = dict(zip(self.names, self.values().unbind(dim=1), strict=True))
        return {name: v.repeat_interleave(repeats) for name, v in {**self.fixed, **tuned}.items()}

    def move(self, loss: Tensor, gradients: Mapping[str, Tensor], *, rate: float) -> None:
        """Note the losses `[S * repeats]`, and go where the next round is to be tried."""
        starts, values = len(self.speed), self.values()
        mean = loss.double().view(starts, -1).mean(dim=1)
        slope = torch.stack([gradients[name] for name in self.names], dim=1)
        slope = slope.view(starts, -1, len(self.names)).mean(dim=1)
        slope = slope * torch.where(self.logit, values * (1 - values), values)
        length = slope.norm(dim=1, keepdim=True)
        self.path.append(values)
        self.losses.append(mean)
        better = length[:, 0].isfinite() & (mean < self.best_loss)
        seen = self.best_loss.isfinite()
        self.best_loss = torch.where(better, mean, self.best_loss)
        self.best_at = torch.where(better[:, None], self.at, self.best_at)
        down = -slope / length.clamp(min=torch.finfo(torch.float64).tiny)
        self.direction = torch.where(better[:, None], down, self.direction)
        # The first finite training sets the pace; before it, retreats grow.
        pace = torch.where(better, 1.5 * self.speed, self.speed / 2).clamp(max=_LONGEST)
        self.speed = torch.where(better & ~seen, 1.0, torch.where(seen, pace, 1.5 * self.speed))
        self.at = self.best_at + rate * self.speed[:, None] * self.direction
        # Where exp and sigmoid still give numbers inside the hyperparameters' ranges.
        self.at = torch.where(self.logit, self.at.clamp(-30.0, 30.0), self.at.clamp(-230.0, 230.0))

    def best(self) -> dict[str, float]:
        """The best setting of all starts and rounds, fixed hyperparameters among it."""
        if not bool(self.best_loss.isfinite().any()):
            raise VhatError("every training diverged: start from smaller learning rates")
        start = int(self.best_loss.argmin())
        self.at = self.best_at
        tuned = dict(zip(self.names, self.values()[start].tolist(), strict=True))
        return {**{name: float(value[start]) for name, value in self.fixed.items()}, **tuned}


def _begin(rule: Rule, start: Mapping[str, float], names: Sequence[str]) -> list[float]:
    """Where a start begins, in its own units."""
    found = []
    for name in names:
        value = start.get(name, rule.hyper.get(name))
        top = 1.0 if name in _LOGIT else math.inf
        if isinstance(value, bool) or not isinstance(value, float | int):
            if name != "lr" and name not in rule.hyper:
                raise VhatError(nearest(name, ("lr", *rule.hyper), kind=f"hyperparameter of {rule.name}"))
            raise VhatError(f"{rule.name}: cannot tune {name} from {value!r}; a start must give a number")
        if not 0 < value < top:
            raise VhatError(f"{rule.name}: {name} must start between 0 and {top:g}, got {value:g}")
        found.append(float(value))
    return found
