"""Searches that look at settings chosen beforehand: a grid, and random points (Bergstra and Bengio 2012)."""

from __future__ import annotations

import torch
from torch import Tensor

from core.lab.progress import Progress
from core.lab.random import Keys
from core.lab.tuning.path import Path
from core.lab.tuning.space import Space
from core.lab.tuning.trials import Trials


def grid_shape(hyperparameters: int, budget: int) -> tuple[int, ...]:
    """Points a hyperparameter, of at most `budget` in all: as many for each, the first takes what is left."""
    each = 1
    while (each + 1) ** hyperparameters <= budget:
        each += 1
    others = (each,) * (hyperparameters - 1)
    return budget // each ** len(others), *others


def grid_points(hyperparameters: int, budget: int) -> Tensor:
    """The middles of the cells of a grid over the unit cube, `[P, K]`."""
    shape = grid_shape(hyperparameters, budget)
    axes = [(torch.arange(n, dtype=torch.float64) + 0.5) / n for n in shape]
    return torch.cartesian_prod(*axes).view(-1, hyperparameters)


def random_points(keys: Keys, hyperparameters: int, budget: int) -> Tensor:
    """Independent uniform points of the unit cube, `[G, P, K]` for the G rows of `keys`."""
    return keys.fold("random search").uniform(budget, hyperparameters, dtype=torch.float64)


def look_at(trials: Trials, space: Space, unit: Tensor, progress: Progress, *, label: str) -> Path:
    """Try points of the unit cube `[G, P, K]`, each for the cost of one plain training, in their order."""
    values = space.values(space.between(unit))
    count = unit.shape[1]
    progress.expect(count)
    losses = []
    width = max(1, -(-count // 4))  # few and large batches, and some progress to see
    for first in range(0, count, width):
        losses.append(trials.losses({name: v[:, first : first + width] for name, v in values.items()}))
        progress.advance(losses[-1].shape[1], label)
    return Path(
        {name: value.T.unsqueeze(2) for name, value in values.items()},
        torch.cat(losses, dim=1).T.unsqueeze(2),
        cost=1,
    )
