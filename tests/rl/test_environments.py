"""Episodes against Gymnasium's scalar environments, step by step; seeding; what is kept when replicas are
dropped.
"""

import gymnasium as gym
import numpy as np
import pytest

from core.lab.errors import VhatError
from core.lab.random import Keys
from rl.environments import CartPole, CartPoleEpisodes, ScalarTask, task


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


def batch_episodes(starts, actions, drop_after=None):
    """All columns of `[4, R, E]` starts under actions `[T, R, E]`, as lists of what each step gave."""
    running = CartPoleEpisodes(starts, 500)
    seen, rewards, terminated, truncated = [], [], [], []
    for t, act in enumerate(actions):
        r, over, cut = running.step(act)
        seen.append(running.observations.copy())
        rewards.append(r)
        terminated.append(over)
        truncated.append(cut)
        if t == drop_after:
            break
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


def test_any_discrete_task_runs_and_skips_what_has_ended():
    played = task("Acrobot-v1", horizon=6)
    assert isinstance(played, ScalarTask)
    assert (played.observation_size, played.actions, played.horizon) == (6, 3, 6)
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


@pytest.mark.parametrize(
    ("task_id", "words"),
    [("CartPole-v9", "did you mean"), ("Pendulum-v1", "Discrete"), ("Blackjack-v1", "time limit")],
)
def test_a_task_that_does_not_fit_is_named_in_one_line(task_id, words):
    with pytest.raises(VhatError, match=words) as caught:
        task(task_id)
    assert "\n" not in str(caught.value)


def test_the_registered_time_limit_is_the_default():
    assert task("CartPole-v1") == CartPole(500)
    assert task("CartPole-v1", horizon=20) == CartPole(20)
