"""The limit cycle of Adam on the game xy: its radius, what damps, what drives, by averaging over a turn.

docs/limit-cycle.md holds the derivation, whose section is named at each formula below. Lengths are in units
of the learning rate; k = 1 - beta2; c = 1 + 2 t is the drive, with t the gradient's mean age in steps; w is
the angle of a step. Log r moves by

    (w^2 / 2) (c - (r^2 / 2V) k / (k^2 + 4w^2))    a step, with V the mean of both second moments.

The lowest order in k c and w is kept: the radius is off by about k c / 2 of itself. It has a cycle for
0 < c < 1 / k; above, nothing that it knows holds the path, below, the path falls in.
"""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass

import numpy as np

from core.lab.experiment import Array
from core.optim.play import (
    Alternating,
    Extragradient,
    Optimistic,
    PastExtragradient,
    PlayScheme,
    Simultaneous,
)


def gradient_age(beta1: float, play: PlayScheme | None = None) -> float:
    """Mean age, in steps, of the gradients that a step goes along; negative if they are from points ahead
    (section 2).

    The first moment weighs a gradient of j steps ago by (1 - beta1) beta1^j: beta1 / (1 - beta1) on average.
    Alternating play shows one of two players the other's next point: half a step less. Optimism of strength s
    adds s times the step's change, s steps less. Extragradient, also from the past, takes all gradients a
    step ahead; with a shared state every other gradient in the moment is from the current point.

    Raises:
        ValueError: for a scheme whose age is not derived here.
    """
    momentum = beta1 / (1.0 - beta1)
    match play:
        case None | Simultaneous():
            return momentum
        case Alternating():
            return momentum - 0.5
        case Optimistic():
            return momentum - play.strength
        case Extragradient(shared_state=True):
            return (beta1 + beta1**2 - 1.0) / (1.0 - beta1**2)
        case Extragradient() | PastExtragradient(shared_state=False):
            return momentum - 1.0
    raise ValueError(f"no age of the gradient is known for {play!r}")


def optimism_to_collapse(beta1: float) -> float:
    """The strength of optimism from which on simultaneous Adam has no drive: 1/2 + beta1 / (1 - beta1)."""
    return 0.5 + gradient_age(beta1)


@dataclass(frozen=True)
class LimitCycle:
    """The averaged motion of an Adam-like method on xy; lengths in units of the learning rate.

    Attributes:
        drive: c = 1 + 2 t with t the gradient's mean age in steps.
        memory: k, the share of the second moment that a step replaces.
    """

    drive: float
    memory: float

    @classmethod
    def of(cls, beta1: float, beta2: float, play: PlayScheme | None = None) -> LimitCycle:
        """Of Adam under a play scheme. An extragradient step with a shared state renews v twice."""
        twice = isinstance(play, Extragradient) and play.shared_state
        return cls(1.0 + 2.0 * gradient_age(beta1, play), 1.0 - beta2**2 if twice else 1.0 - beta2)

    @property
    def exists(self) -> bool:
        """Whether there is a cycle: something drives, and the damping can hold it."""
        return 0.0 < self.drive < 1.0 / self.memory

    def radius(self, eps: float = 0.0) -> float:
        """Radius of the cycle on the exact field; NaN where there is none (sections 4 and 6).

        Args:
            eps: of Adam's denominator, in units of the learning rate.
        """
        if not self.exists:
            return math.nan
        c, k = self.drive, self.memory
        linear = k * eps / c
        turn = (math.sqrt(linear**2 + 16.0 * (k / c - k * k)) - linear) / 8.0
        return math.sqrt(2.0) * (1.0 / turn - eps)

    def mean_radius(self, noise: float) -> float:
        """Stationary mean of the radius under additive noise, also where the cycle has collapsed for want of
        drive; NaN where there is no stationary law (section 7).

        Args:
            noise: standard deviation of each coordinate of the field, in units of lr; positive.
        """
        c, k, s = self.drive, self.memory, noise
        if k * c >= 1.0:
            return math.nan
        b = k * k * s * s + 4.0
        # Mode and width of the density bound where its mass lies; there it is looked at again.
        scale = max(4.0 * c / (k * (1.0 - k * c)), math.sqrt(b * s * s / k), s * s * math.sqrt(k), b)
        low, high = 0.0, 60.0 * scale
        for _ in range(2):
            q, step = np.linspace(low, high, 20_001, retstep=True)
            q = q[1:]
            log_density = np.log(q + s * s) + (c * q - q / k + b / k**3 * np.log1p(k * k * q / b)) / (s * s)
            log_density -= log_density.max()
            held = q[log_density > -40.0]
            low, high = max(held[0] - step, 0.0), held[-1] + step
        density = np.exp(log_density)
        return float((density * np.sqrt(2.0 * q)).sum() / density.sum())

    @property
    def approach(self) -> float:
        """Rate a step at which a small distance from the cycle shrinks (the slower of two; section 5)."""
        g = 1.0 - self.drive * self.memory
        half = 1.0 + g / 4.0
        return self.memory * (half - math.sqrt(half * half - g * g)) / 2.0

    def path(self, start: float, steps: int) -> Array:
        """Radius after each of `steps` steps from radius `start`, by the averaged equations: `[steps + 1]`.

        The second moment starts as Adam's with bias correction: the square of the first gradient.
        """
        c, k = self.drive, self.memory
        log_r, q = math.log(start), start * start / 2.0
        level, swing = q, complex(q)
        radii = [start]
        for step in range(steps):
            turn, relative = 1.0 / math.sqrt(level), swing / level
            rate = k / (1.0 - (1.0 - k) ** (step + 2))
            level += rate * (q - level)
            turned = turn * (1.0 - relative.real / 4.0)
            swing = (swing + rate * (q - swing)) * cmath.exp(-2j * turned)
            log_r += c * turn * turn / 2.0 + turn * relative.imag / 4.0
            q = math.exp(2.0 * log_r) / 2.0
            radii.append(math.exp(log_r))
        return np.array(radii)
