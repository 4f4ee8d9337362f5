"""Streams of gradients that do not depend on the parameters: what comes out of them is the update rule's own
doing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.random import Keys
from core.optim.rule import Rule
from core.optim.scalars import Scalar

_CHUNK = 512
"""Steps drawn at once: one call of the generator for many small steps."""


@dataclass(frozen=True)
class Stream:
    """Independent coordinates with gradients `active * (mean + noise * normal)`, stationary in time.

    Attributes:
        mean, noise: mean and standard deviation of a gradient that is there.
        chance: the probability that a stretch of `run` steps has gradients at all; the others are exactly 0.
        run: steps a stretch; 1 for gradients that come and go independently.

    Raises:
        VhatError: for a chance outside (0, 1], a negative noise, or a run below 1.
    """

    mean: float = 0.0
    noise: float = 1.0
    chance: float = 1.0
    run: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.chance <= 1 or self.noise < 0 or self.run < 1:
            raise VhatError(
                "a stream needs a chance in (0, 1], noise >= 0 and run >= 1, "
                f"got {self.chance}, {self.noise} and {self.run}"
            )

    @property
    def first_moment(self) -> float:
        """E g."""
        return self.chance * self.mean

    @property
    def second_moment(self) -> float:
        """E g^2."""
        return self.chance * (self.mean**2 + self.noise**2)

    @property
    def fourth_moment(self) -> float:
        """E g^4, of a normal variable that is there with probability `chance`."""
        return self.chance * (self.mean**4 + 6 * self.mean**2 * self.noise**2 + 3 * self.noise**4)

    def gradients(self, keys: Keys, steps: int, coordinates: int) -> Iterator[Tensor]:
        """`steps` gradients `[R, coordinates]`, float64."""
        for first in range(0, steps, _CHUNK):
            count = min(_CHUNK, steps - first)
            shape = (len(keys), count, coordinates)
            block = torch.full(shape, self.mean, dtype=torch.float64, device=keys.device)
            if self.noise:
                drawn = keys.fold("noise").at(first).normal(_CHUNK, coordinates, dtype=torch.float64)
                block = block + self.noise * drawn[:, :count]
            if self.chance < 1:
                block = block * self._active(keys, first, coordinates)[:, :count]
            yield from block.movedim(1, 0).contiguous()

    def _active(self, keys: Keys, first: int, coordinates: int) -> Tensor:
        """`[R, _CHUNK, coordinates]`, 1 where there is a gradient; a stretch goes on over the chunk's end."""
        stretches = range(first // self.run, (first + _CHUNK - 1) // self.run + 1)
        draws = [keys.fold("active").at(s).uniform(coordinates, dtype=torch.float64) for s in stretches]
        on = (torch.stack(draws, dim=1) < self.chance).to(torch.float64)
        which = torch.arange(first, first + _CHUNK, device=keys.device) // self.run - stretches.start
        return on[:, which]


def follow(
    rule: Rule,
    gradients: Iterable[Tensor],
    *,
    lr: Scalar = 1.0,
    state_dtype: torch.dtype | None = None,
    **hyper: Any,
) -> Iterator[tuple[Tensor, Any]]:
    """What a rule does step by step with gradients `[R, D]`: pairs (descent `[R, D]`, state after the step).

    The descent is what is subtracted from the parameters. Every step is taken from zero parameters, so that
    it is stored as exactly as their type (the gradients') allows.
    """
    state = None
    for gradient in gradients:
        still = torch.zeros_like(gradient)
        if state is None:
            state = rule.init(still, state_dtype=state_dtype, **hyper)
        # Not around the loop: a generator that is left at its yield would leave gradients off for everybody.
        with torch.no_grad():
            moved, state = rule.step(still, gradient, state, lr=lr, **hyper)
        yield -moved, state
