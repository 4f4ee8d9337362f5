"""CartPole-v1 is solved: Adam, leave-one-out baseline, at most 90,000 environment steps."""

from pathlib import Path

import numpy as np
import pytest

from tests.script_modules import script_module

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench" / "rl_solved.py"


@pytest.fixture(scope="module")
def script():
    return script_module(SCRIPT)


def test_cartpole_is_solved_within_the_budget_on_at_least_95_percent_of_50_seeds(script):
    args = script.Args(seeds=50, budget=90_000, study="test")
    solved, last = script.steps_to_solve(args)
    assert solved.shape == last.shape == (50,)
    assert np.mean(solved <= 90_000) >= 0.95
    # 8 episodes of at least 8 steps an update, looked at every third.
    assert solved.min() > 3 * 8 * 8
