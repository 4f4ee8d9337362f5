"""Where the time of a training run of REINFORCE on CartPole goes, by phase."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from unittest.mock import patch

import core.lab.train as trainer
from core.lab.experiment import Array
from rl import baselines, estimator
from rl.baselines import Baseline
from rl.cartpole import CartPoleEpisodes
from rl.policies import Act, CategoricalMLP

PHASES = ("environment", "policy", "returns", "baseline", "gradient", "rule step")
"""Policy: the forward pass, the chances and the choice while episodes run. What is left is the rest: starts,
recording, the trainer, evaluations.
"""


@dataclass
class Clock:
    """Seconds, by what they were spent on."""

    spent: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PHASES, 0.0))

    def timed(self, phase: str, go: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time added up under `phase`."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            result = go(*args, **kwargs)
            self.spent[phase] += time.perf_counter() - start
            return result

        return timed

    def of(self, seconds: float) -> str:
        """Each phase's share of a run that took so long, and the rest."""
        whole = {**self.spent, "rest": seconds - sum(self.spent.values())}
        return ", ".join(f"{phase} {part / seconds:.0%}" for phase, part in whole.items())


@contextmanager
def watched(clock: Clock) -> Iterator[None]:
    """Whatever is trained within adds its phases to the clock."""
    acting = CategoricalMLP.acting

    def timed_acting(policy: CategoricalMLP, params: Array, episodes: int) -> Act:
        return clock.timed("policy", acting(policy, params, episodes))

    def timed_baseline(name: str) -> Baseline:
        one = baselines.baseline(name)
        return replace(one, subtract=clock.timed("baseline", one.subtract))

    places: tuple[tuple[object, str, Callable[..., Any]], ...] = (
        (CartPoleEpisodes, "step", clock.timed("environment", CartPoleEpisodes.step)),
        (CategoricalMLP, "noise", clock.timed("policy", CategoricalMLP.noise)),
        (CategoricalMLP, "acting", timed_acting),
        (estimator, "batch_returns", clock.timed("returns", estimator.batch_returns)),
        (estimator, "baseline", timed_baseline),
        (estimator, "_block_gradient", clock.timed("gradient", estimator._block_gradient)),
        (trainer, "_play", clock.timed("rule step", trainer._play)),
    )
    with ExitStack() as stack:
        for owner, name, timed in places:
            stack.enter_context(patch.object(owner, name, timed))
        yield
