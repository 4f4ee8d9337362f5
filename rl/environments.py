"""Tasks by Gymnasium's name of them.

Five of its classic tasks are batched (`rl.cartpole`, `rl.classic`); any other task runs one Python
object an episode (`rl.gymnasium_task`).
"""

from __future__ import annotations

import gymnasium as gym

from core.lab.errors import VhatError, nearest
from rl.cartpole import CartPole, CartPoleEpisodes
from rl.classic import CLASSIC, ClassicTask
from rl.episodes import Episodes, Task
from rl.gymnasium_task import ScalarTask, scalar_task

__all__ = ["CartPole", "CartPoleEpisodes", "ClassicTask", "Episodes", "ScalarTask", "Task", "task"]


def task(task_id: str, horizon: int | None = None) -> Task:
    """The task of that Gymnasium id, with its registered time limit unless `horizon` is given.

    Raises:
        VhatError: if Gymnasium does not know the task, or if it cannot be made for want of an extra, has
            spaces that do not fit, or no time limit while none is given.
    """
    if task_id not in gym.registry:
        raise VhatError(nearest(task_id, gym.registry.keys(), kind="Gymnasium task"))
    limit = gym.spec(task_id).max_episode_steps if horizon is None else horizon
    if limit is None:
        raise VhatError(f"{task_id} has no time limit of its own: give one with horizon=")
    if limit < 1:
        raise VhatError(f"a time limit must be at least 1 step, got {limit}")
    if task_id == "CartPole-v1":
        return CartPole(limit)
    if task_id in CLASSIC:
        return ClassicTask(CLASSIC[task_id], limit)
    return scalar_task(task_id, limit)
