"""Saved policies come back as they were; what is no such file is refused; films show the recorded episode."""

from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image

from core.lab.errors import VhatError
from core.lab.random import Keys
from rl.agents import Agents, load
from rl.drawing import PAINTERS, SIZE
from rl.environments import task
from rl.film import film, take
from rl.policies import CategoricalMLP
from rl.problems import reinforce


def agents(name="CartPole-v1", rows=3, horizon=12):
    problem = reinforce(name, hidden=(6,), horizon=horizon)
    params = problem.init(Keys.of(range(rows))) + 0.3 * Keys.of(range(rows)).normal(problem.dim)
    return Agents(problem.task, problem.policy, params.numpy())


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1"])
def test_saved_policies_play_the_same_episodes(name, tmp_path):
    whole = agents(name)
    path = whole.save(tmp_path / "deep" / "policies")
    assert path.suffix == ".npz"
    found = load(path)
    assert (found.task, found.policy) == (whole.task, whole.policy)
    np.testing.assert_array_equal(found.params, whole.params)
    assert found.params.dtype == whole.params.dtype
    keys = Keys.of(range(3))
    np.testing.assert_array_equal(found.episodes(4, keys).returns, whole.episodes(4, keys).returns)


def test_a_fresh_policy_is_that_of_the_problem_before_training():
    problem = reinforce("CartPole-v1", hidden=(6,), horizon=12)
    keys = Keys.of([5])
    expected = problem.init(keys)
    found = agents().fresh(keys.fold("policy"))
    np.testing.assert_array_equal(found.params, expected)


def damaged(kept, what):
    if what == "sizes":
        kept["sizes"] = np.array([4, 6, 3])
    elif what == "shape":
        kept["params"] = kept["params"][:, 1:]
    elif what == "numbers":
        kept["params"] = kept["params"].astype(np.int64)
    elif what == "version":
        kept["format"] = np.array(99)
    elif what == "pickled":
        kept["params"] = np.array([{"a": 1}], dtype=object)
    elif what == "missing":
        del kept["horizon"]
    return kept


@pytest.mark.parametrize("what", ["sizes", "shape", "numbers", "version", "pickled", "missing"])
def test_a_file_of_something_else_is_refused_in_one_line(what, tmp_path):
    path = agents().save(tmp_path / "policies.npz")
    with np.load(path) as found:
        kept = damaged(dict(found), what)
    np.savez(path, **kept)
    with pytest.raises(VhatError, match=r"do not fit|another version|no file of saved policies") as caught:
        load(path)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_or_written_is_said(tmp_path):
    with pytest.raises(VhatError, match="No such file"):
        load(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with pytest.raises(VhatError, match="no file of saved policies"):
        load(tmp_path / "text.npz")
    with pytest.raises(VhatError, match="cannot write"):
        agents().save(tmp_path / "text.npz" / "policies.npz")


@pytest.mark.parametrize("name", PAINTERS)
def test_a_classic_task_is_drawn_from_what_the_agent_sees(name):
    """A picture changes with the observation, and is drawn in the task's own range."""
    running = task(name).start(Keys.of([0, 1]), 1)
    one, other = (PAINTERS[name](running.observations[row, 0]) for row in (0, 1))
    assert one.size == SIZE
    far = PAINTERS[name](np.array(running.observations[0, 0]) * 0.5 + 0.4)
    assert np.any(np.asarray(one) != np.asarray(far))
    assert np.asarray(other).min() < 128, "there is ink"


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_a_film_shows_both_episodes_side_by_side(suffix, tmp_path):
    trained, keys = agents(rows=2), Keys.of([1])
    before, after = trained.only(0), trained.only(1)
    path = film(tmp_path / f"film{suffix}", before, after, keys)
    longest = max(len(take(one, keys).pictures) for one in (before, after))
    with Image.open(path) as found:
        assert found.size[0] == 2 * SIZE[0]
        assert longest <= found.n_frames <= longest + 25
    assert take(before, keys).earned[-1] == before.episodes(1, keys).returns[0, 0]


def test_long_episodes_are_shown_in_few_pictures(tmp_path):
    one = agents("Pendulum-v1", rows=1, horizon=50)
    path = film(tmp_path / "film.gif", one, one, Keys.of([1]), longest=20)
    with Image.open(path) as found:
        assert found.n_frames <= 20 + 25


def test_a_film_of_another_kind_is_refused(tmp_path):
    with pytest.raises(VhatError, match=r"\.gif"):
        film(tmp_path / "film.mp4", agents(rows=1), agents(rows=1), Keys.of([0]))


class Drawn(gym.Env):
    """A task that draws: the picture is as bright as the number of steps; it ends after five."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012
    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 1.0, self.steps == 5, False, {}

    def render(self):
        return np.full((40, 60, 3), 40 * self.steps, np.uint8)


class Blind(Drawn):
    """A task whose picture cannot be had."""

    def render(self):
        raise RuntimeError("no display")


@pytest.fixture
def registered():
    gym.register("Drawn-v0", entry_point=Drawn, max_episode_steps=9)
    gym.register("Blind-v0", entry_point=Blind, max_episode_steps=9)
    yield
    del gym.registry["Drawn-v0"]
    del gym.registry["Blind-v0"]


def test_any_other_task_is_drawn_by_itself(registered):
    problem = reinforce("Drawn-v0", hidden=(3,))
    one = Agents(problem.task, CategoricalMLP((2, 3, 2)), problem.init(Keys.of([0])).numpy())
    shown = take(one, Keys.of([0]))
    assert [np.asarray(p)[0, 0, 0] for p in shown.pictures] == [0, 40, 80, 120, 160]
    assert shown.earned == [1, 2, 3, 4, 5]
    assert shown.over
    blind = replace(one, task=reinforce("Blind-v0", hidden=(3,)).task)
    with pytest.raises(VhatError, match="cannot be drawn here: no display"):
        take(blind, Keys.of([0]))


def test_dtype_is_kept(tmp_path):
    one = agents(rows=2)
    double = Agents(one.task, one.policy, one.params.astype(np.float64))
    assert load(double.save(tmp_path / "double.npz")).params.dtype == np.float64
    assert torch.from_numpy(double.fresh(Keys.of([0, 1])).params).dtype == torch.float64
