"""Steps to a return, failures, and published figures' terms, against plain loops over single runs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.run import Run
from rl.outcomes import ended_below, first_reached, speed
from rl.studies.learning_published import EPISODES, PUBLISHED, SOLVED, steps_to_solve, trailing

STEPS = np.array([0, 2, 4, 6, 8])


def run(returns, steps=None):
    returns = np.array(returns, dtype=np.float64)
    curves = {"field/return": returns, "field/steps": np.array(returns * 8 if steps is None else steps)}
    return Run(STEPS[: returns.shape[1]], curves, np.full(len(returns), -1, dtype=np.int64))


def test_the_first_update_is_that_of_the_first_recorded_return_at_the_level_and_never_is_infinite():
    found = run([[900, 10, 100, 99, 300], [10, 20, 30, 40, 50], [10, 150, math.nan, math.nan, math.nan]])
    assert first_reached(found, 100.0).tolist() == [4.0, math.inf, 2.0]
    assert speed(found, 100.0).tolist() == [-2.0, -np.log2(16.0), -1.0]


def test_a_run_has_failed_if_it_ends_below_or_diverged_whatever_came_before():
    found = run([[10, 400, 400, 400, 194], [10, 20, 30, 40, 195], [10, 400, 400, 400, math.nan]])
    assert ended_below(found, 195.0).tolist() == [True, False, True]


def plain_trailing(values, sizes, least):
    means = []
    for end in range(len(values)):
        for start in range(end, -1, -1):
            if sum(sizes[start : end + 1]) >= least:
                parts = list(zip(values[start : end + 1], sizes[start : end + 1], strict=True))
                means.append(sum(v * s for v, s in parts) / sum(s for _, s in parts))
                break
        else:
            means.append(math.nan)
    return means


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 9)), min_size=1, max_size=12), st.integers(1, 40)
)
def test_a_trailing_mean_is_over_the_shortest_stretch_that_is_large_enough(points, least):
    values, sizes = (np.array(x, dtype=np.float64) for x in zip(*points, strict=True))
    both = trailing(np.stack([values, values[::-1]]), np.stack([sizes, sizes[::-1]]), float(least))
    np.testing.assert_allclose(both[0], plain_trailing(values, sizes, least))
    np.testing.assert_allclose(both[1], plain_trailing(values[::-1], sizes[::-1], least))


def test_steps_to_solve_count_all_updates_before():
    """Points stand for 1, 2, 2, 2 and 1 updates; with 50 episodes an update a point of two is enough."""
    steps = [[10.0, 20.0, 30.0, 40.0, 50.0]] * 3
    found = run([[500, 20, SOLVED, 20, 500], [500, 500, 400, 400, 400], [1, 2, 3, math.nan, math.nan]], steps)
    expected = [10 + 2 * 20 + 2 * 30, 10 + 2 * 20, math.inf]
    assert steps_to_solve(found, 50).tolist() == expected
    # Ten episodes an update: only the last point has 100 behind it, together with all before.
    assert np.isinf(steps_to_solve(found, EPISODES // 10)).all()
    # Over the last 60 steps: the mean is weighted by steps.
    assert steps_to_solve(found, 50, within=60.0).tolist() == [110.0, math.inf, math.inf]


def test_what_was_published_says_where_it_comes_from_and_on_which_terms():
    assert {p.what.split(",")[0] for p in PUBLISHED} == {"SLM Lab", "CleanRL", "RL Baselines3 Zoo"}
    for one in PUBLISHED:
        assert one.later
        assert one.terms
        for text in (one.alike, one.other):
            assert text in ("", "never") or 1_000 < int(text.replace(",", "")) < 500_000


@pytest.mark.parametrize("level", [0.0, 475.0])
def test_a_run_that_diverged_at_once_never_gets_there(level):
    found = run([[math.nan] * 5])
    assert np.isinf(first_reached(found, level)).all()
    assert np.isinf(steps_to_solve(found, 50)).all()
