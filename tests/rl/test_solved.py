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
    assert np.mean(last >= script.SOLVED) > 0.5
    # 8 episodes of at least 8 steps an update, looked at every third.
    assert solved.min() > 3 * 8 * 8


def test_policies_are_tested_every_few_updates_and_once_at_the_end(script, monkeypatch):
    made, tests, updates = script.cartpole, [], []

    def counted(**settings):
        problem = made(**settings)
        whole = type(problem)

        class Counted(whole):
            def measure(self, params, keys):
                tests.append(len(updates))
                return super().measure(params, keys)

            def field(self, params, keys, step):
                updates.append(step)
                return super().field(params, keys, step)

        return Counted(problem.task, problem.policy, problem.estimator, problem.episodes, 2)

    monkeypatch.setattr(script, "cartpole", counted)
    script.steps_to_solve(script.Args(seeds=3, budget=4_000, every=4))
    assert len(updates) > 8
    assert tests == [*range(4, len(updates) + 1, 4), len(updates)]
