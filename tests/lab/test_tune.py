"""Tuning: descent finds what a closed form says is best, every method keeps its account, and nonsense is
refused in one line."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from core.lab.differentiable import ProblemObjective
from core.lab.errors import VhatError
from core.lab.modules import problem_from
from core.lab.problem import Field, Problem
from core.lab.random import Keys
from core.lab.tune import METHODS, Method, Tuned, tune
from core.optim import RULES
from core.optim.hypergradient import Mode, hypergradients
from core.optim.unroll import unroll
from core.problems.digits import Digits
from core.problems.quadratic import Canyon
from core.problems.regression import Regression
from core.problems.valleys import Valley


def test_the_best_rate_of_one_step_is_the_closed_form() -> None:
    r"""One step of descent on f = sum c u^2 / 2 leaves sum c u^2 (1 - lr c)^2 / 2, least at
    lr = sum c^2 u^2 / sum c^3 u^2, over the coordinates and the seeds."""
    problem, seeds = Canyon(4.0), 8
    found = tune(problem, "sgd", over=("lr",), steps=1, measure="gap", budget=480, seeds=seeds)
    start = problem.init(Keys.of(range(seeds), study="tune"))
    curvature = torch.tensor([4.0, 1.0], dtype=torch.float64)
    best = (curvature**2 * start**2).sum() / (curvature**3 * start**2).sum()
    assert found.best["lr"] == pytest.approx(float(best), rel=1e-3)


def tuned(**changes: Any) -> Tuned:
    arguments: dict[str, Any] = {"steps": 10, "measure": "gap", "budget": 96, "seeds": 3, **changes}
    return tune(Canyon(10.0, 30.0), arguments.pop("rule", "adam"), **arguments)


@pytest.mark.parametrize("method", METHODS)
def test_what_it_returns_hangs_together(method: Method) -> None:
    found = tuned(method=method, fresh_seeds=8)
    assert (
        found.path.losses.shape
        == {"hypergradient": (12, 1, 2), "grid": (96, 1, 1), "random": (96, 1, 1)}[method]
    )
    assert all(path.shape == found.path.losses.shape for path in found.path.settings.values())
    assert found.cost == 96 == int(found.path.costs()[-1])
    place = int(found.path.losses.argmin())
    assert found.loss == float(found.path.losses.min())
    assert found.best == {name: float(path.flatten()[place]) for name, path in found.path.settings.items()}
    keys, problem = Keys.of(range(3, 11), study="tune"), Canyon(10.0, 30.0)
    again = unroll(
        ProblemObjective(problem, keys, "gap"), RULES["adam"], problem.init(keys), found.best, steps=10
    )
    torch.testing.assert_close(found.fresh, again.loss)
    assert "short-horizon bias" in str(found)
    mean, low, high = found.interval
    assert mean == pytest.approx(float(found.fresh.mean()))
    assert low <= mean <= high


@pytest.mark.parametrize("method", METHODS)
@given(budget=st.integers(8, 200))
@settings(max_examples=15, deadline=None)
def test_no_method_pays_more_than_its_budget_or_wastes_a_third_of_it(method: Method, budget: int) -> None:
    found = tuned(method=method, budget=budget, steps=1, seeds=2, fresh_seeds=2)
    assert found.cost <= budget
    least = 8 * (budget // 8) if method == "hypergradient" else 2 * budget / 3
    assert found.cost >= least


def test_an_account_is_of_trainings_that_took_place() -> None:
    """Evaluations of the field: one a step of a plain training, two a step in segments; going back through
    them is the rest of the price."""

    class Counted(Canyon):
        rows = 0

        def field(self, params: Tensor, keys: Keys, step: int) -> Field:
            self.rows += len(params)
            return super().field(params, keys, step)

    def evaluations(method: Method, mode: Mode = "segments") -> float:
        problem = Counted(10.0, 30.0)
        found = tune(
            problem,
            "adam",
            steps=9,
            measure="gap",
            budget=96,
            seeds=3,
            fresh_seeds=2,
            method=method,
            mode=mode,
        )
        return (problem.rows - 2 * 9) / (9 * 3 * found.cost)

    assert evaluations("grid") == evaluations("random") == 1.0
    assert evaluations("hypergradient", "reverse") == pytest.approx(1 / 3)
    assert evaluations("hypergradient", "segments") == pytest.approx(2 / 4)


def test_starts_do_not_touch_each_other() -> None:
    alone = tuned(starts=({"lr": 1e-2},), budget=48)
    beside = tuned(starts=({"lr": 1e-2}, {"lr": 0.3, "beta1": 0.5}), budget=96)
    assert torch.equal(alone.path.losses[..., 0], beside.path.losses[..., 0])


def test_hyperparameters_that_are_held_fixed_stay() -> None:
    for method in METHODS:
        found = tuned(over=("lr", "eps"), fixed={"beta1": 0.5}, method=method)
        assert found.best["beta1"] == 0.5
        assert set(found.path.settings) == {"lr", "eps"}


def test_a_start_that_diverges_comes_back() -> None:
    found = tuned(rule="sgd", over=("lr",), starts=({"lr": 1e40},), budget=160)
    assert not bool(found.path.losses[0].isfinite())
    assert found.loss < 1.0


def test_a_best_value_at_an_end_of_its_range_is_said() -> None:
    found = tuned(method="random", over=("lr",), ranges={"lr": (1e-6, 1e-5)})
    assert found.edge == ("lr",)
    assert "At an end of its range: lr" in str(found)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "adem"}, "unknown update rule 'adem'; did you mean 'adam'"),
        ({"over": ("beta3",)}, "unknown hyperparameter of adam 'beta3'; did you mean"),
        ({"over": ()}, "at least one hyperparameter"),
        ({"over": ("lr", "amsgrad")}, "cannot tune amsgrad, which is not a number"),
        ({"over": ("beta1",)}, "lr must be tuned or held fixed"),
        ({"fixed": {"lr": 0.1}}, "lr is both tuned and held fixed"),
        ({"fixed": {"beta3": 0.1}}, "unknown hyperparameter of adam 'beta3'"),
        ({"fixed": {"eps": -1.0}}, "cannot tune: adam: eps must be"),
        ({"ranges": {"lr": (0.1, 0.01)}}, "range of lr must lie between 0 and inf, the lower bound first"),
        ({"ranges": {"beta1": (0.1, 1.0)}}, "range of beta1 must lie between 0 and 1"),
        ({"ranges": {"eps": (0.1, 1.0)}}, "range is given for eps, which is not tuned"),
        ({"starts": ({"lr": 0.1, "beta1": 1.0},)}, "beta1 must start between 0 and 1, got 1"),
        ({"starts": ({"eps": 0.5},)}, "a start gives eps, which is not tuned"),
        ({"starts": 0}, "at least one start"),
        ({"method": "gird"}, "unknown method 'gird'; did you mean 'grid'"),
        ({"mode": "backward"}, "unknown mode 'backward'"),
        ({"seeds": 1}, "at least two seeds"),
        ({"clip": -1.0}, "clipped to a length of 0 or more, got -1.0"),
        ({"clip": float("nan")}, "clipped to a length of 0 or more, got nan"),
        ({"measure": "gop"}, "unknown measure 'gop'; did you mean 'gap'"),
        ({"steps": 0}, "needs steps, a budget and a rate, got 0"),
        ({"budget": 7}, "a budget of 7 does not pay one from each of 2 starts"),
        ({"rule": "sgd", "over": ("lr",), "starts": ({"lr": 1e99},), "budget": 4}, "every training diverged"),
        (
            {"rule": "sgd", "over": ("lr",), "ranges": {"lr": (1e99, 1e100)}, "method": "random"},
            "every training diverged",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(VhatError, match=message) as caught:
        tuned(**changes)
    assert "\n" not in str(caught.value)


class Detached(Canyon):
    """Its field does not tell how it depends on the parameters."""

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(super().field(params, keys, step).values.detach())


def test_a_problem_that_is_not_differentiable_is_refused() -> None:
    with pytest.raises(VhatError, match=r"cannot tune: the objective's field at step \d does not depend"):
        tune(Detached(), "sgd", over=("lr",), steps=3, measure="gap")


@pytest.mark.parametrize(
    ("problem", "measure", "rate"),
    [
        (Canyon(10.0), "gap", 1e-3),
        (Valley("Rosenbrock"), "gap", 1e-5),
        (Regression(4, 20, batch=5), "gap", 1e-3),
        (Digits(20, batch=8), "training loss", 0.01),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_problem_of_the_lab_has_hypergradients(problem: Problem, measure: str, rate: float) -> None:
    """Tuned by descent, which follows what a tenth more and less of the rate changes."""
    found = tune(
        problem,
        "sgd",
        over=("lr",),
        steps=4,
        measure=measure,
        budget=8,
        seeds=2,
        fresh_seeds=2,
        ranges={"lr": (rate / 10, rate)},
    )
    assert found.loss < math.inf
    keys = Keys.of(range(3))
    params, objective = problem.init(keys), ProblemObjective(problem, keys, measure)
    torch.testing.assert_close(objective.field(params, 2), problem.field(params, keys, 2).values)
    slope = hypergradients(objective, RULES["sgd"], params, {"lr": rate}, steps=4).gradients["lr"]
    up, down = (
        unroll(objective, RULES["sgd"], params, {"lr": factor * rate}, steps=4).loss.double()
        for factor in (1.1, 0.9)
    )
    torch.testing.assert_close(slope, (up - down) / (0.2 * rate), rtol=5e-2, atol=1e-6)


def squared_error(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


@pytest.mark.parametrize("batch_size", [None, 6])
def test_the_objective_of_a_module_is_its_problem_with_derivatives(batch_size: int | None) -> None:
    keys = Keys.of(range(3))
    x, y = (keys.fold(name).normal(20, 2, dtype=torch.float64)[0] for name in "xy")
    module = nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    problem = problem_from(module, squared_error, (x, y), test_data=(x[:5], y[:5]), batch_size=batch_size)
    params = problem.init(keys)
    for measure in ("loss", "test_loss"):
        objective = ProblemObjective(problem, keys, measure)
        for step in range(3):
            torch.testing.assert_close(
                objective.field(params, step), problem.field(params, keys, step).values
            )
        torch.testing.assert_close(objective.loss(params), problem.measure(params, keys)[measure])
    found = hypergradients(objective, RULES["adam"], params, {"lr": 0.01}, steps=3)
    up, down = (
        unroll(objective, RULES["adam"], params, {"lr": lr}, steps=3).loss
        for lr in (0.01 + 1e-6, 0.01 - 1e-6)
    )
    torch.testing.assert_close(found.gradients["lr"], (up - down) / 2e-6, rtol=1e-6, atol=1e-9)
    with pytest.raises(VhatError, match="unknown measure 'lost'"):
        ProblemObjective(problem, keys, "lost").loss(params)


def test_a_projection_is_kept() -> None:
    class Ball(Canyon):
        def project(self, params: Tensor) -> Tensor:
            return params / params.norm(dim=1, keepdim=True)

    keys = Keys.of(range(2))
    problem = Ball()
    end = unroll(
        ProblemObjective(problem, keys, "gap"), RULES["sgd"], problem.init(keys), {"lr": 1e-3}, steps=3
    )
    torch.testing.assert_close(end.params.norm(dim=1), torch.ones(2, dtype=torch.float64))
