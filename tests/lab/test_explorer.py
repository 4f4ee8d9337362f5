"""The explorer computes what the lab computes: its rules, its problems, its noise, its addresses."""

from __future__ import annotations

import itertools
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from core.lab.figures import colour
from core.lab.random import Keys
from core.lab.report import build_report
from core.optim.rules import RULES
from core.problems.quadratic import Canyon
from core.problems.valleys import rosenbrock, rosenbrock_slope
from games.bilinear import BilinearGame
from tests.e2e.browser import javascript, needs_javascript

HERE = Path(build_report.__code__.co_filename).parent / "explorer"
RULES_JS, PROBLEMS_JS, STATE_JS = (HERE / f"{name}.js" for name in ("rules", "problems", "state"))
STEPS = 250
START = (0.7, -1.2, 3.0)
SETTINGS = (
    {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "decay": 0.01},
    {"lr": 0.3, "beta1": 0.5, "beta2": 0.9, "eps": 1e-3, "decay": 0.2},
    {"lr": 1e-3, "beta1": 0.99, "beta2": 0.9999, "eps": 1e-12, "decay": 1.0},
    {"lr": 0.05, "beta1": 0.0, "beta2": 0.5, "eps": 10.0, "decay": 0.0},
    {"lr": 0.05, "beta1": 0.4, "beta2": 0.0, "eps": 1e-8, "decay": 0.01},
)
OWN = {
    "sgd": {},
    "momentum": {"momentum": "beta1"},
    "nesterov": {"momentum": "beta1"},
    "rmsprop": {"alpha": "beta2", "eps": "eps"},
    "adam": {"beta1": "beta1", "beta2": "beta2", "eps": "eps"},
    "amsgrad": {"beta1": "beta1", "beta2": "beta2", "eps": "eps"},
    "adamw": {"beta1": "beta1", "beta2": "beta2", "eps": "eps", "weight_decay": "decay"},
    "signsgd": {},
    "normalized_sgd": {"eps": "eps"},
    "adam_shared_v": {"beta1": "beta1", "beta2": "beta2", "eps": "eps"},
}
"""The rules' names for the explorer's hyperparameters."""

pytestmark = needs_javascript


def gradients() -> torch.Tensor:
    """`[STEPS, 3]`: of three sizes, one coordinate with long silences, one with a spike."""
    drawn = Keys.of([0], study="explorer").normal(STEPS, 3, dtype=torch.float64)[0]
    sizes = torch.tensor([1e-4, 1.0, 300.0], dtype=torch.float64)
    g = sizes * (drawn + torch.tensor([0.3, 0.0, 0.1], dtype=torch.float64))
    g[40:90, 1] = 0.0
    g[120, 0] = 50.0
    return g


@cache
def followed() -> dict[str, list[np.ndarray[Any, Any]]]:
    """The explorer's path of every rule under every setting."""
    found = javascript(
        [RULES_JS],
        "vhat.rules.map(rule => [rule.id, data.settings.map(h => Array.from(vhat.follow("
        "rule, h, data.start, data.gradients.length, (p, t, g) => g.set(data.gradients[t])).path))])",
        {"settings": list(SETTINGS), "start": list(START), "gradients": gradients().tolist()},
    )
    return {name: [np.array(path).reshape(-1, 3) for path in paths] for name, paths in found}


def reference(name: str, setting: dict[str, float]) -> np.ndarray[Any, Any]:
    """`[STEPS + 1, 3]`, by core.optim."""
    rule, hyper = RULES[name], {theirs: setting[ours] for theirs, ours in OWN[name].items()}
    params = torch.tensor([START], dtype=torch.float64)
    state = rule.init(params, **hyper)
    path = [params]
    for g in gradients():
        params, state = rule.step(params, g[None], state, lr=setting["lr"], **hyper)
        path.append(params)
    return torch.cat(path).numpy()


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("setting", range(len(SETTINGS)))
def test_its_rules_are_the_labs(name: str, setting: int) -> None:
    ours, theirs = followed()[name][setting], reference(name, SETTINGS[setting])
    so_far = np.maximum.accumulate(np.abs(theirs), axis=0)
    assert np.abs(np.diff(theirs, axis=0)).max() > 0
    assert np.all(np.abs(ours - theirs) <= 1e-12 * so_far)


def test_it_has_no_rule_that_is_not_compared_and_each_has_the_figures_colour() -> None:
    rules = javascript([RULES_JS], "vhat.rules.map(r => [r.id, r.name])")
    assert [name for name, _ in rules] == list(OWN)
    light = (HERE / "explorer.css").read_text("utf-8").partition("@media")[0]
    for name, title in rules:
        (shown,) = re.findall(rf"--rule-{name.replace('_', '-')}: (#\w+);", light)
        assert shown == colour(title).lower()


def test_a_path_ends_at_its_last_point_within_the_limit() -> None:
    found = javascript(
        [RULES_JS],
        "(({path, points}) => [Array.from(path), points])"
        "(vhat.follow(vhat.rules[0], {lr: 1}, [1, 1], 9, (p, t, g) => g.set([-9 * p[0], 0]), 1e3))",
    )
    assert found[1] == 3
    assert found[0][:6] == [1, 1, 10, 1, 100, 1]


@pytest.mark.parametrize("name", ["canyon", "turned", "rosenbrock", "xy", "noisy"])
def test_its_problems_are_the_labs(name: str) -> None:
    keys = Keys.of(range(50), study="explorer")
    points = 1.5 * keys.normal(2, dtype=torch.float64)
    found = javascript(
        [PROBLEMS_JS],
        "(problem => data.points.map(p => "
        "(g => (problem.field(p, g), [...g, problem.height(...p)]))([0, 0])))"
        "(vhat.problems.find(p => p.id === data.name))",
        {"name": name, "points": points.tolist()},
    )
    if name == "rosenbrock":
        height, field = rosenbrock(points), rosenbrock_slope(points)
    elif name == "xy":
        game = BilinearGame()
        height, field = points.norm(dim=1), game.field(points, keys, 0).values
        assert game.field(points, keys, 0).values.equal(torch.stack([points[:, 1], -points[:, 0]], dim=1))
    else:
        condition, degrees = {"canyon": (100.0, 0.0), "turned": (100.0, 45.0), "noisy": (10.0, 20.0)}[name]
        canyon = Canyon(condition, degrees)
        height, field = canyon.measure(points, keys)["gap"], canyon.field(points, keys, 0).values
    expected = torch.cat([field, height[:, None]], dim=1).numpy()
    assert np.allclose(np.array(found), expected, rtol=1e-12, atol=1e-12)


def test_every_problem_has_its_least_height_at_the_solution() -> None:
    found = javascript(
        [PROBLEMS_JS],
        "vhat.problems.map(p => (g => (p.field(p.solution, g), [p.height(...p.solution), ...g]))([1, 1]))",
    )
    assert np.all(np.array(found) == 0)


def mix(z: int) -> int:
    """Wellons' mixer in Python's integers."""
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        z = ((z ^ (z >> shift)) * factor) & 0xFFFFFFFF
    return z ^ (z >> 15)


def test_the_noise_is_what_its_description_says() -> None:
    seeds, steps = (1, 2, 999), 400
    found = javascript([PROBLEMS_JS], "data.map(seed => Array.from(vhat.normals(seed, 400)))", list(seeds))
    for seed, normals in zip(seeds, found, strict=True):
        for t in range(steps):
            u, v = ((mix((mix(seed) + (2 * t + k + 1) * 0x9E3779B9) & 0xFFFFFFFF)) / 2**32 for k in (0, 1))
            radius = math.sqrt(-2 * math.log(u + 2**-32))
            expected = radius * math.cos(2 * math.pi * v), radius * math.sin(2 * math.pi * v)
            assert normals[2 * t : 2 * t + 2] == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_the_noise_is_standard_normal_and_independent() -> None:
    found = np.array(javascript([PROBLEMS_JS], "[1, 2].map(s => Array.from(vhat.normals(s, 20000)))"))
    for one in (*found, *found[:, ::2], *found[:, 1::2]):
        assert stats.kstest(one, "norm").pvalue > 1e-3
    pairs = [(found[0], found[1]), *((row[:-lag], row[lag:]) for row in found for lag in (1, 2, 3, 4))]
    for a, b in pairs:
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(len(a))


def test_an_address_keeps_the_whole_state() -> None:
    states = [
        {
            "problem": problem,
            "lr": 0.0123,
            "rate": 0.4,
            "beta1": 0.33,
            "beta2": 0.9937,
            "eps": 2.5e-7,
            "decay": 0.5,
            "noise": 1.25,
            "seed": 7,
            "steps": 310,
            "start": [-0.5, 0.125],
            "at": at,
            "rules": rules,
        }
        for problem, at, rules in itertools.product(
            ("canyon", "turned", "rosenbrock", "xy", "noisy"), (0, 17, 310), ([], ["adam"], ["sgd", "adamw"])
        )
    ]
    read = "data.map(s => vhat.decode('#' + vhat.encode(s)))"
    assert javascript([RULES_JS, PROBLEMS_JS, STATE_JS], read, states) == states


def test_an_address_that_makes_no_sense_gives_a_state_that_does() -> None:
    junk = ["", "#", "#a", "#problem=%00&lr=x", "#lr=-1&rate=1e99&eps=NaN&beta1=2&steps=1e9&seed=0.2&noise="]
    junk += ["#start=1", "#start=a,b", "#start=,", "#start=1e9,-1e9", "#rules=&at=-5", "#rules=x,adam,adam"]
    read = "data.map(vhat.decode)"
    ranges = javascript([RULES_JS, PROBLEMS_JS, STATE_JS], "vhat.ranges")
    for state in javascript([RULES_JS, PROBLEMS_JS, STATE_JS], read, junk):
        assert state["problem"] == "canyon"
        assert all(low <= state[name] <= high for name, (low, high) in ranges.items())
        assert all(abs(x) <= 1.25 for x in state["start"])
        assert 0 <= state["at"] <= state["steps"]
        assert set(state["rules"]) <= set(OWN)
        assert len(set(state["rules"])) == len(state["rules"])
