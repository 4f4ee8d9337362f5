"""A GAN on the 8x8 digits, small enough for a CPU."""

from __future__ import annotations

from typing import Any

from games.digits import Digits
from games.gan import GAN


def digits_gan(*, judge_seed: int = 0, device: str = "cpu", **sizes: Any) -> GAN:
    """A GAN from plain data, as studies store it.

    Args:
        judge_seed: of the classifier that judges.
        device: where it is trained.
        sizes: further attributes of `GAN`.
    """
    return GAN(Digits(seed=judge_seed), device=device, **sizes)
