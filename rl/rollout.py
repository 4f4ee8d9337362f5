"""Rollouts: exactly E whole episodes of every replica's policy, recorded in blocks of time.

Time is cut into blocks of `BLOCK` steps. A replica is in every block up to the end of its longest episode and
in none after it, and a block's arrays have one shape for each of its replicas. So whatever is computed from
them, block by block, does not depend on how long other replicas' episodes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab.random import Keys
from rl.arrays import Actions, Bools, Floats, Indices
from rl.episodes import Episodes, Task
from rl.policies import Act, Policy

BLOCK = 32
"""Steps a block. Part of what a draw of actions is keyed by."""


@dataclass(frozen=True)
class Block:
    """`BLOCK` steps of the replicas that are still running at its start.

    Attributes:
        rows: `[n]`, which replicas of the batch, ascending.
        start: the time index of the first step.
        inputs: `[n, T, E, O + 1]`, observations with a last column of ones.
        actions: `[n, T, E]` choices, or `[n, T, E, A]` vectors before the environment clips them.
        rewards: `[n, T, E]`, zero once the episode has ended.
        mask: `[n, T, E]`, True for the steps that belong to the episode.
    """

    rows: Indices
    start: int
    inputs: Floats
    actions: Actions
    rewards: Floats
    mask: Bools


@dataclass(frozen=True)
class Batch:
    """E whole episodes of each of R replicas.

    Attributes:
        blocks: in time order; the replicas of a block are among those of the block before.
        returns: `[R, E]`, undiscounted.
        lengths: `[R, E]`, steps.
        terminated: `[R, E]`, True where the task ended the episode, False where the time limit did.
        stepped: environment steps that were taken, those after an episode's end included.
    """

    blocks: Sequence[Block]
    returns: Floats
    lengths: Indices
    terminated: Bools
    stepped: int

    @property
    def useful(self) -> float:
        """The share of the steps taken that belong to an episode."""
        return float(self.lengths.sum()) / self.stepped

    def first_episode(self) -> tuple[Any, Any, Any]:
        """The first replica's first episode: what it saw `[T, O]`, did `[T, ...]` and earned `[T]`."""
        length = int(self.lengths[0, 0])
        blocks = [block for block in self.blocks if block.rows[0] == 0]
        seen = np.concatenate([block.inputs[0, :, 0, :-1] for block in blocks])[:length]
        done = np.concatenate([block.actions[0, :, 0] for block in blocks])[:length]
        earned = np.concatenate([block.rewards[0, :, 0] for block in blocks])[:length]
        return seen, done, earned


def _array(values: Tensor) -> Any:
    return values.detach().cpu().numpy()


def _live(keys: Keys, rows: Indices) -> Keys:
    """The keys of some rows, without the seeds that none of them uses: those would be drawn in vain."""
    if len(rows) == len(keys):
        return keys
    kept = keys.rows(torch.from_numpy(rows).to(keys.device))
    assert kept.index is not None
    used, index = torch.unique(kept.index, return_inverse=True)
    return Keys(kept.words[used], index)


@np.errstate(over="ignore", invalid="ignore")  # a diverging replica is the trainer's business
def rollout(policy: Policy, params: Tensor, task: Task, keys: Keys, episodes: int) -> Batch:
    """Run `episodes` whole episodes of each replica's policy.

    The starts and the actions of replica r depend on its parameters and on its key alone. Environments run on
    the CPU, in numpy, whatever device the parameters are on.

    Args:
        params: `[R, D]`; the policy is evaluated in their dtype.
        keys: of the R rows, at one step of training.
    """
    weights = _array(params)
    replicas = len(weights)
    draws = keys.fold("actions")
    running = task.start(keys.fold("starts"), episodes)
    rows = np.arange(replicas)
    alive = np.ones((replicas, episodes), dtype=np.bool_)
    terminated = np.zeros((replicas, episodes), dtype=np.bool_)
    blocks: list[Block] = []
    while rows.size:
        noise = _array(policy.noise(_live(draws, rows).at(len(blocks)), BLOCK, episodes, params.dtype))
        block = _empty(policy, rows, len(blocks) * BLOCK, episodes, weights.dtype)
        act = policy.acting(weights if len(rows) == replicas else weights[rows], episodes)
        terminated[rows] |= _run(block, act, running, noise, alive)
        blocks.append(block)
        left = np.flatnonzero(alive.any(axis=1))
        if len(left) < len(rows):
            rows, alive = rows[left], alive[left]
            if len(left):
                running.keep(left)
    return _batch(blocks, terminated, running.stepped)


def _empty(policy: Policy, rows: Indices, start: int, episodes: int, dtype: Any) -> Block:
    """A block in which nothing has happened yet.

    In memory time comes first, so that what belongs to one step lies together.
    """
    shape = (BLOCK, len(rows), episodes)
    inputs = np.zeros((*shape, policy.observation_size + 1), dtype)
    inputs[..., -1] = 1.0
    return Block(
        rows,
        start,
        inputs=inputs.swapaxes(0, 1),
        actions=policy.empty_actions(shape, dtype).swapaxes(0, 1),
        rewards=np.zeros(shape, dtype).swapaxes(0, 1),
        mask=np.zeros(shape, np.bool_).swapaxes(0, 1),
    )


def _run(block: Block, act: Act, running: Episodes, noise: Floats, alive: Bools) -> Bools:
    """Fill a block; `alive` `[n, E]` is brought up to date. Tells which episodes the task ended `[n, E]`."""
    began, limited = alive.copy(), np.zeros(alive.shape, dtype=np.bool_)
    times = (block.inputs, block.inputs[..., :-1], noise, block.actions, block.rewards, block.mask)
    *steps, masks = (values.swapaxes(0, 1) for values in times)
    masks[0] = alive
    # Who goes on after a step is the mask of the next one.
    for inputs, seen, chance, chosen, rewards, live, after in zip(
        *steps, masks, (*masks[1:], alive), strict=True
    ):
        seen[...] = running.observations
        act(inputs, chance, chosen)
        rewards[...], over, cut = running.step(chosen)
        np.greater(live, over, out=after)
        if np.count_nonzero(cut):
            limited |= after & cut
            np.greater(after, cut, out=after)
        if not np.count_nonzero(after):
            break
    alive[...] = after
    np.multiply(block.rewards, block.mask, out=block.rewards)
    return began & ~(alive | limited)


def _batch(blocks: Sequence[Block], terminated: Bools, stepped: int) -> Batch:
    returns = np.zeros(terminated.shape, np.float64)
    lengths = np.zeros(terminated.shape, np.int64)
    for block in blocks:
        returns[block.rows] += block.rewards.sum(axis=1, dtype=np.float64)
        lengths[block.rows] += block.mask.sum(axis=1)
    return Batch(blocks, returns, lengths, terminated, stepped)
