"""Baselines: what is subtracted from the return-to-go before it weighs a step's score.

A baseline that does not depend on the step's own action leaves the estimate unbiased, since the score has
mean zero given the past; a good one lowers its variance (Williams 1992; Greensmith, Bartlett and Baxter
2004). A field keeps nothing between calls, so the baselines here are computed from the batch at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from core.lab.errors import VhatError, nearest
from rl.arrays import Floats

Baseline = Callable[[Floats], Floats]
"""From returns-to-go `[n, T, E]` (zero after an episode's end) to what is subtracted, broadcastable."""


def none(returns: Floats) -> Floats:
    """Nothing is subtracted."""
    return np.zeros((1, 1, 1), returns.dtype)


def leave_one_out(returns: Floats) -> Floats:
    """The mean return-to-go of the replica's other E - 1 episodes at the same time (Kool et al. 2019).

    Unbiased: the other episodes are independent of this one. An episode that has ended has 0 to go and stays
    in the mean, since leaving it out would make the divisor, though not the bias, depend on luck.
    """
    others: Floats = (returns.sum(axis=2, keepdims=True) - returns) / (returns.shape[2] - 1)
    return others


BASELINES: Mapping[str, Baseline] = {"none": none, "loo": leave_one_out}
"""By the name that studies and scripts use."""


def baseline(name: str) -> Baseline:
    """The baseline of that name.

    Raises:
        VhatError: if there is none.
    """
    if name not in BASELINES:
        raise VhatError(nearest(name, BASELINES, kind="baseline"))
    return BASELINES[name]
