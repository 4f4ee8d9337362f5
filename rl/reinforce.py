"""REINFORCE (Williams 1992) as a problem: the field is minus the estimated policy gradient.

The batch is drawn from a Gymnasium task by `rl.rollout`, the estimate is that of `rl.estimator`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from core.lab.errors import VhatError
from core.lab.problem import Field
from core.lab.random import Keys
from rl.episodes import Task
from rl.estimator import Estimator, estimate
from rl.policies import CategoricalMLP, Policy
from rl.rollout import Batch, rollout
from rl.running import RunningMean

_AT_ONCE = 1024
"""Replicas whose episodes are in memory at once: about 100 kB each at 8 episodes of 500 steps."""


@dataclass(frozen=True)
class Reinforce:
    """REINFORCE on a Gymnasium task: a `core.lab.problem.Problem`.

    With the baseline `running` the field depends on earlier updates: it is then the problem of one run at a
    time, whose steps are taken in order (see `rl.running`).

    Attributes:
        task: see `rl.environments`.
        policy: its kind and sizes must fit the task.
        estimator: baseline, discount, and what else makes a gradient of episodes.
        episodes: E, whole episodes a step of training.
        evaluation_episodes: episodes of a call of `measure`.
        dtype, device: of the parameters. Environments and gradients are computed on the CPU, in numpy.
        watch: is shown each batch of training, if given.

    Raises:
        VhatError: for too few episodes, or a policy that does not fit the task.
    """

    task: Task
    policy: Policy
    estimator: Estimator = field(default_factory=Estimator)
    episodes: int = 8
    evaluation_episodes: int = 16
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    watch: Callable[[Batch], None] | None = field(default=None, repr=False, compare=False)
    _running: RunningMean = field(default_factory=RunningMean, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        subtracted = self.estimator.subtract
        if self.episodes < subtracted.least_episodes:
            least = "1 episode" if subtracted.least_episodes == 1 else f"{subtracted.least_episodes} episodes"
            raise VhatError(
                f"baseline {subtracted.name!r} needs at least {least} a step, got {self.episodes}"
            )
        if self.evaluation_episodes < 1:
            raise VhatError(f"an evaluation needs at least 1 episode, got {self.evaluation_episodes}")
        fits = (self.policy.observation_size, self.policy.outputs) == (
            self.task.observation_size,
            self.task.actions,
        )
        if not fits or isinstance(self.policy, CategoricalMLP) != self.task.discrete:
            raise VhatError(f"a policy of sizes {self.policy.sizes} does not fit the task {self.task}")

    @property
    def dim(self) -> int:
        """D, the number of parameters of one policy."""
        return self.policy.dim

    @property
    def biased(self) -> tuple[str, ...]:
        """Why the mean of the field is not minus the gradient of J; empty if it is."""
        return self.estimator.biased

    def init(self, keys: Keys) -> Tensor:
        """Starting parameters `[R, D]`, the same for all rows of a seed."""
        return self.policy.init(keys.fold("policy"), self.dtype).to(self.device)

    def batch(self, params: Tensor, keys: Keys, step: int) -> Batch:
        """The E episodes of each replica `[R, D]` from which `field` is computed."""
        cut = self.estimator.cut
        task = self.task if cut is None else self.task.limited(min(cut, self.task.horizon))
        return rollout(self.policy, params, task, keys.fold("episodes").at(step), self.episodes)

    def gradient(
        self,
        params: Tensor,
        batch: Batch,
        *,
        each_episode: bool = False,
        remembered: np.ndarray | None = None,
    ) -> Tensor:
        """`[R, D]`, or `[R, E, D]`: see `rl.estimator.estimate`; on the device of the parameters."""
        values = estimate(
            self.policy,
            params.detach().cpu().numpy(),
            batch,
            self.estimator,
            remembered=remembered,
            each_episode=each_episode,
        )
        return torch.from_numpy(values).to(params.device)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """Minus the estimated policy gradient, and what the episodes were like (see `measures`)."""
        remembers = self.estimator.baseline == "running"
        remembered = self._running.before(keys, step) if remembers else None
        parts, batches = [], []
        for rows, own in _parts(len(params), keys):
            batch = self.batch(params[rows], own, step)
            if self.watch is not None:
                self.watch(batch)
            part = None if remembered is None else remembered[rows]
            values = self.gradient(params[rows], batch, remembered=part)
            parts.append(Field(values, measures(batch, params.device)))
            if remembers:
                batches.append(batch)
        if remembers:
            self._running.after(keys, step, batches, self.estimator.discount)
        return Field(torch.cat([p.values for p in parts]), _joined([p.measures for p in parts]))

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """The stochastic policy on `evaluation_episodes` episodes of their own (see `measures`)."""
        own_keys = keys.fold("evaluation")
        return _joined(
            [
                measures(
                    rollout(self.policy, params[rows], self.task, own, self.evaluation_episodes),
                    params.device,
                )
                for rows, own in _parts(len(params), own_keys)
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


def _parts(rows: int, keys: Keys) -> Iterator[tuple[slice, Keys]]:
    """At most `_AT_ONCE` replicas at a time."""
    for start in range(0, rows, _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        yield part, keys if rows <= _AT_ONCE else keys.rows(part)


def _joined(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
