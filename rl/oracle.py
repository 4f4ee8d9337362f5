"""An oracle's second moment while a policy learns: measured at the present policy, at every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from core.lab.errors import VhatError, nearest
from core.lab.problem import Field
from core.lab.random import Keys
from rl.reinforce import Reinforce

MOMENTS = ("variance", "mean square")
LEAST_SIGNAL = 1e-3
"""mean^2 is kept above this share of the variance: a coordinate without signal would move without bound."""


@dataclass(frozen=True)
class OracleScaled:
    """A problem whose field is divided by the root of a moment that other episodes have measured just now.

    With momentum this is Adam with an oracle in place of v: no memory, no bias, no mean where it is to be
    variance alone. It costs `measured_on` further episodes a step.

    Attributes:
        inner: the problem.
        moment: `variance` of the gradient estimate, or `mean square`: its mean, squared.
        measured_on: episodes that the moment is measured on; of N per-episode gradients, the variance of the
            mean of E is their variance over E.

    Raises:
        VhatError: for another moment, or fewer than two episodes to measure it on.
    """

    inner: Reinforce
    moment: str
    measured_on: int

    def __post_init__(self) -> None:
        if self.moment not in MOMENTS:
            raise VhatError(nearest(self.moment, MOMENTS, kind="moment"))
        if self.measured_on < 2:
            raise VhatError(f"a variance is measured on at least 2 episodes, got {self.measured_on}")

    @property
    def dim(self) -> int:
        """D, as of `inner`."""
        return self.inner.dim

    def init(self, keys: Keys) -> Tensor:
        """As of `inner`."""
        return self.inner.init(keys)

    def second_moment(self, params: Tensor, keys: Keys, step: int) -> tuple[Tensor, Tensor]:
        """What stands under the root, `[R, D]`, of an estimate from `inner.episodes` episodes; and the share
        of coordinates `[R]` whose mean^2 was measured below `LEAST_SIGNAL` and put there.
        """
        problem = replace(self.inner, episodes=self.measured_on)
        each = problem.gradient(
            params, problem.batch(params, keys.fold("oracle"), step), each_episode=True
        ).double()
        variance = each.var(dim=1) / self.inner.episodes
        if self.moment == "variance":
            return variance, torch.zeros_like(variance[:, 0])
        square = each.mean(dim=1) ** 2 - each.var(dim=1) / self.measured_on
        least = LEAST_SIGNAL * variance
        return torch.maximum(square, least), (square < least).double().mean(dim=1)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """The field of `inner` over the root of the measured moment; 0 where nothing ever varies. Its
        measures have `clipped` besides, see `second_moment`.
        """
        sample = self.inner.field(params, keys, step)
        moment, clipped = self.second_moment(params, keys, step)
        root = moment.sqrt().to(params.dtype)
        scaled = torch.where(root > 0, sample.values / root, torch.zeros_like(root))
        whole = scaled.where(torch.isfinite(sample.values), torch.nan)
        return Field(whole, {**sample.measures, "clipped": clipped})

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """As of `inner`."""
        return self.inner.measure(params, keys)
