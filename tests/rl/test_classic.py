"""The other tasks of classic control in batches against Gymnasium's scalar environments, step by step; their
starts; what is kept when replicas are dropped."""

import gymnasium as gym
import numpy as np
import pytest

from core.lab.conformance import check_problem
from core.lab.random import Keys
from rl.classic import CLASSIC, ClassicTask
from rl.environments import task
from rl.problems import reinforce


def state_of(env, dynamics, state):
    """Write one start into Gymnasium's scalar environment, as its own reset would have left it."""
    env.reset(seed=0)
    env.unwrapped.state = np.array(state, dtype=np.float32 if dynamics.id == "Acrobot-v1" else np.float64)


def gymnasium_action(env, dynamics, action):
    if dynamics.discrete:
        return int(action)
    bound = np.float32(env.action_space.high[0])
    return np.clip(bound * action.astype(np.float32), -bound, bound)


@pytest.mark.parametrize("name", CLASSIC)
def test_a_batched_classic_task_gives_the_scalar_tasks_trajectories(name):
    """Random actions, each kept for some steps so that cars and pendulums go far, some out of bounds."""
    dynamics, rng = CLASSIC[name], np.random.default_rng(0)
    played = ClassicTask(dynamics, 160)
    running = played.start(Keys.of([0, 1, 2]), 2)
    starts = [part.copy() for part in running._state]
    length = 170
    if dynamics.discrete:
        actions = np.repeat(rng.integers(0, dynamics.actions, (length // 10, 3, 2)), 10, axis=0)
    else:
        actions = np.repeat(rng.normal(0, 1.5, (length // 10, 3, 2, 1)), 10, axis=0).astype(np.float32)
    seen, rewards, terminated, truncated = [running.observations.copy()], [], [], []
    for act in actions:
        reward, over, cut = running.step(act)
        seen.append(running.observations.copy())
        rewards.append(reward)
        terminated.append(over)
        truncated.append(cut)
    env = gym.make(name, max_episode_steps=160)
    lengths = []
    for row, e in np.ndindex(3, 2):
        state_of(env, dynamics, [part[row, e] for part in starts])
        for t in range(length):
            expected = env.step(gymnasium_action(env, dynamics, actions[t, row, e]))
            observation, reward, over, cut, _ = expected
            np.testing.assert_allclose(seen[t + 1][row, e], observation, rtol=0, atol=1e-6)
            assert abs(rewards[t][row, e] - reward) < 1e-6
            assert (terminated[t][row, e], truncated[t][row, e]) == (over, cut)
            if over or cut:
                break
        lengths.append(t + 1)
        assert cut == (t + 1 == 160 and not over) or cut
    assert max(lengths) == 160
    env.close()


def controlled(name, observation, t):
    """Actions that reach the goal of a task that ends there."""
    if name == "Acrobot-v1":
        return np.where(observation[..., 4] > 0, 0, 2)
    push = np.where(observation[..., 1] >= 0, 1.0, -1.0)
    return push[..., None] if name == "MountainCarContinuous-v0" else (push + 1).astype(np.int64)


@pytest.mark.parametrize("name", ["Acrobot-v1", "MountainCar-v0", "MountainCarContinuous-v0"])
def test_a_batched_classic_task_ends_where_the_scalar_task_ends(name):
    dynamics = CLASSIC[name]
    running = ClassicTask(dynamics, 500).start(Keys.of([3, 4]), 2)
    env = gym.make(name, max_episode_steps=500)
    state_of(env, dynamics, [part[1, 1] for part in running._state])
    for t in range(500):
        act = controlled(name, running.observations, t)
        observation, reward, over, cut, _ = env.step(gymnasium_action(env, dynamics, act[1, 1]))
        rewards, terminated, truncated = running.step(act)
        np.testing.assert_allclose(running.observations[1, 1], observation, rtol=0, atol=1e-5)
        assert abs(rewards[1, 1] - reward) < 1e-6
        assert (terminated[1, 1], truncated[1, 1]) == (over, cut)
        if over or cut:
            break
    assert over, "the case must reach the goal"


@pytest.mark.parametrize("name", CLASSIC)
def test_classic_starts_follow_the_tasks_reset_distribution_and_depend_on_the_key_alone(name):
    starts = task(name).start(Keys.of(range(100)), 20).observations
    env = gym.make(name)
    reference = np.array([env.reset(seed=s)[0] for s in range(2000)])
    for coordinate in range(starts.shape[-1]):
        a, b = np.sort(starts[..., coordinate].ravel()), np.sort(reference[:, coordinate])
        assert np.abs(a - b).max() <= 0.08 * max(np.ptp(b), 1e-9)
    np.testing.assert_array_equal(task(name).start(Keys.of([0, 5]), 20).observations, starts[[0, 5]])


@pytest.mark.parametrize("name", CLASSIC)
def test_dropping_replicas_of_a_classic_task_changes_no_bit_of_the_others(name):
    rng, keys, kept = np.random.default_rng(1), Keys.of(range(7)), np.array([1, 2, 6])
    whole, part = task(name).start(keys, 3), task(name).start(keys, 3)
    for t in range(40):
        act = (
            rng.integers(0, task(name).actions, (7, 3))
            if task(name).discrete
            else rng.normal(0, 1, (7, 3, 1))
        )
        if t == 9:
            part.keep(kept)
        results = whole.step(act)
        if t < 9:
            part.step(act)
            continue
        for a, b in zip(part.step(act[kept]), results, strict=True):
            np.testing.assert_array_equal(a, b[kept])
        np.testing.assert_array_equal(part.observations, whole.observations[kept])
    assert (whole.stepped, part.stepped) == (40 * 21, 9 * 21 + 31 * 9)


@pytest.mark.parametrize("name", ["Acrobot-v1", "MountainCarContinuous-v0", "Pendulum-v1"])
def test_policies_on_classic_tasks_keep_the_contract(name):
    check_problem(reinforce(name, episodes=2, baseline="value", horizon=70, evaluation_episodes=2))
