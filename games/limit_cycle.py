"""The limit cycle of Adam on the game xy: its radius, what damps, what drives, by averaging over a turn.

The field of xy at z = (x, y) = r (cos p, sin p) is (y, -x): player x sees y, player y sees -x. Lengths are in
units of the learning rate, k is the memory's rate 1 - beta2, and steps are taken as small against a turn.

1. *Turning.* Over a turn both second moments are near V, the average of r^2 / 2, plus the noise's variance.
   A step displaces by r / sqrt(V), at right angles to the radius: the phase moves by w = 1 / sqrt(V) a step.
2. *What drives.* A step is straight: a tangent of length w r takes log r up by w^2 / 2. And Adam steps along
   an average of past gradients. If their mean age is t steps, the step points t w of an angle backwards,
   which is outwards, and log r goes up by t w^2. Both together: c w^2 / 2 with the *drive* c = 1 + 2 t.
3. *What damps.* y^2 = (r^2 / 2)(1 - cos 2p) swings twice a turn, and so does the second moment of player x,
   smoothed: the swing S e^(2ip) in r^2 / 2 (1 - e^(2ip)) obeys S' = k (r^2 / 2 - S) - 2iw S, hence settles at
   S = (r^2 / 2) k / (k + 2iw). The real part makes the step shorter where y is large and does no work on
   average. The imaginary part is a lag: the player whose gradient has just shrunk still divides by too much,
   the one whose gradient has grown by too little, and that one steps inwards. As the root halves the swing,
   log r changes by (w / 4) Im(S / V) = -(w^2 / 2) (r^2 / 2V) k / (k^2 + 4w^2).
4. *Balance.* Without noise and eps V = r^2 / 2, and c = k / (k^2 + 4w^2), so that

       w^2 = (k / c - k^2) / 4,        r = lr sqrt(8 c / (k (1 - k c))).

   Inside, w is larger and the path goes out; outside, the path comes in. For k c >= 1 the damping is too weak
   at every radius and the path leaves; for c <= 0 nothing drives, and it falls in until a step is no longer
   small against a turn.
5. *Approach.* With q = r^2 / 2, log r moves by F = (w^2 / 2)(c - (q / V) k / (k^2 + 4w^2)) and V by
   k (q - V). Linearised at the cycle, with g = 1 - k c, the rates s solve
   s^2 + (1 + g / 4) k s + g^2 k^2 / 4 = 0; the slower one is k / 4 for small
   k c: 4 / (1 - beta2) steps for a factor of e.
6. *The constant eps* makes a step w r with w = 1 / (sqrt(V) + eps), and scales the swing of the denominator
   by sqrt(V) / (sqrt(V) + eps) = 1 - eps w: then 4w^2 + (k / c) eps w + k^2 - k / c = 0.
7. *Additive noise* of variance s^2 a coordinate adds s^2 to V and lets z diffuse by w^2 s^2 a step. Then
   dq = (2 q F + w^2 s^2) dt + sqrt(2 q) w s dB, with the stationary density

       p(q) ~ (q + s^2) exp([c q - q / k + (b / k^3) log(1 + k^2 q / b)] / s^2),    b = k^2 s^2 + 4.

   For s -> infinity (that is, lr -> 0) the radius is of the order k^(1/4) s and no longer depends on lr.

The age t says what momentum and the play scheme do, all in one number (`gradient_age`). The lowest order in
k c and w is kept: the radius is off by about k c / 2 of itself.
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
    """Mean age, in steps, of the gradients that a step goes along; negative if they are from points ahead.

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
        """Radius of the cycle on the exact field; NaN where there is none.

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
        drive; NaN where there is no stationary law.

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
        """Rate a step at which a small distance from the cycle shrinks (the slower of two)."""
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
