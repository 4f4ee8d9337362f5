"""A learned value function in closed form: ridge regression of returns-to-go on simple features.

The value at time t of a state s of episode e is m_e(t) + w_e' phi(s, t). m_e(t) is the mean return-to-go of
the replica's other episodes that are still running at t, with one more that got nothing, and w_e corrects it
for the state: a ridge regression of what m_e leaves of the other episodes' returns-to-go on features like
those of Duan, Chen, Houthooft, Schulman and Abbeel 2016 ("Benchmarking deep reinforcement learning for
continuous control"): the observation, its squares, a constant, and time. Their cubic in time is left out:
fitted on a few episodes it runs wild beyond the end of the longest, and multiplied the variance.

Episode e has no part in m_e and w_e, so the value is independent of its actions and the policy gradient stays
unbiased. All fits are one batched solve.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rl.arrays import Floats
from rl.rollout import Batch, Block

RIDGE = 1.0
"""The penalty on a weight, in units of its feature's mean square: the fit does not depend on units. Large,
since the steps of a few episodes are far from independent."""

_TIME_UNIT = 100.0
_CLIP = 10.0
"""Observations beyond this are cut, as in the paper's code: one wild one must not rule the fit."""


def features(block: Block) -> Floats:
    """float64 `[n, E, T, F]`, zero after an episode's end: o, o^2, 1, t / (t + 100)."""
    inputs = np.swapaxes(block.inputs, 1, 2)
    size = inputs.shape[-1] - 1
    out = np.empty((*inputs.shape[:-1], 2 * size + 2))
    np.clip(inputs[..., :-1], -_CLIP, _CLIP, out=out[..., :size])
    np.multiply(out[..., :size], out[..., :size], out=out[..., size:-2])
    time = np.arange(block.start, block.start + inputs.shape[2])
    out[..., -2] = 1.0
    out[..., -1] = time / (time + _TIME_UNIT)
    out *= np.swapaxes(block.mask, 1, 2)[..., None]
    return out


def _others(values: Floats) -> Floats:
    """Sums over the other episodes, along axis 1."""
    others: Floats = values.sum(axis=1, keepdims=True) - values
    return others


def leave_one_out_values(batch: Batch, returns: Sequence[Floats]) -> list[Floats]:
    """V_e(s_t, t) for each block `[n, T, E]`: for episode e, fitted on the replica's other episodes.

    Args:
        returns: returns-to-go of each block `[n, T, E]`, zero after an episode's end.
    """
    replicas, episodes = batch.returns.shape
    seen = [features(block) for block in batch.blocks]
    size = seen[0].shape[-1]
    gram = np.zeros((replicas, episodes, size, size))
    moment = np.zeros((replicas, episodes, size, 1))
    means = []
    for block, phi, togo in zip(batch.blocks, seen, returns, strict=True):
        target = np.ascontiguousarray(np.swapaxes(togo, 1, 2), dtype=np.float64)[..., None]
        running = np.swapaxes(block.mask, 1, 2)[..., None].astype(np.float64)
        mean = _others(target) / (_others(running) + 1.0)
        turned = np.swapaxes(phi, 2, 3)
        gram[block.rows] += _others(np.matmul(turned, phi))
        # What m_e leaves of the others' returns: sum over e' of phi_e' (G_e' - m_e).
        moment[block.rows] += _others(np.matmul(turned, target)) - np.matmul(_others(turned), mean)
        means.append(mean)
    weights = ridge(gram, moment, RIDGE)
    return [
        np.swapaxes((mean + np.matmul(phi, weights[block.rows]))[..., 0], 1, 2).astype(togo.dtype)
        for block, phi, mean, togo in zip(batch.blocks, seen, means, returns, strict=True)
    ]


def ridge(gram: Floats, moment: Floats, penalty: float) -> Floats:
    """argmin_w  w'Aw - 2 w'b + penalty * sum_j A_jj w_j^2, for A `[..., F, F]` and b `[..., F, 1]`.

    A feature that is zero everywhere gets the weight zero.
    """
    diagonal = np.sqrt(np.diagonal(gram, axis1=-2, axis2=-1))[..., None]
    scale = np.where(diagonal > 0.0, diagonal, 1.0)
    scaled = gram / (scale * np.swapaxes(scale, -1, -2))
    places = np.arange(gram.shape[-1])
    scaled[..., places, places] += penalty
    solution: Floats = np.linalg.solve(scaled, moment / scale) / scale
    return solution
