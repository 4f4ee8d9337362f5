"""Learning-rate schedules: factors that multiply `lr`, as functions of the step, counted from 0.

A schedule is called with the step as a number or a tensor. Its parameters are floats or tensors (`[R]` for
one a row); the factor is a float when everything is a number and otherwise a float64 tensor, differentiable
in every tensor, but for steps at which a piece ends.
"""

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from core.optim.scalars import Scalar

Step = float | Tensor


class Schedule(Protocol):
    """From the step to the factor that multiplies the learning rate."""

    def __call__(self, step: Step) -> Scalar: ...


@dataclass(frozen=True)
class Constant:
    """`factor`, at every step."""

    factor: Scalar = 1.0

    def __call__(self, step: Step) -> Scalar:  # noqa: ARG002
        """The factor."""
        return self.factor


@dataclass(frozen=True)
class Linear:
    r"""A straight line, then its end.

    .. math:: f(t) = (1 - p) s + p e, \qquad p = \min(t, T) / T

    Attributes:
        steps: T > 0.
        start: s.
        end: e.
    """

    steps: Scalar
    start: Scalar = 1.0
    end: Scalar = 0.0

    def __post_init__(self) -> None:
        _positive("Linear", "steps", self.steps)

    def __call__(self, step: Step) -> Scalar:
        """The factor at `step`."""
        share = _progress(step, self.steps)
        return (1 - share) * self.start + share * self.end


@dataclass(frozen=True)
class Cosine:
    r"""Half a cosine wave, then its end (Loshchilov and Hutter 2017, without restarts).

    .. math:: f(t) = e + (1 - e) \tfrac{1}{2} \big(1 + \cos(\pi \min(t, T) / T)\big)

    Attributes:
        steps: T > 0.
        end: e, the factor that remains.
    """

    steps: Scalar
    end: Scalar = 0.0

    def __post_init__(self) -> None:
        _positive("Cosine", "steps", self.steps)

    def __call__(self, step: Step) -> Scalar:
        """The factor at `step`."""
        angle = math.pi * _progress(step, self.steps)
        cosine = torch.cos(angle) if isinstance(angle, Tensor) else math.cos(angle)
        return self.end + (1 - self.end) * (1 + cosine) / 2


@dataclass(frozen=True)
class WarmUp:
    r"""A linear rise whose first step is not lost, then another schedule that starts its own count at 0.

    .. math:: f(t) = \min\left(\frac{t + 1}{W}, 1\right) h(\max(t - W, 0))

    Attributes:
        steps: W > 0; the derivative by it is two-sided where W is no whole number.
        after: h, by default constant.
    """

    steps: Scalar
    after: Schedule = field(default_factory=Constant)

    def __post_init__(self) -> None:
        _positive("WarmUp", "steps", self.steps)

    def __call__(self, step: Step) -> Scalar:
        """The factor at `step`."""
        elapsed = step - self.steps
        later = elapsed.clamp(min=0) if isinstance(elapsed, Tensor) else max(elapsed, 0)
        return _progress(step + 1, self.steps) * self.after(later)


@dataclass(frozen=True)
class InverseSquareRoot:
    r"""The decay of online convex optimization, `1 / sqrt(t)` with t from 1 where `scale` is 1 (Zinkevich
    2003).

    .. math:: f(t) = 1 / \sqrt{1 + t / c}

    Attributes:
        scale: c > 0, the steps after which the decay sets in.
    """

    scale: Scalar = 1.0

    def __post_init__(self) -> None:
        _positive("InverseSquareRoot", "scale", self.scale)

    def __call__(self, step: Step) -> Scalar:
        """The factor at `step`."""
        elapsed = 1 + _wide(step) / self.scale
        return 1 / (torch.sqrt(elapsed) if isinstance(elapsed, Tensor) else math.sqrt(elapsed))


def _wide(step: Step) -> Scalar:
    return step.double() if isinstance(step, Tensor) else float(step)


def _progress(step: Step, steps: Scalar) -> Scalar:
    """`min(t, T) / T`."""
    share = _wide(step) / steps
    return share.clamp(max=1.0) if isinstance(share, Tensor) else min(share, 1.0)


def _positive(schedule: str, name: str, value: Scalar) -> None:
    if not bool(torch.as_tensor(value > 0).all()):
        raise ValueError(f"{schedule}: {name} must be above zero, got {value!r}")
