"""What a search asks: how good settings are on the tuning seeds, with or without derivatives, and what the
answers cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from core.lab.differentiable import ProblemObjective
from core.lab.errors import VhatError
from core.lab.problem import Problem
from core.lab.random import Keys
from core.optim.hypergradient import Mode, hypergradients
from core.optim.rule import Rule
from core.optim.unroll import root_segment, unroll

NUMBERS = 100_000
"""Parameters of all trainings in one batch: more gain nothing."""
KEPT = 4_000_000
"""Parameters, counted at each step that is kept, in one batch of hypergradients: each stands for dozens of
numbers."""


def price(mode: Mode, hyperparameters: int) -> int:
    """What a hypergradient costs, in plain trainings of the same length.

    Counted in evaluations of the field: the training itself is one a step, going back through it (through the
    gradient of a gradient) about two, training each segment again one more. Forward mode carries a tangent
    for each hyperparameter. In processor time this was measured as 2.0 to 3.5 (reverse), 3.1 to 4.9
    (segments) and 6.0 to 10.3 (forward, three hyperparameters): the lower ends on ridge regression, the upper
    ones on a network 1-16-16-1, 16 and 128 trainings at once, one thread.
    """
    return {"reverse": 3, "segments": 4, "forward": 2 + 2 * hyperparameters}[mode]


@dataclass(frozen=True)
class Trials:
    """Trainings of a rule on a problem, for G searches side by side, each with I seeds of its own.

    Attributes:
        problem: what is trained.
        rule: by which update rule.
        keys: of G * I seeds, search by search.
        seeds: I, at least 2.
        steps: of each training.
        measure: of the problem; lower is better.
        summed: whether it is added up over the steps in place of taken at the end.
        fixed: hyperparameters that stay as they are.
        mode: how derivatives are taken.
    """

    problem: Problem
    rule: Rule
    keys: Keys
    seeds: int
    steps: int
    measure: str = "loss"
    summed: bool = False
    fixed: Mapping[str, float] = field(default_factory=dict)
    mode: Mode = "segments"

    @property
    def searches(self) -> int:
        """G."""
        return len(self.keys) // self.seeds

    def each(self, settings: Mapping[str, Tensor]) -> Tensor:
        """The loss on each seed, `[G, P, I]`, of settings `[G, P]` by name; infinite where it diverged."""
        found = []
        for part in self._parts(settings, NUMBERS):
            objective, start, hyper = self._training(part)
            with torch.no_grad():
                end = unroll(objective, self.rule, start, hyper, steps=self.steps, summed=self.summed)
            found.append(end.loss.double().view(self.searches, -1, self.seeds))
        loss = torch.cat(found, dim=1)
        return torch.where(loss.isfinite(), loss, torch.inf)

    def losses(self, settings: Mapping[str, Tensor]) -> Tensor:
        """The mean loss over the seeds `[G, P]` of settings `[G, P]` by name; infinite where a training
        diverged."""
        return _mean(self.each(settings))

    def hypergradients(self, settings: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean loss `[G, P]`, and its derivative `[G, P]` by each of the settings."""
        losses: list[Tensor] = []
        slopes: dict[str, list[Tensor]] = {name: [] for name in settings}
        shape = (self.searches, -1, self.seeds)
        steps = {"reverse": self.steps, "segments": root_segment(self.steps), "forward": 1}[self.mode]
        for part in self._parts(settings, min(NUMBERS, KEPT // steps)):
            objective, start, hyper = self._training(part)
            found = hypergradients(
                objective,
                self.rule,
                start,
                hyper,
                steps=self.steps,
                over=tuple(settings),
                mode=self.mode,
                summed=self.summed,
            )
            losses.append(_mean(found.loss.double().view(shape)))
            for name, gradient in found.gradients.items():
                slopes[name].append(_mean(gradient.view(shape)))
        return torch.cat(losses, dim=1), {name: torch.cat(s, dim=1) for name, s in slopes.items()}

    def check(self) -> None:
        """One line, before any training, if the problem lacks the measure.

        Raises:
            VhatError: saying so.
        """
        keys = self.keys.rows(slice(0, 2))
        loss = ProblemObjective(self.problem, keys, self.measure).loss(self.problem.init(keys))
        if loss.shape != (2,):
            raise VhatError(
                f"measure {self.measure!r} is {list(loss.shape)} for two rows; give one number a row"
            )

    def _parts(self, settings: Mapping[str, Tensor], numbers: int) -> list[dict[str, Tensor]]:
        """The settings, a batch of at most so many parameters at a time."""
        count = next(iter(settings.values())).shape[1]
        width = max(1, numbers // (self.problem.dim * self.searches * self.seeds))
        return [
            {name: value[:, first : first + width] for name, value in settings.items()}
            for first in range(0, count, width)
        ]

    def _training(self, settings: Mapping[str, Tensor]) -> tuple[ProblemObjective, Tensor, dict[str, Any]]:
        """Objective, starting parameters and hyperparameters of G * P * I rows, in that order."""
        shape = (self.searches, next(iter(settings.values())).shape[1], self.seeds)
        device = self.keys.device
        own = torch.arange(len(self.keys), device=device).view(self.searches, 1, self.seeds)
        keys = self.keys.rows(own.expand(shape).reshape(-1))
        hyper = {name: value.unsqueeze(2).expand(shape).reshape(-1) for name, value in settings.items()}
        objective = ProblemObjective(self.problem, keys, self.measure)
        return objective, self.problem.init(keys), {**self.fixed, **hyper}


def _mean(values: Tensor) -> Tensor:
    """Over the last axis, term by term: torch's own sum may round by the batch's shape."""
    first, *rest = values.unbind(dim=-1)
    for term in rest:
        first = first + term
    return first / values.shape[-1]
