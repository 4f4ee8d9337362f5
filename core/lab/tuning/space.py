"""What is searched: hyperparameters between bounds, in coordinates in which a step is a factor.

`lr`, `eps`, `weight_decay` and whatever is positive become logarithms, decays in (0, 1) become logits: for
beta = 0.999 the distance to 1 is what matters, and it has the right scale there. Searches run over these
coordinates, without bounds of their own, and no value leaves its range. Conversions go through Python's own
floats, since torch rounds `exp` and `sigmoid` by an element's place in memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.lab.errors import VhatError, nearest
from core.optim.rule import Rule

RANGES: Mapping[str, tuple[float, float]] = {
    "lr": (1e-4, 1.0),
    "beta1": (0.1, 0.99),
    "beta2": (0.9, 0.9999),
    "momentum": (0.1, 0.99),
    "alpha": (0.9, 0.9999),
    "eps": (1e-10, 1e-2),
    "weight_decay": (1e-6, 1e-1),
}
"""Where a search looks unless it is told otherwise."""

_DECAYS = frozenset({"beta1", "beta2", "momentum", "alpha"})
_EDGE = 0.1
# Where exp and the logistic function still give numbers inside the hyperparameters' ranges.
_FARTHEST_LOG, _FARTHEST_LOGIT = 230.0, 30.0


@dataclass(frozen=True)
class Space:
    """K hyperparameters, each with the bounds between which searches begin.

    Attributes:
        ranges: the bounds (lowest, highest) by name, in the order of the coordinates.
    """

    ranges: Mapping[str, tuple[float, float]]

    @classmethod
    def of(
        cls, rule: Rule, over: Sequence[str], ranges: Mapping[str, tuple[float, float]] | None = None
    ) -> Space:
        """The space of some hyperparameters of a rule.

        Raises:
            VhatError: for a hyperparameter that the rule lacks, that is not a number or whose range is not
                known, and for bounds that make no sense.
        """
        given = dict(ranges or {})
        if not over:
            raise VhatError("name at least one hyperparameter to tune")
        for name in (*over, *given):
            if name != "lr" and name not in rule.hyper:
                raise VhatError(nearest(name, ("lr", *rule.hyper), kind=f"hyperparameter of {rule.name}"))
        for name in given:
            if name not in over:
                raise VhatError(f"a range is given for {name}, which is not tuned (tuned: {', '.join(over)})")
        found = {}
        for name in dict.fromkeys(over):
            default = rule.hyper.get(name, 0.0)
            if isinstance(default, bool) or not isinstance(default, float | int):
                raise VhatError(f"{rule.name}: cannot tune {name}, which is not a number ({default!r})")
            if name not in given and name not in RANGES:
                raise VhatError(f"{rule.name}: {name} has no usual range; give the one to search")
            low, high = given.get(name, RANGES.get(name, (0.0, 0.0)))
            top = 1.0 if name in _DECAYS else math.inf
            if not 0 < low < high < top:
                raise VhatError(
                    f"{rule.name}: the range of {name} must lie between 0 and {top:g}, the lower bound "
                    f"first, got {low:g} to {high:g}"
                )
            found[name] = (float(low), float(high))
        return cls(found)

    @property
    def names(self) -> tuple[str, ...]:
        """In the order of the coordinates."""
        return tuple(self.ranges)

    def coordinate(self, name: str, value: float) -> float:
        """A hyperparameter's value as a logarithm or a logit."""
        return math.log(value / (1.0 - value)) if name in _DECAYS else math.log(value)

    def values(self, at: Tensor) -> dict[str, Tensor]:
        """The hyperparameters `[...]` at coordinates `[..., K]`."""
        return {
            name: _mapped(column, _logistic if name in _DECAYS else _exp)
            for name, column in zip(self.names, at.unbind(dim=-1), strict=True)
        }

    def slope(self, values: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> Tensor:
        """Derivatives by the coordinates `[..., K]`, from those by the values, by name `[...]`."""
        columns = []
        for name in self.names:
            value = values[name]
            columns.append(gradients[name] * (value * (1.0 - value) if name in _DECAYS else value))
        return torch.stack(columns, dim=-1)

    def between(self, unit: Tensor) -> Tensor:
        """Coordinates `[..., K]` of points `[..., K]` of the unit cube, whose corners are the bounds."""
        columns = []
        for (name, bounds), column in zip(self.ranges.items(), unit.unbind(dim=-1), strict=True):
            low, high = (self.coordinate(name, bound) for bound in bounds)
            columns.append(low + (high - low) * column)
        return torch.stack(columns, dim=-1)

    def within_reach(self, at: Tensor) -> Tensor:
        """Coordinates `[..., K]` moved back to where values are still valid numbers."""
        columns = []
        for name, column in zip(self.names, at.unbind(dim=-1), strict=True):
            farthest = _FARTHEST_LOGIT if name in _DECAYS else _FARTHEST_LOG
            columns.append(column.clamp(-farthest, farthest))
        return torch.stack(columns, dim=-1)

    def point(self, values: Mapping[str, float]) -> Tensor:
        """The point `[K]` of the unit cube for a setting; a name that it leaves out is in the middle.

        Raises:
            VhatError: for a name that is not searched, or a value outside the hyperparameter's own range.
        """
        for name, value in values.items():
            if name not in self.ranges:
                raise VhatError(f"a start gives {name}, which is not tuned (tuned: {', '.join(self.names)})")
            top = 1.0 if name in _DECAYS else math.inf
            if not 0 < value < top:
                raise VhatError(f"{name} must start between 0 and {top:g}, got {value:g}")
        return torch.tensor(
            [self._place(name, values[name]) if name in values else 0.5 for name in self.names],
            dtype=torch.float64,
        )

    def near_edge(self, values: Mapping[str, float]) -> tuple[str, ...]:
        """The hyperparameters that lie in the outer tenths of their ranges, or beyond them."""
        return tuple(n for n in self.names if not _EDGE <= self._place(n, values[n]) <= 1.0 - _EDGE)

    def _place(self, name: str, value: float) -> float:
        low, high = (self.coordinate(name, bound) for bound in self.ranges[name])
        return (self.coordinate(name, value) - low) / (high - low)


def _exp(x: float) -> float:
    return math.exp(x)


def _logistic(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def _mapped(values: Tensor, function: Callable[[float], float]) -> Tensor:
    flat = [function(x) for x in values.reshape(-1).tolist()]
    return torch.tensor(flat, dtype=torch.float64, device=values.device).view(values.shape)
