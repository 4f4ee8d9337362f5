"""Spaces, points, trials and paths: closed forms, and rows that are the same in any batch."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.tuning.descent import descend, spread_starts
from core.lab.tuning.path import Path
from core.lab.tuning.points import grid_points, grid_shape, look_at, random_points
from core.lab.tuning.space import Space
from core.lab.tuning.trials import Trials, price
from core.optim.rules import RULES
from core.problems.quadratic import Canyon

ADAM = RULES["adam"]
SPACE = Space.of(ADAM, ("lr", "beta1", "beta2"))


def test_corners_are_the_bounds_and_the_middle_is_in_logarithms_and_logits() -> None:
    corners = SPACE.values(
        SPACE.between(torch.tensor([[0.0] * 3, [1.0] * 3, [0.5] * 3], dtype=torch.float64))
    )
    for name, (low, high) in SPACE.ranges.items():
        assert corners[name][:2].tolist() == pytest.approx([low, high], rel=1e-12)
    assert float(corners["lr"][2]) == pytest.approx(1e-2)
    odds = [low / (1 - low) for low in SPACE.ranges["beta1"]]
    assert float(corners["beta1"][2] / (1 - corners["beta1"][2])) == pytest.approx(math.sqrt(math.prod(odds)))


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=3))
def test_the_slope_is_the_derivative_by_the_coordinate(at: list[float]) -> None:
    """Of a function of the values that is linear, with slopes 2, 3 and 5."""
    weights = dict(zip(SPACE.names, (2.0, 3.0, 5.0), strict=True))

    def function(x: torch.Tensor) -> torch.Tensor:
        return torch.stack([weights[n] * v for n, v in SPACE.values(x).items()]).sum(dim=0)

    x = torch.tensor(at, dtype=torch.float64)
    aside = 1e-5 * torch.eye(3, dtype=torch.float64)
    differences = (function(x + aside) - function(x - aside)) / 2e-5
    slope = SPACE.slope(SPACE.values(x), {n: torch.tensor(w) for n, w in weights.items()})
    torch.testing.assert_close(slope, differences, rtol=1e-5, atol=1e-9)


@given(st.integers(1, 4), st.integers(1, 500))
def test_a_grid_stays_within_its_budget_and_covers_its_cells(size: int, budget: int) -> None:
    shape = grid_shape(size, budget)
    assert len(shape) == size
    assert budget - shape[0] < math.prod(shape) * 2
    assert math.prod(shape) <= budget
    points = grid_points(size, budget)
    assert points.shape == (math.prod(shape), size)
    for axis, count in enumerate(shape):
        assert points[:, axis].unique().tolist() == pytest.approx([(k + 0.5) / count for k in range(count)])


def test_random_points_are_uniform_and_each_searchs_own() -> None:
    unit = random_points(Keys.of(range(50)), 3, 400)
    assert unit.shape == (50, 400, 3)
    assert float((unit.mean(dim=(0, 1)) - 0.5).abs().max()) < 4 * (1 / 12 / 20_000) ** 0.5
    assert len(unit[:, 0, 0].unique()) == 50
    assert torch.equal(random_points(Keys.of([7, 8]), 3, 400), unit[7:9])
    assert torch.equal(random_points(Keys.of([7]), 3, 90)[0], unit[7, :90])


def test_the_best_so_far_is_the_least_loss_seen() -> None:
    losses = torch.tensor([[3.0, torch.nan], [5.0, 2.0], [torch.inf, 1.0]], dtype=torch.float64)[:, None, :]
    path = Path({"lr": torch.arange(6.0).view(3, 1, 2)}, losses, cost=4)
    assert path.costs().tolist() == [4, 8, 12]
    assert [float(path.best(n)[1]) for n in (1, 2, 3, None)] == [3.0, 2.0, 1.0, 1.0]
    assert [float(path.best(n)[0]["lr"]) for n in (1, 2, 3)] == [0.0, 3.0, 5.0]


def test_prices_are_what_the_modes_evaluate() -> None:
    assert [price(mode, 3) for mode in ("reverse", "segments", "forward")] == [3, 4, 8]


def trials(first: int, searches: int, seeds: int = 2) -> Trials:
    own = Keys.of(range(first * seeds, (first + searches) * seeds), study="test")
    return Trials(Canyon(10.0, 30.0), ADAM, own, seeds, 7, "gap")


@pytest.mark.parametrize("mode", ["reverse", "segments", "forward"])
def test_searches_side_by_side_do_not_touch_each_other(mode: str) -> None:
    """The same bits for a search alone and beside others, in descent and on points."""
    unit = random_points(Keys.of(range(5)), 3, 6)

    def both(rows: slice) -> list[torch.Tensor]:
        some, quiet = trials(rows.start, rows.stop - rows.start), Quiet()
        some = Trials(**{**some.__dict__, "mode": mode})
        down = descend(some, SPACE, unit[rows, :2], quiet, rounds=4, rate=0.5)
        points = look_at(some, SPACE, unit[rows], quiet, label="")
        return [down.losses, down.settings["beta1"], points.losses, points.settings["lr"]]

    together, apart = both(slice(0, 5)), both(slice(3, 4))
    for a, b in zip(together, apart, strict=True):
        assert torch.equal(a[:, 3:4], b)


def test_the_means_slope_is_the_derivative_of_the_mean_loss() -> None:
    some, at = trials(0, 2), SPACE.between(spread_starts(3, 2).expand(2, 2, 3))
    loss, gradients = some.hypergradients(SPACE.values(at))
    torch.testing.assert_close(loss, some.losses(SPACE.values(at)))
    slope = SPACE.slope(SPACE.values(at), gradients)
    for axis in range(3):
        aside = torch.zeros(3, dtype=torch.float64)
        aside[axis] = 1e-4
        up, down = (some.losses(SPACE.values(at + sign * aside)) for sign in (1, -1))
        torch.testing.assert_close(slope[..., axis], (up - down) / 2e-4, rtol=1e-5, atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3))
def test_descent_never_forgets_its_best(scale: float) -> None:
    """Each round is tried from the best point so far, at most one longest step away."""
    some = trials(0, 1)
    path = descend(some, SPACE, spread_starts(3, 2)[None], Quiet(), rounds=8, rate=0.5 * scale / (1 + scale))
    at = torch.stack([torch.stack([_coordinate(n, path.settings[n]) for n in SPACE.names], dim=-1)])[0]
    for start in range(2):
        for step in range(1, 8):
            best = int(path.losses[:step, 0, start].argmin())
            way = float((at[step, 0, start] - at[best, 0, start]).norm())
            assert way <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("size", "clip", "length"), [(1e-3, 0.0, 1.0), (1e9, 0.0, 1.0), (1e9, 5.0, 1.0), (2.0, 5.0, 0.4)]
)
def test_derivatives_above_the_clip_take_a_full_step_and_others_one_in_proportion(
    size: float, clip: float, length: float
) -> None:
    class Steep:
        """The derivatives by the logarithms are `size` along (0.6, 0.8)."""

        mode = "reverse"

        def hypergradients(
            self, values: dict[str, torch.Tensor]
        ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
            ways = dict(zip(("lr", "eps"), (0.6, 0.8), strict=True))
            return torch.ones_like(values["lr"]), {n: size * ways[n] / v for n, v in values.items()}

    space = Space.of(ADAM, ("lr", "eps"))
    some: Any = Steep()
    path = descend(some, space, spread_starts(2, 1)[None], Quiet(), rounds=2, rate=0.5, clip=clip)
    moved = torch.stack([path.settings[n].log() for n in space.names], dim=-1)[:, 0, 0]
    expected = -0.5 * length * torch.tensor([0.6, 0.8], dtype=torch.float64)
    torch.testing.assert_close(moved[1] - moved[0], expected)


def _coordinate(name: str, values: torch.Tensor) -> torch.Tensor:
    return values.log() if name == "lr" else values.logit()
