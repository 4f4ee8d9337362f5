"""Problems of this domain, by plain settings: what studies, scripts and readers call."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from rl.environments import task
from rl.policies import CategoricalMLP
from rl.reinforce import Reinforce


def reinforce(
    task_id: str = "CartPole-v1",
    *,
    hidden: Sequence[int] = (32,),
    episodes: int = 8,
    baseline: str = "none",
    discount: float = 1.0,
    horizon: int | None = None,
    evaluation_episodes: int = 16,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> Reinforce:
    """REINFORCE with a small perceptron on a Gymnasium task with discrete actions.

    Args:
        task_id: Gymnasium's name of the task.
        hidden: sizes of the hidden layers.
        episodes: E, whole episodes a step of training.
        baseline: `none` or `loo`, see `rl.baselines`.
        discount: gamma, see `rl.reinforce`.
        horizon: the time limit in steps; None takes the task's own.

    Raises:
        VhatError: for an unknown or unsuitable task, an unknown baseline, or too few episodes for it.
    """
    played = task(task_id, horizon)
    policy = CategoricalMLP((played.observation_size, *hidden, played.actions))
    return Reinforce(played, policy, episodes, baseline, discount, evaluation_episodes, dtype, device)


def cartpole(
    *,
    hidden: Sequence[int] = (32,),
    episodes: int = 8,
    baseline: str = "none",
    discount: float = 1.0,
    horizon: int | None = None,
    evaluation_episodes: int = 16,
    device: str = "cpu",
) -> Reinforce:
    """REINFORCE on CartPole-v1, at most 500 steps an episode; see `reinforce`."""
    return reinforce(
        "CartPole-v1",
        hidden=hidden,
        episodes=episodes,
        baseline=baseline,
        discount=discount,
        horizon=horizon,
        evaluation_episodes=evaluation_episodes,
        device=device,
    )
