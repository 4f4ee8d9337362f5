"""Many samples of the field at frozen policies, for probes: several estimators from the same episodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core.lab.problem import Field
from core.lab.random import Keys
from rl.reinforce import Reinforce

_ROWS = 512
"""Replicas and samples that are rolled out together."""


def _stacked(keys: Keys, first: int, count: int) -> Keys:
    """Keys of `count` independent draws: row i * R + r is draw first + i of replica r."""
    index = torch.arange(len(keys), device=keys.device) if keys.index is None else keys.index
    seeds = len(keys.words)
    words = torch.cat([keys.at(first + i).words for i in range(count)])
    return Keys(words, torch.cat([index + i * seeds for i in range(count)]))


def sample_fields(
    problems: Mapping[str, Reinforce], params: Tensor, keys: Keys, samples: int
) -> dict[str, Tensor]:
    """Samples `[samples, R, D]` of each problem's field at `params` `[R, D]`.

    The problems differ in their estimator only (baseline, discount): the first one's episodes serve all.
    """
    first, *_ = problems.values()
    found: dict[str, list[Tensor]] = {name: [] for name in problems}
    at_once = max(1, _ROWS // len(params))
    for start in range(0, samples, at_once):
        count = min(at_once, samples - start)
        repeated = params.repeat(count, 1)
        batch = first.batch(repeated, _stacked(keys, start, count), 0)
        for name, problem in problems.items():
            found[name].append(problem.gradient(repeated, batch).view(count, *params.shape))
    return {name: torch.cat(parts) for name, parts in found.items()}


@dataclass(frozen=True)
class Recorded:
    """A problem whose field was sampled beforehand, so that `core.lab.probe` can read it.

    Attributes:
        samples: `[M, R, D]`; step i gives sample i.
    """

    samples: Tensor

    @property
    def dim(self) -> int:
        """D."""
        return int(self.samples.shape[2])

    def init(self, keys: Keys) -> Tensor:
        """Parameters play no part: zeros `[R, D]`."""
        return self.samples.new_zeros(len(keys), self.dim)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:  # noqa: ARG002
        """Sample number `step`."""
        return Field(self.samples[step])

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Nothing to measure."""
        return {}
