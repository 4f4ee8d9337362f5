"""The Dirac-GAN (Mescheder, Geiger and Nowozin 2018): the smallest GAN, which shows why GANs turn.

The data are a point mass at 0, the generator is a point mass at theta, the discriminator is D(x) = psi x.
With f(t) = -log(1 + exp(-t)) the discriminator ascends

    f(psi theta) + f(0) - (gamma / 2) psi^2

whose last term is the gradient penalty R1 (on this game R2 is the same). The generator descends
f(psi theta) (saturating) or -f(-psi theta) (non-saturating); with f(t) = t both are the Wasserstein GAN. The
only equilibrium is (0, 0). There the field's Jacobian has the eigenvalues
gamma / 2 +- sqrt(gamma^2 / 4 - f'(0)^2). Without penalty they are imaginary, and the players circle: in
continuous time on theta^2 + psi^2 = const (saturating and Wasserstein), in steps outwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.problem import Field
from core.lab.random import Keys
from games.angle import angle
from games.gan import Loss
from games.noise import Noise, noisy, sphere


@dataclass(frozen=True)
class DiracGAN:
    """Parameters are float64 `[R, 2]`: theta (generator), psi (discriminator).

    Attributes:
        loss: see the module's text.
        penalty: gamma >= 0.
        noise, noise_scale: of the field, see `games.noise`.
        radius: distance from the equilibrium at which players start, in a uniform keyed direction.
        device: where parameters and keys live.

    Raises:
        VhatError: for a negative penalty, noise or radius.
    """

    loss: Loss = "saturating"
    penalty: float = 0.0
    noise: Noise = "none"
    noise_scale: float = 0.0
    radius: float = 1.0
    device: str = "cpu"

    dim = 2
    players = (slice(0, 1), slice(1, 2))

    def __post_init__(self) -> None:
        if not all(0.0 <= x < math.inf for x in (self.penalty, self.noise_scale, self.radius)):
            raise VhatError("penalty, noise_scale and radius of the Dirac-GAN are numbers of 0 or more")

    @property
    def equilibrium(self) -> Tensor:
        """`[2]`: the origin."""
        return torch.zeros(2, dtype=torch.float64, device=self.device)

    @property
    def zero_sum(self) -> bool:
        """Whether both players pull at one value, up to terms of the discriminator's parameter alone."""
        return self.loss != "nonsaturating"

    @property
    def slope(self) -> float:
        """f'(0)."""
        return 1.0 if self.loss == "wasserstein" else 0.5

    def eigenvalues(self) -> tuple[complex, complex]:
        """Of the field's Jacobian at the equilibrium, in closed form (their Lemma 3.1 and Theorem 4.1; the
        paper has the ascent field, which is minus ours)."""
        root = complex(self.penalty**2 / 4.0 - self.slope**2) ** 0.5
        return self.penalty / 2.0 + root, self.penalty / 2.0 - root

    def init(self, keys: Keys) -> Tensor:
        """`[R, 2]` float64, uniform on the circle of the game's radius."""
        return sphere(keys, 2, self.radius)

    def mean_field(self, params: Tensor) -> Tensor:
        """`[R, 2]`, without noise."""
        theta, psi = params[:, :1], params[:, 1:]
        if self.loss == "wasserstein":
            by_theta, by_psi = psi, -theta
        else:
            # f'(t) = 1 / (1 + exp(t)); an overflow of exp gives the right limit 0.
            slope = 1.0 / (1.0 + (theta * psi).exp())
            by_psi = -slope * theta
            by_theta = slope * psi if self.loss == "saturating" else psi / (1.0 + (-theta * psi).exp())
        return torch.cat([by_theta, by_psi + self.penalty * psi], dim=1)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """A sample of the field; unbiased."""
        return Field(noisy(self.mean_field(params), keys, step, self.noise, self.noise_scale))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:  # noqa: ARG002
        """`distance` to the equilibrium, and `angle` in (-pi, pi], counted from the axis of theta to that of
        psi."""
        return {"distance": params.norm(dim=1), "angle": angle(params[:, 0], params[:, 1])}
