"""How much a path swings: its angle in a plane of two players, the strongest frequency of its direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from core.lab.experiment import Array
from core.lab.random import Keys
from games.angle import angle
from games.bilinear import BilinearGame


@dataclass(frozen=True)
class LeadingPlane(BilinearGame):
    """A bilinear game that also measures the angle of larger games: in the plane of the largest singular
    value, in which the game turns fastest."""

    @cached_property
    def _axes(self) -> tuple[Tensor, Tensor]:
        left, _, right = torch.linalg.svd(self.payoff)
        return left[:, 0], right[0]

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """`distance`, and `angle` in (-pi, pi] from the axis of x to that of y."""
        found = dict(super().measure(params, keys))
        if "angle" not in found:
            x, y = (
                (params[:, p] * axis).sum(dim=1) for p, axis in zip(self.players, self._axes, strict=True)
            )
            found["angle"] = angle(x, y)
        return found


def spectral_peak(angle: Array, spacing: float = 1.0) -> tuple[Array, Array]:
    """The strongest oscillation of the direction (cos, sin) of paths, whatever their radius does.

    The direction is a complex signal; its mean is taken off and it is windowed (Hann). A path that diverged
    is judged up to there.

    Args:
        angle: `[R, T]`, NaN from where a path diverged.
        spacing: steps between two records.

    Returns:
        frequency `[R]` in turns a step, signed (positive from the axis of x to that of y), to within half a
        bin; and the share `[R]` of the power that lies within two bins of it: near 1 for a pure rotation.
        NaN for paths of fewer than 16 records, or whose direction does not change.
    """
    frequency, share = np.full((2, len(angle)), np.nan)
    for row, values in enumerate(angle):
        length = int(np.isfinite(values).argmin()) if not np.isfinite(values).all() else len(values)
        signal = np.exp(1j * values[:length])
        if length < 16 or np.abs(signal - signal.mean()).max() < 1e-9:
            continue
        window = np.hanning(length)
        signal = (signal - (signal * window).sum() / window.sum()) * window
        power = np.abs(np.fft.fft(signal)) ** 2
        peak = int(power.argmax())
        near = (peak + np.arange(-2, 3)) % length
        frequency[row] = np.fft.fftfreq(length, spacing)[peak]
        share[row] = power[near].sum() / power.sum()
    return frequency, share
