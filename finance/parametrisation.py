"""How parameters that a rule moves give a portfolio, and what the rule sees of the utility's gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol

import torch
from torch import Tensor

from core.optim.projection import project_to_simplex

Parametrisation = Literal["softmax", "exponentiated", "simplex", "metric", "free"]
NAMES: Mapping[str, str] = MappingProxyType(
    {
        "softmax": "softmax",
        "exponentiated": "exponentiated gradient",
        "simplex": "Euclidean projection",
        "metric": "projection in sqrt(v̂)",
        "free": "free weights",
    }
)
"""What a reader calls each."""


class Chart(Protocol):
    """From parameters `[R, N]` to weights `[R, N]`."""

    @property
    def long_only(self) -> bool:
        """Whether all weights are portfolios: not negative, sum 1. Otherwise they are any numbers."""

    def start(self, assets: int) -> float:
        """The parameter that gives equal weights 1/N."""

    def weights(self, params: Tensor) -> Tensor:
        """The portfolio, `[..., N]` to `[..., N]`."""

    def pull_back(self, weights: Tensor, gradient: Tensor) -> Tensor:
        """What the rule descends along, from the gradient by the weights, both `[..., N]`; along the last
        axis."""

    def project(self, params: Tensor, metric: Tensor | None) -> Tensor:
        """The nearest parameters `[R, N]` that give a portfolio; `metric` is the rule's, None the Euclidean
        one."""


@dataclass(frozen=True)
class Free:
    """Parameters are weights without any constraint."""

    long_only: bool = False

    def start(self, assets: int) -> float:
        return 1.0 / assets

    def weights(self, params: Tensor) -> Tensor:
        return params

    def pull_back(self, weights: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG002
        return gradient

    def project(self, params: Tensor, metric: Tensor | None) -> Tensor:  # noqa: ARG002
        return params


@dataclass(frozen=True)
class Projected(Free):
    """Parameters are weights, taken back to the simplex after each step.

    Attributes:
        in_metric: to the nearest point in the metric of the rule's own denominator, sqrt(v̂) + eps for Adam.
            A step of Adam is the minimiser of g·w + |w - w_t|²_D / (2 lr) in that metric D, so that the
            projected step minimises the same over portfolios (Duchi, Hazan and Singer 2011, for AdaGrad;
            Reddi, Kale and Kumar 2018, for Adam). A rule without a denominator has the Euclidean metric.
    """

    in_metric: bool = False
    long_only: bool = True

    def project(self, params: Tensor, metric: Tensor | None) -> Tensor:
        return project_to_simplex(params, metric if self.in_metric else None)


@dataclass(frozen=True)
class Softmax:
    """Parameters are logits; the rule descends along the gradient with respect to the logits."""

    long_only: bool = True

    def start(self, assets: int) -> float:  # noqa: ARG002
        return 0.0

    def weights(self, params: Tensor) -> Tensor:
        return torch.softmax(params, dim=-1)

    def pull_back(self, weights: Tensor, gradient: Tensor) -> Tensor:
        return weights * (gradient - (weights * gradient).sum(dim=-1, keepdim=True))

    def project(self, params: Tensor, metric: Tensor | None) -> Tensor:  # noqa: ARG002
        return params


@dataclass(frozen=True)
class Exponentiated(Softmax):
    """Parameters are logits that descend along the gradient with respect to the weights.

    With plain SGD this is the exponentiated gradient, w_i ← w_i exp(-lr g_i) / Σ (Kivinen and Warmuth 1997;
    for portfolios Helmbold et al. 1998), mirror descent in the entropy. With Adam it is Adam on the dual
    variables.
    """

    def pull_back(self, weights: Tensor, gradient: Tensor) -> Tensor:  # noqa: ARG002
        return gradient


CHARTS: Mapping[Parametrisation, Chart] = MappingProxyType(
    {
        "softmax": Softmax(),
        "exponentiated": Exponentiated(),
        "simplex": Projected(),
        "metric": Projected(in_metric=True),
        "free": Free(),
    }
)
