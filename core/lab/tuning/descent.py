"""Hypergradient descent: against the derivative of the whole training, in logarithms and logits.

Each round trains all starts on all tuning seeds in one batch. A start whose mean loss fell steps on against
the derivative, and its steps grow by a half; one whose loss rose or diverged goes back and tries half the
step. Derivatives are clipped: one longer than `clip` counts as one of that length, for which a step has its
full length, and a shorter one makes the step shorter in proportion. With `clip` 0, where a search begins
unless it is told otherwise, all are clipped, and the derivative gives the direction alone: an exploding
training cannot throw a search away.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.lab.progress import Progress
from core.lab.tuning.path import Path
from core.lab.tuning.space import Space
from core.lab.tuning.trials import Trials, price

_LONGEST = 2.0  # factor on the first step that steps grow to


def spread_starts(hyperparameters: int, starts: int) -> Tensor:
    """Points of the unit cube `[S, K]`: evenly along the first hyperparameter, midway in the others."""
    unit = torch.full((starts, hyperparameters), 0.5, dtype=torch.float64)
    unit[:, 0] = (torch.arange(starts, dtype=torch.float64) + 0.5) / starts
    return unit


def descend(
    trials: Trials,
    space: Space,
    unit: Tensor,
    progress: Progress,
    *,
    rounds: int,
    rate: float,
    clip: float = 0.0,
) -> Path:
    """Follow hypergradients from starts in the unit cube.

    Args:
        trials, space: what is trained, and the hyperparameters that are tuned.
        unit: `[G, S, K]`, where S starts of G searches begin.
        progress: is told of each round.
        rounds: hypergradients of each start.
        rate: length of the first step in logarithms and logits.
        clip: length of a derivative, of the mean loss by logarithms and logits, above which it is clipped.
    """
    cost = price(trials.mode, len(space.names)) * unit.shape[1]
    progress.expect(rounds * cost)
    descent = _Descent(space, unit, rate=rate, clip=clip)
    visited, losses = [], []
    for _ in range(rounds):
        values = space.values(descent.at)
        mean, gradients = trials.hypergradients(values)
        visited.append(values)
        losses.append(mean)
        descent.move(mean, space.slope(values, gradients))
        progress.advance(cost, "hypergradient")
    settings = {name: torch.stack([v[name] for v in visited]) for name in space.names}
    return Path(settings, torch.stack(losses), cost)


class _Descent:
    """Where starts `[G, S]` stand in K unbounded coordinates, and what they have seen."""

    def __init__(self, space: Space, unit: Tensor, *, rate: float, clip: float) -> None:
        self.space, self.rate = space, rate
        self.shortest = max(clip, torch.finfo(torch.float64).tiny)
        self.at = self.best_at = space.within_reach(space.between(unit))
        self.best_loss = torch.full_like(unit[..., 0], math.inf)
        self.speed = torch.ones_like(self.best_loss)
        # Until a training has been finite, the one thing to try is a smaller learning rate.
        retreat = torch.tensor([-4.0 * (name == "lr") for name in space.names], dtype=torch.float64)
        self.direction = retreat.to(unit.device).expand_as(self.at)

    def move(self, mean: Tensor, slope: Tensor) -> None:
        """Go where the next round is to be tried, given mean losses `[G, S]` and slopes `[G, S, K]`."""
        length = _length(slope)
        better = length.isfinite() & (mean < self.best_loss)
        seen = self.best_loss.isfinite()
        self.best_loss = torch.where(better, mean, self.best_loss)
        self.best_at = torch.where(better.unsqueeze(-1), self.at, self.best_at)
        down = -slope / length.clamp(min=self.shortest).unsqueeze(-1)
        self.direction = torch.where(better.unsqueeze(-1), down, self.direction)
        # The first finite training sets the pace; before it, retreats grow.
        pace = torch.where(better, 1.5 * self.speed, self.speed / 2).clamp(max=_LONGEST)
        self.speed = torch.where(better & ~seen, 1.0, torch.where(seen, pace, 1.5 * self.speed))
        self.at = self.space.within_reach(
            self.best_at + self.rate * self.speed.unsqueeze(-1) * self.direction
        )


def _length(slope: Tensor) -> Tensor:
    """Euclidean, over the last axis, term by term, so that no batch rounds it otherwise; scaled against
    overflow."""
    largest = slope.abs().amax(dim=-1)
    scale = torch.where(largest > 0, largest, 1.0)
    squares = [((s / scale) ** 2) for s in slope.unbind(dim=-1)]
    total = squares[0]
    for square in squares[1:]:
        total = total + square
    return scale * total.sqrt()
