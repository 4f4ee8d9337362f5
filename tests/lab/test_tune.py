"""Hypergradient descent: it finds what a closed form says is best, beats a grid of the same cost, and refuses
in one line."""

import itertools
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from core.lab.differentiable import objective_of
from core.lab.errors import VhatError
from core.lab.modules import problem_from
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.tune import Tuned, tune
from core.optim import RULES
from core.optim.hypergradient import hypergradients
from core.optim.unroll import unroll
from core.problems.quadratic import Canyon


class Ridge:
    """Ridge regression on mini-batches of keyed data, features of several scales; `loss` is that above the
    optimum."""

    dim = 5
    scales = torch.tensor([3.0, 1.0, 1.0, 0.5, 0.2], dtype=torch.float64)

    def _data(self, keys: Keys) -> tuple[Tensor, Tensor]:
        x = keys.fold("x").normal(20, self.dim, dtype=torch.float64) * self.scales
        y = x.sum(dim=2) + keys.fold("y").normal(20, dtype=torch.float64)
        return x, y

    def _hessian(self, x: Tensor) -> Tensor:
        return x.mT @ x / x.shape[1] + 0.01 * torch.eye(self.dim, dtype=torch.float64)

    def init(self, keys: Keys) -> Tensor:
        return torch.zeros(len(keys), self.dim, dtype=torch.float64)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        x, y = self._data(keys)
        batch = keys.fold("batch").at(step).integers(20, 10)
        x, y = x.gather(1, batch[..., None].expand(-1, -1, self.dim)), y.gather(1, batch)
        pull = (x * y[..., None]).mean(dim=1)
        return Field((self._hessian(x) * params[:, None, :]).sum(dim=2) - pull)

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        x, y = self._data(keys)
        hessian = self._hessian(x)
        gap = params - torch.linalg.solve(hessian, (x * y[..., None]).mean(dim=1))
        return {"loss": ((hessian * gap[:, None, :]).sum(dim=2) * gap).sum(dim=1) / 2}


def test_the_best_rate_of_one_step_is_the_closed_form() -> None:
    r"""One step of descent on f = sum c u^2 / 2 leaves sum c u^2 (1 - lr c)^2 / 2, least at
    lr = sum c^2 u^2 / sum c^3 u^2, over the coordinates and the seeds."""
    problem, seeds = Canyon(4.0), 8
    found = tune(problem, "sgd", over=("lr",), steps=1, measure="gap", rounds=60, seeds=seeds)
    start = problem.init(Keys.of(range(seeds), study="tune"))
    curvature = torch.tensor([4.0, 1.0], dtype=torch.float64)
    best = (curvature**2 * start**2).sum() / (curvature**3 * start**2).sum()
    assert found.best["lr"] == pytest.approx(float(best), rel=1e-3)


def settings_of(grid: Mapping[str, list[float]]) -> dict[str, list[float]]:
    points = list(itertools.product(*grid.values()))
    return {name: [point[k] for point in points] for k, name in enumerate(grid)}


def test_it_beats_a_grid_of_the_same_cost_on_ridge() -> None:
    """A hypergradient in segments costs about five plain trainings: 24 rounds against 120 points."""
    problem, steps, seeds, rounds = Ridge(), 25, 4, 24
    found = tune(problem, "adam", steps=steps, starts=({"lr": 1e-2},), rounds=rounds, seeds=seeds)
    grid = settings_of(
        {
            "lr": [10 ** (k / 4 - 2.25) for k in range(10)],
            "beta1": [0.0, 0.5, 0.9, 0.95],
            "beta2": [0.9, 0.99, 0.999],
        }
    )
    points = len(grid["lr"])
    assert points == 5 * rounds
    keys = Keys.of(range(seeds), study="tune", copies=points)
    hyper = {k: torch.tensor(v, dtype=torch.float64).repeat_interleave(seeds) for k, v in grid.items()}
    with torch.no_grad():
        losses = unroll(
            objective_of(problem, keys), RULES["adam"], problem.init(keys), hyper, steps=steps
        ).loss
    best = losses.view(points, seeds).mean(dim=1).min()
    assert found.loss < float(best)


def tuned(**changes: Any) -> Tuned:
    arguments: dict[str, Any] = {"steps": 10, "measure": "gap", "rounds": 12, "seeds": 3, **changes}
    return tune(Canyon(10.0, 30.0), arguments.pop("rule", "adam"), **arguments)


def test_what_it_returns_hangs_together() -> None:
    found = tuned()
    assert found.losses.shape == (12, 2)
    assert all(path.shape == (12, 2) for path in found.settings.values())
    row, start = divmod(int(found.losses.argmin()), 2)
    assert found.loss == float(found.losses.min())
    assert found.best == {name: float(path[row, start]) for name, path in found.settings.items()}
    assert found.loss < float(found.losses[0].min())
    keys, problem = Keys.of(range(3, 11), study="tune"), Canyon(10.0, 30.0)
    again = unroll(
        objective_of(problem, keys, "gap"), RULES["adam"], problem.init(keys), found.best, steps=10
    )
    assert torch.equal(found.fresh, again.loss)
    assert "short-horizon bias" in str(found)


def test_starts_do_not_touch_each_other() -> None:
    alone = tuned(starts=({"lr": 1e-2},))
    beside = tuned(starts=({"lr": 1e-2}, {"lr": 0.3, "beta1": 0.5}))
    assert torch.equal(alone.losses[:, 0], beside.losses[:, 0])


def test_other_hyperparameters_of_a_start_stay_fixed() -> None:
    found = tuned(over=("lr", "eps"), starts=({"lr": 1e-2, "eps": 1e-3, "beta1": 0.5},))
    assert found.best["beta1"] == 0.5
    assert found.best["eps"] != 1e-3


def test_a_start_that_diverges_comes_back() -> None:
    found = tuned(rule="sgd", over=("lr",), starts=({"lr": 1e40},), rounds=40)
    assert not bool(found.losses[0].isfinite())
    assert found.loss < 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rule": "adem"}, "unknown update rule 'adem'; did you mean 'adam'"),
        ({"over": ("beta3",)}, "unknown hyperparameter of adam 'beta3'; did you mean"),
        ({"over": ("amsgrad",)}, "cannot tune amsgrad from False"),
        ({"over": ("weight_decay",)}, "weight_decay must start between 0 and inf, got 0"),
        ({"starts": ({"lr": 0.1, "beta1": 1.0},)}, "beta1 must start between 0 and 1, got 1"),
        ({"starts": ({"beta1": 0.5},)}, "a start must give a number"),
        ({"starts": ({"lr": 0.1, "eps": 1e-3}, {"lr": 0.1, "eps": "small"})}, "every start must give eps"),
        ({"seeds": 1}, "at least two seeds"),
        ({"measure": "gop"}, "unknown measure 'gop'; did you mean 'gap'"),
        ({"steps": 0}, "cannot tune: steps"),
        (
            {"rule": "sgd", "over": ("lr",), "starts": ({"lr": 1e300},), "rounds": 1},
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
        objective = objective_of(problem, keys, measure)
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
        objective_of(problem, keys, "lost")


def test_a_projection_is_kept() -> None:
    class Ball(Canyon):
        def project(self, params: Tensor) -> Tensor:
            return params / params.norm(dim=1, keepdim=True)

    keys = Keys.of(range(2))
    problem = Ball()
    end = unroll(objective_of(problem, keys, "gap"), RULES["sgd"], problem.init(keys), {"lr": 1e-3}, steps=3)
    torch.testing.assert_close(end.params.norm(dim=1), torch.ones(2, dtype=torch.float64))
