"""CartPole in batches against Gymnasium's scalar and vectorised tasks, bit by bit; its starts and time limit;
what is kept when replicas are dropped."""

import gymnasium as gym
import numpy as np
import pytest

from core.lab.random import Keys
from rl.cartpole import CartPole, CartPoleEpisodes


def scalar_episode(start, actions):
    """Observations, rewards and ends of Gymnasium's CartPole-v1, its time limit included."""
    env = gym.make("CartPole-v1")
    env.reset(seed=0)
    env.unwrapped.state = start
    seen, rewards, ends = [], [], []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(int(action))
        seen.append(observation)
        rewards.append(reward)
        ends.append((terminated, truncated))
        if terminated or truncated:
            break
    return np.array(seen), np.array(rewards), ends


def batch_episodes(starts, actions):
    """All columns of `[4, R, E]` starts under actions `[T, R, E]`, as lists of what each step gave."""
    running = CartPoleEpisodes(starts, 500)
    seen, rewards, terminated, truncated = [], [], [], []
    for act in actions:
        r, over, cut = running.step(act)
        seen.append(running.observations.copy())
        rewards.append(r.copy())
        terminated.append(over.copy())
        truncated.append(cut.copy())
    return seen, rewards, terminated, truncated


@pytest.mark.parametrize("seed", [0, 1])
def test_the_vectorised_task_gives_the_scalar_tasks_trajectories(seed):
    rng = np.random.default_rng(seed)
    starts = rng.uniform(-0.05, 0.05, (4, 3, 4))
    actions = rng.integers(0, 2, (120, 3, 4))
    seen, rewards, terminated, truncated = batch_episodes(starts, actions)
    for row in range(3):
        for episode in range(4):
            expected, reward, ends = scalar_episode(starts[:, row, episode], actions[:, row, episode])
            length = len(expected)
            assert ends[-1][0], "a random policy fails within 120 steps"
            np.testing.assert_array_equal([s[row, episode] for s in seen[:length]], expected)
            np.testing.assert_array_equal([r[row, episode] for r in rewards[:length]], reward)
            got = [
                (bool(t[row, episode]), bool(c[row, episode]))
                for t, c in zip(terminated, truncated, strict=True)
            ]
            assert got[:length] == [(bool(a), bool(b)) for a, b in ends]


def test_it_gives_the_vectorised_tasks_numbers_beyond_the_end_of_episodes():
    rng = np.random.default_rng(5)
    starts, actions = rng.uniform(-0.05, 0.05, (4, 6, 2)), rng.integers(0, 2, (200, 6, 2))
    env = gym.make_vec("CartPole-v1", num_envs=12, vectorization_mode="vector_entry_point").unwrapped
    env.state = starts.reshape(4, 12)
    env.prev_done = np.zeros(12, bool)
    running = CartPoleEpisodes(starts, 500)
    for act in actions:
        expected, rewards, terminated, truncated, _ = env.step(act.reshape(-1))
        got = running.step(act)
        env.prev_done[:] = False
        np.testing.assert_array_equal(running.observations.reshape(12, 4), expected)
        for ours, theirs in zip(got, (rewards, terminated, truncated), strict=True):
            np.testing.assert_array_equal(ours.ravel(), theirs)


def balance(observation):
    """A policy that keeps the pole up for 500 steps."""
    return (observation[..., 2] + 0.3 * observation[..., 3] + 0.05 * observation[..., 1] > 0).astype(np.int64)


def test_the_time_limit_truncates_and_does_not_terminate():
    starts = np.random.default_rng(3).uniform(-0.05, 0.05, (4, 2, 2))
    running = CartPoleEpisodes(starts, 500)
    actions = []
    for t in range(500):
        actions.append(balance(running.observations))
        _, terminated, truncated = running.step(actions[-1])
        assert not terminated.any()
        assert truncated.all() == (t == 499)
    expected, rewards, ends = scalar_episode(starts[:, 1, 0], [a[1, 0] for a in actions])
    assert len(rewards) == 500
    assert ends[-1] == (False, True)
    np.testing.assert_array_equal(running.observations[1, 0], expected[-1])


def test_dropping_replicas_changes_no_bit_of_the_others():
    rng = np.random.default_rng(4)
    starts, actions = rng.uniform(-0.05, 0.05, (4, 7, 3)), rng.integers(0, 2, (60, 7, 3))
    kept = np.array([1, 2, 6])
    whole, part = CartPoleEpisodes(starts, 500), CartPoleEpisodes(starts, 500)
    for act in actions[:9]:
        whole.step(act)
        part.step(act)
    part.keep(kept)
    for act in actions[9:]:
        expected = [x[kept] for x in whole.step(act)]
        for a, b in zip(part.step(act[kept]), expected, strict=True):
            np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(part.observations, whole.observations[kept])


def test_an_episode_that_has_ended_is_never_reset_and_stays_finite():
    running = CartPoleEpisodes(np.zeros((4, 1, 2)), 500)
    for _ in range(2000):
        running.step(np.array([[1, 0]]))
    assert np.isfinite(running.observations).all()
    assert np.abs(running.observations[..., 0]).min() > 2.4, "a reset would have put the cart back"


def test_a_replicas_starts_depend_on_its_key_alone():
    many, few = Keys.of(range(9)), Keys.of([0, 3])
    all_starts = CartPole().start(many, 5).observations
    np.testing.assert_array_equal(CartPole().start(few, 5).observations, all_starts[[0, 3]])
    assert len(np.unique(all_starts)) == all_starts.size


def test_starts_follow_the_tasks_reset_distribution():
    starts = CartPole().start(Keys.of(range(100)), 50).observations
    env = gym.make_vec("CartPole-v1", num_envs=5000, vectorization_mode="vector_entry_point")
    reference, _ = env.reset(seed=1)
    assert starts.min() > -0.05
    assert starts.max() < 0.05
    for coordinate in range(4):
        a, b = np.sort(starts[..., coordinate].ravel()), np.sort(reference[:, coordinate])
        assert np.abs(a - b).max() < 0.05 * 0.1, "quantiles of the two samples agree"
