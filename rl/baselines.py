"""Baselines: what is subtracted from the return-to-go before it weighs a step's score.

A baseline that does not depend on what happens in the episode from the step's action on leaves the estimate
unbiased, since the score has mean zero given the past; a good one lowers its variance (Williams 1992;
Greensmith, Bartlett and Baxter 2004). Each says by `biased` whether it keeps to that; the tests compute
every mean by enumeration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.lab.errors import VhatError, nearest
from rl.arrays import Floats
from rl.rollout import Batch
from rl.values import leave_one_out_values


@dataclass(frozen=True)
class Evidence:
    """What a baseline may be computed from.

    Attributes:
        batch: E whole episodes of each of R replicas.
        returns: returns-to-go `[n, T, E]` of each of the batch's blocks, zero after an episode's end.
        scores: from weights `[n, T, E]` a block to each episode's sum of weight * score, `[R, E, D]`.
        remembered: `[R, T]`, a mean return-to-go of earlier updates by time, zero beyond T; see `rl.running`.
    """

    batch: Batch
    returns: Sequence[Floats]
    scores: Callable[[Sequence[Floats]], Floats]
    remembered: Floats | None = None


@dataclass(frozen=True)
class Baseline:
    """One way to choose what is subtracted.

    Attributes:
        name: as studies and scripts call it.
        words: as people do.
        subtract: from the evidence to one array a block, broadcastable to `[n, T, E]`.
        least_episodes: that it needs in a batch.
        biased: why the estimate is biased; empty where it is not.
    """

    name: str
    words: str
    subtract: Callable[[Evidence], Sequence[Floats]]
    least_episodes: int = 1
    biased: str = ""


def none(evidence: Evidence) -> list[Floats]:
    """Nothing is subtracted: a zero `[1, 1, 1]` a block."""
    return [np.zeros((1, 1, 1), returns.dtype) for returns in evidence.returns]


def leave_one_out(evidence: Evidence) -> list[Floats]:
    """The mean return-to-go of the replica's other E - 1 episodes at the same time (Kool et al. 2019),
    `[n, T, E]` a block.

    Unbiased: the other episodes are independent of this one. An episode that has ended has 0 to go and stays
    in the mean, since leaving it out would make the divisor, though not the bias, depend on luck.
    """
    return [(g.sum(axis=2, keepdims=True) - g) / (g.shape[2] - 1) for g in evidence.returns]


def own_mean(evidence: Evidence) -> list[Floats]:
    """The mean return-to-go of all E episodes at the same time, `[n, T, 1]` a block.

    Biased: an episode's own return is in it, which shrinks the mean estimate by the factor 1 - 1/E.
    """
    return [g.mean(axis=2, keepdims=True) for g in evidence.returns]


def running_mean(evidence: Evidence) -> list[Floats]:
    """The mean return-to-go of earlier updates at the same time, the old forgotten exponentially;
    `[n, T, 1]` a block.

    Unbiased: it was known before the batch was drawn. Nothing is remembered at the first update.
    """
    remembered = evidence.remembered
    if remembered is None:
        return none(evidence)
    parts = []
    for block, returns in zip(evidence.batch.blocks, evidence.returns, strict=True):
        known = remembered[block.rows, block.start : block.start + returns.shape[1]]
        part = np.zeros((*returns.shape[:2], 1), returns.dtype)
        part[:, : known.shape[1], 0] = known
        parts.append(part)
    return parts


def value(evidence: Evidence) -> list[Floats]:
    """A value function of state and time, fitted by ridge regression on the replica's other episodes;
    `[n, T, E]` a block.

    Unbiased: the other episodes are independent of this one. See `rl.values`.
    """
    return leave_one_out_values(evidence.batch, evidence.returns)


def optimal_constant(evidence: Evidence) -> list[Floats]:
    """The constant that minimises the estimate's total variance, estimated on the replica's other
    episodes; `[n, 1, E]` a block.

    With g = sum_t G_t z_t and s = sum_t z_t over the scores z of an episode, the variance of g - b s summed
    over coordinates is least at b = E[<g, s>] / E[|s|^2] (Greensmith, Bartlett and Baxter 2004, section 4).
    Unbiased, since the expectations are taken over the other episodes. Of very few episodes the ratio has
    heavy tails: their scores may happen to cancel.
    """
    gradients = evidence.scores(evidence.returns)
    scores = evidence.scores([np.ones_like(returns) for returns in evidence.returns])
    products = (gradients * scores).sum(axis=2, dtype=np.float64)
    squares = (scores * scores).sum(axis=2, dtype=np.float64)
    # Sums over the others, and not the whole less one's own: the difference would round by one's own size.
    others = ~np.eye(products.shape[1], dtype=np.bool_)
    above = np.where(others, products[:, None], 0.0).sum(axis=2)
    below = np.where(others, squares[:, None], 0.0).sum(axis=2)
    constant = above / np.maximum(below, np.finfo(np.float64).tiny)
    return [
        constant[block.rows, None, :].astype(returns.dtype)
        for block, returns in zip(evidence.batch.blocks, evidence.returns, strict=True)
    ]


_ALL = (
    Baseline("none", "no baseline", none),
    Baseline("running", "running mean of earlier updates", running_mean),
    Baseline("loo", "leave-one-out mean", leave_one_out, 2),
    Baseline("value", "value function, ridge on other episodes", value, 2),
    Baseline("optimal", "optimal constant, on other episodes", optimal_constant, 2),
    Baseline("mean", "mean of all episodes", own_mean, 2, "an episode's own return is in its baseline"),
)

BASELINES: Mapping[str, Baseline] = {one.name: one for one in _ALL}
"""By the name that studies and scripts use."""


def baseline(name: str) -> Baseline:
    """The baseline of that name.

    Raises:
        VhatError: if there is none.
    """
    if name not in BASELINES:
        raise VhatError(nearest(name, BASELINES, kind="baseline"))
    return BASELINES[name]
