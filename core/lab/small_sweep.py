"""A sweep of a fraction of a second, whose bits tell whether a machine computes the same twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core.lab.engines import compute
from core.lab.errors import VhatError
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.store import payload_digest
from core.lab.sweep import Objective, Regime, Sweep
from core.lab.variant import Grid, Variant


@dataclass(frozen=True)
class _Bowl:
    """A noisy quadratic in three coordinates."""

    device: str = "cpu"
    dim: int = 3

    def init(self, keys: Keys) -> Tensor:
        return keys.fold("init").normal(self.dim)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        curvature = torch.tensor([1.0, 4.0, 0.25], device=self.device)
        return Field(curvature * params + 0.1 * keys.at(step).normal(self.dim))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        return {"loss": 0.5 * (params * params).sum(dim=1)}


def small_sweep(device: str) -> str:
    """The digest of what a small sweep gives.

    Raises:
        VhatError: if it fails.
    """
    sweep = Sweep(
        name="bowl",
        study="doctor",
        regimes=(Regime("bowl", _Bowl),),
        variants=(Variant("SGD", "sgd"), Variant("Adam", "adam")),
        grid=Grid(-4, -1),
        objective=Objective("loss"),
        steps=50,
        tuning_seeds=4,
        reporting_seeds=4,
    )
    (shard,) = sweep.pending(lambda _: None)
    done = compute(sweep, shard.spec, device)
    if done.payload is None:
        raise VhatError(f"a small sweep fails: {done.error}")
    return payload_digest(done.payload)
