"""An oracle's second moment while a policy learns: measured at the present policy, at every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from core.lab.problem import Field
from core.lab.random import Keys
from rl.reinforce import Reinforce

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
    """

    inner: Reinforce
    moment: Literal["variance", "mean square"]
    measured_on: int

    @property
    def dim(self) -> int:
        """D, as of `inner`."""
        return self.inner.dim

    def init(self, keys: Keys) -> Tensor:
        """As of `inner`."""
        return self.inner.init(keys)

    def second_moment(self, params: Tensor, keys: Keys, step: int) -> Tensor:
        """What stands under the root, `[R, D]`, of an estimate from `inner.episodes` episodes."""
        problem = replace(self.inner, episodes=self.measured_on)
        each = problem.gradient(
            params, problem.batch(params, keys.fold("oracle"), step), each_episode=True
        ).double()
        variance = each.var(dim=1) / self.inner.episodes
        if self.moment == "variance":
            return variance
        square = each.mean(dim=1) ** 2 - each.var(dim=1) / self.measured_on
        return torch.maximum(square, LEAST_SIGNAL * variance)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """The field of `inner` over the root of the measured moment; 0 where nothing ever varies."""
        sample = self.inner.field(params, keys, step)
        root = self.second_moment(params, keys, step).sqrt().to(params.dtype)
        scaled = torch.where(root > 0, sample.values / root, torch.zeros_like(root))
        return Field(scaled.where(torch.isfinite(sample.values), torch.nan), sample.measures)

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """As of `inner`."""
        return self.inner.measure(params, keys)
