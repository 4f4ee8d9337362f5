"""A small generative adversarial network (Goodfellow et al. 2014), R of them at once.

The generator maps latents to points, the discriminator gives a point one number D(x), its logit of being
real. Both descend a loss of their own; x real, z latent, s = softplus:

    discriminator            E[s(-D(x))] + E[s(D(G(z)))]
    generator, nonsaturating E[s(-D(G(z)))]
    generator, saturating    -E[s(D(G(z)))]

    wasserstein              E[D(G(z))] - E[D(x)]  and  -E[D(G(z))]

To the discriminator's loss the penalty R1 (Mescheder et al. 2018), (gamma / 2) E[|D'(x)|^2], may be added. As
the networks are linear between their kinks, its gradient is one more pass forward: of D'(x) through the
layers without biases.

The field holds both players' gradients on the same sample. One backward pass of the discriminator serves
both: it is linear in the derivative of the loss by the logit, one number a sample, and the two losses differ
in that number only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as default
from functools import cached_property
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.problem import Field
from core.lab.random import Keys
from games.mixtures import Mixture, Shape
from games.networks import MLP, Layer

Loss = Literal["nonsaturating", "saturating", "wasserstein"]

_ROWS_AT_ONCE = 32
"""More replicas than this are taken in parts, whose activations stay in the processor's cache."""


def _row_parts(rows: Tensor) -> Sequence[Tensor]:
    """Neighbouring rows in parts, none of a single row (which would take other kernels)."""
    return torch.tensor_split(rows, max(1, len(rows) // _ROWS_AT_ONCE))


class Law(Protocol):
    """What a generator is to learn: points to draw from, and a judge of generated ones."""

    @property
    def dim(self) -> int:
        """Numbers a point."""

    def sample(self, keys: Keys, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """`[R, n, dim]`: n points a row."""

    def mass(self, samples: Tensor) -> Tensor:
        """`[R, K]`: the share of samples `[R, n, dim]` that belong to each of the law's modes."""

    def assigned(self, samples: Tensor) -> Tensor:
        """int64 `[R, n]`: the mode that each sample belongs to; K for none."""

    def coverage(self, samples: Tensor) -> Mapping[str, Tensor]:
        """How samples `[R, n, dim]` cover the law: `modes`, `quality` and what else it knows, `[R]` each."""


def _softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)). Torch's own rounds the last elements of a tensor otherwise than those before."""
    return x.clamp(min=0.0) + torch.log1p((-x.abs()).exp())


@dataclass(frozen=True)
class GAN:
    """Generator against discriminator on points of a law: a mixture of Gaussians, or images of digits.

    Parameters are float32 `[R, D]`: the generator's block, then the discriminator's.

    Attributes:
        data: the law to learn.
        latent: dimension of the latent, standard normal.
        width, depth: units in each hidden layer and number of hidden layers, of both networks.
        batch: real points and latents a sample of the field.
        loss: of the pair of players, see the module's text.
        r1: gamma, weight of the penalty R1 >= 0.
        discriminator_width, discriminator_depth: where they differ from the generator's; None for the same.
        held_out: latents on which `measure` judges, drawn once a seed and never trained on.
        device: where parameters and keys live.

    Raises:
        VhatError: naming the sizes that are below 1, or r1 if it is negative or not a number.
    """

    data: Law = default(default_factory=Mixture)
    latent: int = 8
    width: int = 32
    depth: int = 2
    batch: int = 64
    loss: Loss = "nonsaturating"
    r1: float = 0.0
    discriminator_width: int | None = None
    discriminator_depth: int | None = None
    held_out: int = 512
    device: str = "cpu"

    def __post_init__(self) -> None:
        own = ("latent", "width", "depth", "batch", "held_out")
        names = (*own, "discriminator_width", "discriminator_depth")
        wrong = [f"{n} = {size}" for n in names if (size := getattr(self, n)) is not None and size < 1]
        if wrong or not 0.0 <= self.r1 < math.inf:
            wrong += [] if self.r1 >= 0.0 else [f"r1 = {self.r1}"]
            raise VhatError(f"a GAN needs sizes of at least 1 and a number r1 >= 0, got {', '.join(wrong)}")

    @cached_property
    def generator(self) -> MLP:
        """From the latent to a point."""
        return MLP((self.latent, *[self.width] * self.depth, self.data.dim))

    @cached_property
    def discriminator(self) -> MLP:
        """From a point to a logit."""
        width, depth = self.discriminator_width or self.width, self.discriminator_depth or self.depth
        return MLP((self.data.dim, *[width] * depth, 1))

    @property
    def dim(self) -> int:
        return self.generator.size + self.discriminator.size

    @property
    def players(self) -> tuple[slice, ...]:
        """Generator, discriminator."""
        return slice(0, self.generator.size), slice(self.generator.size, self.dim)

    @property
    def zero_sum(self) -> bool:
        """Whether both players pull at one value, up to terms of the discriminator's parameters alone."""
        return self.loss != "nonsaturating"

    def init(self, keys: Keys) -> Tensor:
        """`[R, D]` float32, uniform as in `torch.nn.Linear`."""
        parts = [
            self.generator.init(keys.fold("generator"), torch.float32),
            self.discriminator.init(keys.fold("discriminator"), torch.float32),
        ]
        return torch.cat(parts, dim=1).to(self.device)

    def draw(self, keys: Keys, step: int) -> tuple[Tensor, Tensor]:
        """The sample of a step: latents `[R, batch, latent]` and real points `[R, batch, dim]`."""
        now = keys.at(step)
        return now.fold("latent").normal(self.batch, self.latent), self.data.sample(
            now.fold("real"), self.batch
        )

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """Both players' gradients on one sample, with `loss_generator` and `loss_discriminator` `[R]`."""
        latents, real = self.draw(keys, step)
        return self.field_on(params, latents, real)

    def field_on(self, params: Tensor, latents: Tensor, real: Tensor) -> Field:
        """The field on given latents `[R, B, latent]` and real points `[R, B, dim]`."""
        parts = [self._field(*rows) for rows in zip(*map(_row_parts, (params, latents, real)), strict=True)]
        losses = {name: torch.cat([p.measures[name] for p in parts]) for name in parts[0].measures}
        return Field(torch.cat([p.values for p in parts]), losses)

    def _field(self, params: Tensor, latents: Tensor, real: Tensor) -> Field:
        first, second = self.players
        generator, discriminator = (
            self.generator.layers(params[:, first]),
            self.discriminator.layers(params[:, second]),
        )
        inputs, fake = self.generator.forward(generator, latents)
        judged, logits = self.discriminator.forward(discriminator, torch.cat([real, fake], dim=1))
        half = real.shape[1]
        losses, slopes, push = self._losses(logits[:, :half].contiguous(), logits[:, half:].contiguous())

        unit = self.discriminator.sensitivities(discriminator, judged, torch.ones_like(logits))
        by_discriminator = self.discriminator.gradient(judged, unit, slopes)
        if self.r1 > 0.0:
            steepness, by_penalty = self._penalty(discriminator, judged, unit, half)
            by_discriminator = by_discriminator + by_penalty
            judge = losses["loss_discriminator"]
            losses = {**losses, "loss_discriminator": judge + steepness, "penalty": steepness}
        by_point = torch.bmm(unit[0][:, half:], discriminator[0].weight.transpose(1, 2))
        back = self.generator.sensitivities(generator, inputs, push * by_point)
        return Field(torch.cat([self.generator.gradient(inputs, back), by_discriminator], dim=1), losses)

    def _penalty(
        self, layers: Sequence[Layer], judged: Sequence[Tensor], unit: Sequence[Tensor], real: int
    ) -> tuple[Tensor, Tensor]:
        """R1 on the first `real` points of a batch, `[R]`, and its gradient `[R, size]`."""
        inputs, back = [x[:, :real] for x in judged], [u[:, :real] for u in unit]
        slope = torch.bmm(back[0], layers[0].weight.transpose(1, 2))
        value = 0.5 * self.r1 * slope.square().sum((1, 2)) / real
        return value, self.discriminator.slope_gradient(layers, inputs, back, (self.r1 / real) * slope)

    def _losses(self, real: Tensor, fake: Tensor) -> tuple[Mapping[str, Tensor], Tensor, Tensor]:
        """Losses `[R]`, and their derivatives by the logits.

        The discriminator's by all logits is `[R, 2B, 1]`, the generator's by the fake ones `[R, B, 1]`.
        """
        n = fake.shape[1]
        if self.loss == "wasserstein":
            level = fake.mean((1, 2))
            losses = {"loss_generator": -level, "loss_discriminator": level - real.mean((1, 2))}
            slope = torch.full_like(fake, 1.0 / n)
            return losses, torch.cat([-slope, slope], dim=1), -slope
        # The derivative of softplus is 1 / (1 + exp(-x)); an overflow of exp to infinity gives the right
        # limit 0.
        p_fake = 1.0 / (n * (1.0 + (-fake).exp()))
        slopes = torch.cat([-1.0 / (n * (1.0 + real.exp())), p_fake], dim=1)
        rejected = _softplus(fake).mean((1, 2))
        by_discriminator = _softplus(-real).mean((1, 2)) + rejected
        if self.loss == "saturating":
            return {"loss_generator": -rejected, "loss_discriminator": by_discriminator}, slopes, -p_fake
        fooled = _softplus(-fake).mean((1, 2))
        push = -1.0 / (n * (1.0 + fake.exp()))
        return {"loss_generator": fooled, "loss_discriminator": by_discriminator}, slopes, push

    def losses(self, params: Tensor, fake: Tensor, real: Tensor) -> Mapping[str, Tensor]:
        """`loss_generator` and `loss_discriminator` `[R]` on generated and as many real points `[R, n, dim]`,
        without the penalty."""
        layers = self.discriminator.layers(params[:, self.players[1]])
        logits = self.discriminator.forward(layers, torch.cat([real, fake], dim=1))[1]
        half = real.shape[1]
        return self._losses(logits[:, :half].contiguous(), logits[:, half:].contiguous())[0]

    def samples(self, params: Tensor, keys: Keys, n: int | None = None) -> Tensor:
        """`[R, n, dim]` generated points on the held-out latents of each row's seed (`held_out` of them by
        default).
        """
        latents = keys.fold("held-out").normal(n or self.held_out, self.latent, dtype=params.dtype)
        layers = self.generator.layers(params[:, self.players[0]])
        return self.generator.forward(layers, latents)[1]

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """What `Law.coverage` gives, on held-out latents: `modes`, `quality` and more."""
        return self.data.coverage(self.samples(params, keys))


def mixture_gan(
    *, shape: Shape = "ring8", radius: float = 2.0, std: float = 0.1, device: str = "cpu", **sizes: Any
) -> GAN:
    """A GAN from plain data, as studies store it.

    Args:
        shape, radius, std: of the mixture.
        device: where it is trained.
        sizes: further attributes of `GAN`.
    """
    return GAN(Mixture(shape, radius, std), device=device, **sizes)
