"""Problems of this domain, by plain settings: what studies, scripts and readers call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from rl.environments import task
from rl.estimator import Estimator
from rl.gaussian import GaussianMLP
from rl.policies import CategoricalMLP, Policy
from rl.reinforce import Reinforce


def reinforce(
    task_id: str = "CartPole-v1",
    *,
    hidden: Sequence[int] = (32,),
    episodes: int = 8,
    baseline: str = "none",
    discount: float = 1.0,
    discounted_states: bool = True,
    normalized: bool = False,
    entropy: float = 0.0,
    cut: int | None = None,
    horizon: int | None = None,
    evaluation_episodes: int = 16,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Reinforce:
    """REINFORCE with a small perceptron on a Gymnasium task.

    The policy is categorical where actions are discrete and Gaussian where they are vectors.

    Args:
        task_id: Gymnasium's name of the task.
        hidden: sizes of the hidden layers.
        episodes: E, whole episodes a step of training.
        baseline: see `rl.baselines.BASELINES`.
        discount, discounted_states, normalized, entropy, cut: see `rl.estimator.Estimator`.
        horizon: the time limit in steps; None takes the task's own.

    Raises:
        VhatError: for an unknown or unsuitable task, an unknown baseline, too few episodes for it, or
            settings out of range.
    """
    estimator = Estimator(baseline, discount, discounted_states, normalized, entropy, cut)
    played = task(task_id, horizon)
    sizes = (played.observation_size, *hidden, played.actions)
    policy: Policy = CategoricalMLP(sizes) if played.discrete else GaussianMLP(sizes)
    return Reinforce(played, policy, estimator, episodes, evaluation_episodes, dtype, device)


def cartpole(**settings: Any) -> Reinforce:
    """REINFORCE on CartPole-v1, at most 500 steps an episode; the settings are those of `reinforce`."""
    return reinforce("CartPole-v1", **settings)
