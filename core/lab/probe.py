"""The probe of moments: what the field is made of at frozen parameters, coordinate by coordinate, beside
v-hat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.lab.problem import Problem
from core.lab.random import Keys


@dataclass(frozen=True)
class Moments:
    """Moments of the field at frozen parameters, all float64.

    Attributes:
        mean: `[R, D]`, of the field over the samples.
        variance: `[R, D]`, unbiased, over the samples.
        exp_avg_sq: `[R, D]`, Adam's second moment after the same samples in order, bias-corrected (v-hat).
        exp_avg: `[R, D]`, Adam's first moment, bias-corrected (m-hat).
        samples: how many.
    """

    mean: Tensor
    variance: Tensor
    exp_avg_sq: Tensor
    exp_avg: Tensor
    samples: int

    @property
    def signal_to_noise(self) -> Tensor:
        """abs(mean) / standard deviation of one sample, `[R, D]`; infinite where there is no noise, 0 at dead
        coordinates."""
        ratio = self.mean.abs() / self.variance.sqrt()
        return torch.where(self.mean == 0, 0.0, ratio)

    @property
    def noise_share(self) -> Tensor:
        """variance / (variance + mean^2): how much of the raw second moment is noise, `[R, D]`; 0 at dead
        coordinates."""
        raw = self.variance + self.mean**2
        return torch.where(raw > 0, self.variance / raw.clamp_min(torch.finfo(raw.dtype).tiny), 0.0)


def probe(
    problem: Problem,
    params: Tensor,
    keys: Keys,
    *,
    samples: int,
    beta1: float = 0.9,
    beta2: float = 0.999,
    stream: str = "probe",
) -> Moments:
    """Sample the field `samples` times at frozen `params` `[R, D]`.

    The mean and the variance are accumulated by Welford's recurrence (1962), which does not cancel; v-hat and
    m-hat are Adam's exponential averages of the very same samples (Kingma and Ba 2015, algorithm 1).

    Raises:
        ValueError: for fewer than two samples.
    """
    if samples < 2:
        raise ValueError(f"a variance needs at least two samples, got {samples}")
    keys = keys.fold(stream)
    mean = torch.zeros_like(params, dtype=torch.float64)
    square = torch.zeros_like(mean)
    first, second = torch.zeros_like(mean), torch.zeros_like(mean)
    for i in range(samples):
        sample = problem.field(params, keys, i).values.double()
        delta = sample - mean
        mean = mean + delta / (i + 1)
        square = square + delta * (sample - mean)
        first = beta1 * first + (1 - beta1) * sample
        second = beta2 * second + (1 - beta2) * sample**2
    return Moments(
        mean, square / (samples - 1), second / (1 - beta2**samples), first / (1 - beta1**samples), samples
    )
