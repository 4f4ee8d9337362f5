"""Tasks of Gymnasium by their names: scalar environments that are used again, observations and actions of any
kind, time limits, and one line for what does not fit."""

import sys
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch

from core.lab.conformance import check_problem
from core.lab.errors import VhatError
from core.lab.random import Keys
from core.lab.train import Block, Recording, train
from core.lab.variant import Variant
from rl.cartpole import CartPole
from rl.environments import task
from rl.gymnasium_task import ScalarTask, scalar_task
from rl.problems import reinforce


def scalar(name, horizon):
    played = scalar_task(name, horizon)
    assert isinstance(played, ScalarTask)
    return played


def test_any_discrete_task_runs_and_skips_what_has_ended():
    played = scalar("Acrobot-v1", 6)
    assert (played.observation_size, played.actions, played.horizon) == (6, 3, 6)
    assert played.discrete
    running = played.start(Keys.of([0, 1]), 2)
    alone = played.start(Keys.of([1]), 2)
    for t in range(6):
        act = np.full((2, 2), t % 3)
        rewards, terminated, truncated = running.step(act)
        alone.step(act[1:])
        np.testing.assert_array_equal(alone.observations[0], running.observations[1])
        assert (rewards == -1).all()
    assert truncated.all()
    assert not terminated.any()
    rewards, *_ = running.step(np.zeros((2, 2), dtype=np.int64))
    assert (rewards == 0).all()
    assert running.stepped == 24


def test_environments_are_used_again_without_a_trace():
    played, keys = scalar("Pendulum-v1", 5), Keys.of([0, 1])
    act = np.full((2, 2, 1), 0.7)

    def trajectory():
        running = played.start(keys, 2)
        seen = [running.observations]
        for _ in range(5):
            running.step(act)
            seen.append(running.observations)
        return np.array(seen)

    first = trajectory()
    assert len(played._idle) == 4
    np.testing.assert_array_equal(trajectory(), first)
    assert len(played._idle) == 4


def test_an_environment_is_given_back_once_however_often_an_ended_episode_is_stepped():
    played = scalar("Pendulum-v1", 2)
    running = played.start(Keys.of([0, 1]), 2)
    for _ in range(5):
        running.step(np.zeros((2, 2, 1)))
    running.keep(np.array([1]))
    assert len(played._idle) == len(set(map(id, played._idle))) == 4
    with_two_ends = played.start(Keys.of([0, 1]), 2)
    with_two_ends.keep(np.array([0]))
    for _ in range(3):
        with_two_ends.step(np.zeros((1, 2, 1)))
    assert len(played._idle) == len(set(map(id, played._idle))) == 4


def test_vectors_are_scaled_to_the_tasks_box_and_clipped():
    played = scalar("Pendulum-v1", 5)
    assert not played.discrete
    native = played.native(np.array([[[-3.0], [0.25], [np.nan]]]))
    np.testing.assert_array_equal(native, np.float32([[[-2.0], [0.5], [0.0]]]))
    assert native.dtype == np.float32


def test_the_scalar_and_the_batched_task_are_one():
    """The same reset distribution and the same rewards under the same constant action."""
    means = []
    for played in (scalar("Pendulum-v1", 30), task("Pendulum-v1", horizon=30)):
        running = played.start(Keys.of(range(40)), 10)
        total = sum(running.step(np.full((40, 10, 1), 0.3))[0] for _ in range(30))
        means.append((total.mean(), total.std() / 20))
    (a, error), (b, other) = means
    assert abs(a - b) < 4 * np.hypot(error, other)


def test_observations_that_are_choices_become_one_hot():
    played = task("FrozenLake-v1")
    assert (played.observation_size, played.actions) == (16, 4)
    running = played.start(Keys.of([0, 1]), 2)
    assert (running.observations.sum(axis=-1) == 1).all()


WITH_AN_EXTRA = pytest.mark.parametrize(
    ("name", "module", "extra"),
    [("LunarLander-v3", "Box2D", "box2d"), ("InvertedPendulum-v5", "mujoco", "mujoco")],
)


@WITH_AN_EXTRA
def test_a_task_with_an_extra_trains_each_replica_as_it_does_alone(name, module, extra):
    problem = reinforce(name, episodes=2, baseline="loo", hidden=(8,), horizon=40, evaluation_episodes=2)
    keys = Keys.of(range(3))
    start = problem.init(keys).numpy()

    def trained(keys):
        block = Block(Variant("Adam", "adam"), slice(0, len(keys)), {"lr": 0.02})
        return train(problem, [block], keys, steps=4, recording=Recording(2, params=True))

    whole, part = trained(keys), trained(keys.rows(torch.tensor([2, 0])))
    assert not whole.diverged.any()
    assert (np.abs(whole.params - start).max(axis=1) > 0).all()
    assert np.isfinite(whole.curves["return"]).all()
    np.testing.assert_array_equal(part.params, whole.params[[2, 0]])
    np.testing.assert_array_equal(part.curves["return"], whole.curves["return"][[2, 0]])


@WITH_AN_EXTRA
def test_a_missing_extra_is_named_in_one_line(name, module, extra, monkeypatch):
    for gone in [m for m in sys.modules if m.partition(".")[0] == module or f"envs.{extra}" in m]:
        monkeypatch.delitem(sys.modules, gone)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(VhatError, match=rf"extra '{extra}'") as caught:
        task(name)
    assert "\n" not in str(caught.value)
    assert f"pip install -e '.[{extra}]'" in str(caught.value)


@pytest.mark.parametrize(
    ("task_id", "words"),
    [
        ("CartPole-v9", "did you mean"),
        ("Blackjack-v1", "time limit"),
        ("phys2d/CartPole-v0", "cannot be made"),
    ],
)
def test_a_task_that_does_not_fit_is_named_in_one_line(task_id, words):
    with pytest.raises(VhatError, match=words) as caught:
        task(task_id)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("action_space", "words"),
    [(gym.spaces.MultiBinary(3), "has actions"), (gym.spaces.Box(0, 9, (2,), np.int64), "has actions")],
)
def test_actions_that_are_neither_choices_nor_vectors_are_refused(action_space, words, monkeypatch):
    class Odd(gym.Env):
        observation_space = gym.spaces.Box(-1, 1, (2,))

    Odd.action_space = action_space
    gym.register("Odd-v0", entry_point=Odd)
    try:
        with pytest.raises(VhatError, match=words):
            task("Odd-v0", horizon=3)
    finally:
        del gym.registry["Odd-v0"]


def test_the_registered_time_limit_is_the_default():
    assert task("CartPole-v1") == CartPole(500)
    assert task("CartPole-v1", horizon=20) == CartPole(20)
    assert task("MountainCarContinuous-v0").horizon == 999
    assert task("Pendulum-v1").limited(3).horizon == 3
    assert scalar("Acrobot-v1", 9).limited(3).horizon == 3
    with pytest.raises(VhatError, match="at least 1"):
        task("CartPole-v1", horizon=0)


def test_policies_on_scalar_tasks_keep_the_contract():
    problem = reinforce("Pendulum-v1", episodes=2, horizon=8, evaluation_episodes=1, hidden=(4,))
    check_problem(replace(problem, task=scalar("Pendulum-v1", 8)))
