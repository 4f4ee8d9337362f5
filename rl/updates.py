"""What a rule makes of noise: its updates along a stream of gradient estimates at a frozen policy.

All measures are free of the learning rate and of the gradient's unit, so that rules can be compared: shares
of an update that are noise, cosines, and signal-to-noise ratios. Squared means are estimated as the product
of the means of two halves of the stream, which are all but independent, so that the noise does not count as
signal.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.optim.rule import Rule


@dataclass(frozen=True)
class FixedSecondMoment:
    """An oracle under Adam's root: the same values at every step, whatever v is.

    Attributes:
        values: `[R, D]`. To be used with beta2 = 0, where the bias correction leaves them as they are.
    """

    values: Tensor

    def __call__(self, second_moment: Tensor) -> Tensor:
        """`values`, in the type of v `[R, D]`."""
        return self.values.to(second_moment.dtype)


def updates(rule: Rule, samples: Tensor, *, warm: int, start: Tensor | None = None) -> Tensor:
    """The updates `[M - warm, R, D]` of a rule at rate 1 along gradient samples `[M, R, D]` at fixed
    parameters; the first `warm` samples only bring its state into swing.

    Args:
        start: `[R, D]`, for rules whose state depends on where a run starts; None for zeros.

    Raises:
        ValueError: unless 0 <= warm < M.
    """
    if not 0 <= warm < len(samples):
        raise ValueError(f"a warm-up of {warm} leaves nothing of {len(samples)} samples")
    origin = torch.zeros_like(samples[0])
    state = rule.init(origin if start is None else start)
    found = torch.empty(len(samples) - warm, *origin.shape, dtype=origin.dtype, device=origin.device)
    for number, sample in enumerate(samples):
        moved, state = rule.step(origin, sample, state, lr=1.0)
        if number >= warm:
            found[number - warm] = moved
    return found


def sample_mean(values: Tensor) -> Tensor:
    """The mean over the first axis, `[M, ...]` to `[...]`, each entry by itself.

    torch sums along a leading axis several neighbouring columns at a time and the rest in another order, so
    that an entry's last bits would depend on how many replicas there are.
    """
    return values.movedim(0, -1).contiguous().mean(dim=-1)


def _halves(values: Tensor) -> tuple[Tensor, Tensor]:
    middle = len(values) // 2
    return sample_mean(values[:middle]), sample_mean(values[middle:])


def noise_share(vectors: Tensor) -> Tensor:
    """`[R]`: 1 - |E u|^2 / E |u|^2 of vectors `[M, R, D]`: 0 for a vector that never changes, 1 for pure
    noise.

    It is tr Var(u) / E |u|^2. The estimate may leave [0, 1] by its own error.
    """
    vectors = vectors.double()
    first, second = _halves(vectors)
    return 1.0 - (first * second).sum(dim=-1) / sample_mean(vectors.square().sum(dim=-1))


def together(values: Tensor, count: int) -> Tensor:
    """Sums of `count` consecutive updates `[M // count, R, D]`: where a stretch of steps leads to."""
    kept = values[: len(values) // count * count]
    return kept.view(-1, count, *values.shape[1:]).movedim(1, -1).contiguous().sum(dim=-1)


def unit(vectors: Tensor) -> Tensor:
    """Vectors `[..., D]` at unit length, float64; zero stays zero."""
    vectors = vectors.double()
    length = vectors.square().sum(dim=-1, keepdim=True).sqrt()
    return vectors / torch.where(length > 0, length, 1.0)


def signal_to_noise(vectors: Tensor) -> Tensor:
    """`[R]`: root of the mean over coordinates of (E u_i)^2 / Var u_i, of vectors `[M, R, D]`.

    Coordinates that never vary are left out; an estimate below zero, which noise can make, counts as zero.
    """
    vectors = vectors.double()
    first, second = _halves(vectors)
    variance = vectors.var(dim=0)
    ratio = torch.where(variance > 0, first * second / torch.where(variance > 0, variance, 1.0), 0.0)
    count = (variance > 0).sum(dim=-1).clamp_min(1)
    return (ratio.sum(dim=-1) / count).clamp_min(0.0).sqrt()


def measures(steps: Tensor, gradient: Tensor, *, stretch: int) -> dict[str, Tensor]:
    """What updates `[M, R, D]` are like, beside the true field `[R, D]` that they are to descend; `[R]` each.

    `noise`: share of the update that is noise. `noise of direction`: the same of the unit vector. `noise
    together`: of the sum of `stretch` consecutive updates. `cosine`: mean cosine with the way downhill, which
    is the expected first-order improvement a unit of length. `improvement to noise`: mean over standard
    deviation of the first-order improvement. `downhill`: share of updates with a positive one. `signal to
    noise`: see `signal_to_noise`.
    """
    downhill = -unit(gradient)
    gain = (steps.double() * downhill).sum(dim=-1)
    direction = unit(steps)
    return {
        "noise": noise_share(steps),
        "noise of direction": noise_share(direction),
        "noise together": noise_share(together(steps, stretch)),
        "cosine": sample_mean((direction * downhill).sum(dim=-1)),
        "improvement to noise": sample_mean(gain) / gain.std(dim=0),
        "downhill": sample_mean((gain > 0).double()),
        "signal to noise": signal_to_noise(steps),
    }
