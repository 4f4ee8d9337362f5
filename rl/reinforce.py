"""REINFORCE (Williams 1992) with reward-to-go as a problem: the field is minus the estimated policy gradient.

For E episodes, discount gamma and baseline b, the estimate of the gradient of J = E[sum_t gamma^t r_t] is

    (1/E) sum_e sum_t gamma^t (G_t - b_t) grad log pi(a_t | s_t),   G_t = sum_{k >= t} gamma^(k - t) r_k,

which is unbiased as it stands, gamma^t included (Thomas 2014). `estimate` is this sum for any recorded batch;
`Reinforce` draws the batch from a Gymnasium task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.problem import Field
from core.lab.random import Keys
from rl.arrays import Floats
from rl.baselines import Baseline, baseline
from rl.environments import Task
from rl.policies import CategoricalMLP, score_gradient
from rl.rollout import Batch, Block, rollout

_CACHE = 1 << 16
"""Floats of the widest layer that are worked on at once, so that they stay in the processor's cache."""

_AT_ONCE = 1024
"""Replicas whose episodes are in memory at once: about 100 kB each at 8 episodes of 500 steps."""


def returns_to_go(rewards: Floats, after: Floats, discount: float) -> Floats:
    """G_t = r_t + discount * G_{t+1} along axis 1 of `[n, T, E]`; `after` `[n, E]` is G past the end."""
    returns = np.empty_like(rewards)
    for t in reversed(range(rewards.shape[1])):
        np.multiply(after, discount, out=returns[:, t])
        returns[:, t] += rewards[:, t]
        after = returns[:, t]
    return returns


def _block_gradient(
    policy: CategoricalMLP, params: Floats, block: Block, weights: Floats, each: bool
) -> Floats:
    """-sum of weights * score over the block's steps: `[n, D]`, or `[n, E, D]` for `each` episode."""
    count, steps, episodes = weights.shape
    if each:
        # One row an episode: replica r's episodes are rows r * E to r * E + E - 1, all with the replica's
        # parameters.
        rows = count * episodes
        inputs = np.ascontiguousarray(block.inputs.swapaxes(1, 2)).reshape(rows, steps, -1)
        actions = np.ascontiguousarray(block.actions.swapaxes(1, 2)).reshape(rows, steps)
        weights = np.ascontiguousarray(weights.swapaxes(1, 2)).reshape(rows, steps)
        params = np.repeat(params, episodes, axis=0)
    else:
        rows = count
        inputs = block.inputs.reshape(rows, steps * episodes, -1)
        actions = block.actions.reshape(rows, -1)
        weights = weights.reshape(rows, -1)
    out = np.empty((rows, policy.dim), params.dtype)
    at_once = max(1, _CACHE // (inputs.shape[1] * max(policy.sizes)))
    for start in range(0, rows, at_once):
        part = slice(start, start + at_once)
        buffers = policy.buffers(len(inputs[part]), inputs.shape[1], params.dtype)
        layers = score_gradient(
            policy.layers(params[part]), inputs[part], actions[part], weights[part], buffers
        )
        np.concatenate([layer.reshape(len(layer), -1) for layer in layers], axis=1, out=out[part])
    return out.reshape(count, episodes, -1) if each else out


@np.errstate(over="ignore", invalid="ignore")  # a diverging replica is the trainer's business
def estimate(
    policy: CategoricalMLP,
    params: Floats,
    batch: Batch,
    subtract: Baseline,
    *,
    discount: float = 1.0,
    each_episode: bool = False,
) -> Floats:
    """Minus the policy gradient's estimate, `[R, D]`.

    With `each_episode`, `[R, E, D]`: each episode's own term, whose mean over E is the estimate.

    Args:
        params: `[R, D]`, those with which the batch was drawn.
        subtract: see `rl.baselines`.
    """
    replicas, episodes = batch.returns.shape
    total = np.zeros(
        (replicas, episodes, policy.dim) if each_episode else (replicas, policy.dim), params.dtype
    )
    after = np.zeros((replicas, episodes), params.dtype)
    for block in reversed(batch.blocks):
        returns = returns_to_go(block.rewards, after[block.rows], discount)
        after[block.rows] = returns[:, 0]
        weights = (returns - subtract(returns)) * block.mask
        if discount != 1.0:
            times = np.arange(block.start, block.start + returns.shape[1])
            weights *= (discount**times).astype(params.dtype)[None, :, None]
        part = params if len(block.rows) == replicas else params[block.rows]
        total[block.rows] += _block_gradient(policy, part, block, weights, each_episode)
    return total if each_episode else total / episodes


@dataclass(frozen=True)
class Reinforce:
    """REINFORCE on a Gymnasium task: a `core.lab.problem.Problem`.

    Attributes:
        task: see `rl.environments`.
        policy: its sizes must fit the task.
        episodes: E, whole episodes a step of training.
        baseline: a name in `rl.baselines.BASELINES`.
        discount: gamma. With 1 the objective is the return within the time limit itself.
        evaluation_episodes: episodes of a call of `measure`.
        dtype, device: of the parameters. Environments and gradients are computed on the CPU, in numpy.
    """

    task: Task
    policy: CategoricalMLP
    episodes: int = 8
    baseline: str = "none"
    discount: float = 1.0
    evaluation_episodes: int = 16
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    def __post_init__(self) -> None:
        baseline(self.baseline)
        least = 2 if self.baseline == "loo" else 1
        if self.episodes < least or self.evaluation_episodes < 1:
            raise VhatError(
                f"baseline {self.baseline!r} needs at least {least} episodes a step, got {self.episodes}"
            )
        if not 0.0 <= self.discount <= 1.0:
            raise VhatError(f"the discount must lie in [0, 1], got {self.discount}")
        if (self.policy.sizes[0], self.policy.sizes[-1]) != (self.task.observation_size, self.task.actions):
            raise VhatError(f"a policy of sizes {self.policy.sizes} does not fit the task {self.task}")

    @property
    def dim(self) -> int:
        """D, the number of parameters of one policy."""
        return self.policy.dim

    def init(self, keys: Keys) -> Tensor:
        """Starting parameters `[R, D]`, the same for all rows of a seed."""
        return self.policy.init(keys.fold("policy"), self.dtype).to(self.device)

    def batch(self, params: Tensor, keys: Keys, step: int) -> Batch:
        """The E episodes of each replica from which `field` is computed."""
        return rollout(self.policy, params, self.task, keys.fold("episodes").at(step), self.episodes)

    def gradient(self, params: Tensor, batch: Batch, *, each_episode: bool = False) -> Tensor:
        """See `estimate`; on the device of the parameters."""
        values = estimate(
            self.policy,
            params.detach().cpu().numpy(),
            batch,
            baseline(self.baseline),
            discount=self.discount,
            each_episode=each_episode,
        )
        return torch.from_numpy(values).to(params.device)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """Minus the estimated policy gradient, and what the episodes were like (see `measures`)."""
        parts = []
        for some, own in _parts(params, keys):
            batch = self.batch(some, own, step)
            parts.append(Field(self.gradient(some, batch), measures(batch, params.device)))
        return Field(torch.cat([p.values for p in parts]), _joined([p.measures for p in parts]))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """The stochastic policy on `evaluation_episodes` episodes of their own (see `measures`)."""
        own_keys = keys.fold("evaluation")
        return _joined(
            [
                measures(rollout(self.policy, some, self.task, own, self.evaluation_episodes), params.device)
                for some, own in _parts(params, own_keys)
            ]
        )


def measures(batch: Batch, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """What a replica's episodes were like, `[R]` each.

    `return`: mean undiscounted return. `failures`: share of episodes that the task ended and not the time
    limit. `steps`: environment steps in episodes, all E together.
    """
    values = {
        "return": batch.returns.mean(axis=1),
        "failures": batch.terminated.mean(axis=1),
        "steps": batch.lengths.sum(axis=1).astype(np.float64),
    }
    return {name: torch.from_numpy(value).to(device) for name, value in values.items()}


def _parts(params: Tensor, keys: Keys) -> Iterator[tuple[Tensor, Keys]]:
    """At most `_AT_ONCE` replicas at a time."""
    for start in range(0, len(params), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        yield params[rows], keys if len(params) <= _AT_ONCE else keys.rows(rows)


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
