"""The policy gradient's estimate from recorded episodes (REINFORCE, Williams 1992, with reward-to-go).

For E episodes, discount gamma and baseline b, the estimate of the gradient of J = E[sum_t gamma^t r_t] is

    (1/E) sum_e sum_t gamma^t (G_t - b_t) grad log pi(a_t | s_t),   G_t = sum_{k >= t} gamma^(k - t) r_k,

which is unbiased as it stands, gamma^t included (Thomas 2014), if the baseline is. What is common practice
and biased is offered too, and says so: `Estimator.biased`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.lab.errors import VhatError
from rl.arrays import Floats
from rl.baselines import Baseline, Evidence, baseline
from rl.policies import Policy
from rl.rollout import Batch, Block

_CACHE = 1 << 16
"""Floats of the widest layer that are worked on at once, so that they stay in the processor's cache."""


@dataclass(frozen=True)
class Estimator:
    """How a batch of episodes becomes a gradient.

    Attributes:
        baseline: a name in `rl.baselines.BASELINES`.
        discount: gamma. With 1 the objective is the return within the time limit itself.
        discounted_states: keep the factor gamma^t. Most implementations drop it, which weighs late states
            more than J does: biased if gamma < 1.
        normalized: divide the advantages of a replica's batch by their standard deviation, after their mean
            is taken away ("whitened"). Biased, and it hides from the update rule how large the gradient is.
        entropy: the weight of a bonus on the policy's entropy at the states visited (Williams and Peng 1991).
            Only the bonus's own gradient is followed, not how actions lead to states of high entropy.
        cut: end every episode of training after so many steps, as if nothing came after; None for the task's
            own limit.

    Raises:
        VhatError: for an unknown baseline, a discount outside [0, 1], a negative bonus, or a cut before the
            first step.
    """

    baseline: str = "none"
    discount: float = 1.0
    discounted_states: bool = True
    normalized: bool = False
    entropy: float = 0.0
    cut: int | None = None

    def __post_init__(self) -> None:
        baseline(self.baseline)
        if not 0.0 <= self.discount <= 1.0:
            raise VhatError(f"the discount must lie in [0, 1], got {self.discount:g}")
        if not 0.0 <= self.entropy < np.inf:
            raise VhatError(f"the weight of the entropy bonus must be 0 or more, got {self.entropy:g}")
        if self.cut is not None and self.cut < 1:
            raise VhatError(f"episodes must be cut after at least 1 step, got {self.cut}")

    @property
    def subtract(self) -> Baseline:
        """The baseline itself."""
        return baseline(self.baseline)

    @property
    def biased(self) -> tuple[str, ...]:
        """Why the mean of the estimate is not the gradient of J, a line each; empty if it is."""
        reasons = (
            self.subtract.biased,
            "" if self.discounted_states or self.discount == 1.0 else "the factor gamma^t is dropped",
            "advantages are divided by their standard deviation" if self.normalized else "",
            "a bonus on entropy is added" if self.entropy else "",
            "episodes are cut before their end" if self.cut is not None else "",
        )
        return tuple(reason for reason in reasons if reason)


def returns_to_go(rewards: Floats, after: Floats, discount: float) -> Floats:
    """G_t = r_t + discount * G_{t+1} along axis 1 of `[n, T, E]`; `after` `[n, E]` is G past the end."""
    returns = np.empty_like(rewards)
    for t in reversed(range(rewards.shape[1])):
        np.multiply(after, discount, out=returns[:, t])
        returns[:, t] += rewards[:, t]
        after = returns[:, t]
    return returns


def batch_returns(batch: Batch, discount: float) -> list[Floats]:
    """Returns-to-go of each block `[n, T, E]`, zero after an episode's end."""
    after = np.zeros(batch.returns.shape, batch.blocks[0].rewards.dtype)
    returns = []
    for block in reversed(batch.blocks):
        returns.append(returns_to_go(block.rewards, after[block.rows], discount))
        after[block.rows] = returns[-1][:, 0]
    return returns[::-1]


def _normalized(batch: Batch, weights: Sequence[Floats]) -> list[Floats]:
    """Advantages with mean 0 and standard deviation 1 over each replica's steps."""
    replicas = len(batch.returns)
    count = batch.lengths.sum(axis=1).astype(np.float64)
    mean, square = np.zeros(replicas), np.zeros(replicas)
    for block, w in zip(batch.blocks, weights, strict=True):
        mean[block.rows] += (w * block.mask).sum(axis=(1, 2), dtype=np.float64)
    mean /= count
    for block, w in zip(batch.blocks, weights, strict=True):
        apart = (w - mean[block.rows, None, None]) * block.mask
        square[block.rows] += (apart * apart).sum(axis=(1, 2))
    deviation = np.sqrt(square / count) + 1e-8
    return [
        ((w - mean[block.rows, None, None]) / deviation[block.rows, None, None]).astype(w.dtype)
        for block, w in zip(batch.blocks, weights, strict=True)
    ]


def _block_gradient(
    policy: Policy, params: Floats, block: Block, weights: Floats, entropy: Floats | None, each: bool
) -> Floats:
    """-sum of weights * score (+ entropy's gradient) over the block's steps: `[n, D]`, or `[n, E, D]` for
    `each` episode.
    """
    count, steps, episodes = weights.shape

    def rows_of(values: Floats) -> Floats:
        if not each:
            return values.reshape(count, steps * episodes, *values.shape[3:])
        # One row an episode: replica r's episodes are rows r * E to r * E + E - 1.
        turned = np.ascontiguousarray(values.swapaxes(1, 2))
        return turned.reshape(count * episodes, steps, *values.shape[3:])

    if each:
        params = np.repeat(params, episodes, axis=0)
    inputs, actions, weights = rows_of(block.inputs), rows_of(block.actions), rows_of(weights)
    bonus = None if entropy is None else rows_of(entropy)
    out = np.empty((len(params), policy.dim), params.dtype)
    at_once = max(1, _CACHE // (inputs.shape[1] * max(policy.sizes)))
    for start in range(0, len(params), at_once):
        part = slice(start, start + at_once)
        out[part] = policy.score_gradient(
            params[part], inputs[part], actions[part], weights[part], None if bonus is None else bonus[part]
        )
    return out.reshape(count, episodes, -1) if each else out


@np.errstate(over="ignore", invalid="ignore")  # a diverging replica is the trainer's business
def estimate(
    policy: Policy,
    params: Floats,
    batch: Batch,
    estimator: Estimator,
    *,
    remembered: Floats | None = None,
    each_episode: bool = False,
) -> Floats:
    """Minus the policy gradient's estimate, `[R, D]`.

    With `each_episode`, `[R, E, D]`: each episode's own term, whose mean over E is the estimate.

    Args:
        params: `[R, D]`, those with which the batch was drawn.
        remembered: see `rl.baselines.Evidence`.
    """
    replicas, episodes = batch.returns.shape
    returns = batch_returns(batch, estimator.discount)
    powers = [_powers(estimator, block) for block in batch.blocks]

    def summed(weights: Sequence[Floats], each: bool, entropy: float = 0.0) -> Floats:
        """The blocks' gradients, the last block first."""
        shape = (replicas, episodes, policy.dim) if each else (replicas, policy.dim)
        total = np.zeros(shape, params.dtype)
        for block, w, power in reversed(list(zip(batch.blocks, weights, powers, strict=True))):
            part = params if len(block.rows) == replicas else params[block.rows]
            live = block.mask if power is None else block.mask * power
            bonus = (live * params.dtype.type(entropy)) if entropy else None
            total[block.rows] += _block_gradient(policy, part, block, w * live, bonus, each)
        return total

    evidence = Evidence(batch, returns, lambda weights: summed(weights, each=True), remembered)
    subtracted = estimator.subtract.subtract(evidence)
    weights: list[Floats] = [g - b for g, b in zip(returns, subtracted, strict=True)]
    if estimator.normalized:
        weights = _normalized(batch, weights)
    total = summed(weights, each_episode, estimator.entropy)
    return total if each_episode else total / episodes


def _powers(estimator: Estimator, block: Block) -> Floats | None:
    """gamma^t of a block's steps `[1, T, 1]`; None where that is 1 or dropped."""
    if estimator.discount == 1.0 or not estimator.discounted_states:
        return None
    times = np.arange(block.start, block.start + block.rewards.shape[1])
    powers: Floats = (estimator.discount**times).astype(block.rewards.dtype)[None, :, None]
    return powers
