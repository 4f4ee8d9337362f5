"""Episodes against Gymnasium's scalar environments, step by step; seeding; what is kept when replicas are
dropped.
"""

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
from rl.cartpole import CartPole, CartPoleEpisodes
from rl.classic import CLASSIC, ClassicTask
from rl.environments import task
from rl.gymnasium_task import ScalarTask, scalar_task
from rl.problems import reinforce


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


@pytest.mark.parametrize("name", ["Acrobot-v1", "MountainCarContinuous-v0", "Pendulum-v1"])
def test_policies_on_classic_tasks_keep_the_contract(name):
    check_problem(reinforce(name, episodes=2, baseline="value", horizon=70, evaluation_episodes=2))


def test_policies_on_scalar_tasks_keep_the_contract():
    problem = reinforce("Pendulum-v1", episodes=2, horizon=8, evaluation_episodes=1, hidden=(4,))
    check_problem(replace(problem, task=scalar("Pendulum-v1", 8)))
