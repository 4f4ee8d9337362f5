"""What a run records: steps from start to end, by-products, hits and settling, states; to the store and
back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.train import Block, train
from core.lab.variant import Variant
from tests.lab.bowls import Bowl
from tests.lab.short_runs import run_of, same


@given(st.integers(1, 300), st.integers(1, 80), st.sampled_from(["linear", "log"]))
def test_recorded_steps_run_from_start_to_end(total: int, points: int, spacing: str) -> None:
    steps = Recording(points, spacing=spacing).steps(total)  # type: ignore[arg-type]
    assert steps[0] == 0
    assert steps[-1] == total
    assert steps == sorted(set(steps))
    assert len(steps) <= points + 1
    if spacing == "linear" and points >= total:
        assert steps == list(range(total + 1))


@pytest.mark.parametrize("wrong", [{"points": 0}, {"tuning_points": 0}, {"spacing": "cubic"}])
def test_a_recording_that_records_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="recording"):
        Recording(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("points", [1, 3, 24, 25])
def test_by_products_are_averaged_since_the_last_recorded_step(points: int) -> None:
    run = run_of([Variant("s", "sgd")], recording=Recording(points))
    keys = Keys.of(range(3))
    steps = run.steps.tolist()
    drawn = [0.1 * keys.fold("noise").at(t).normal(3)[:, 0].double() for t in range(26)]
    for column, step in enumerate(steps):
        # The sample of the recorded step itself belongs to its window; the last one has none, unless it is
        # alone.
        first = steps[column - 1] + 1 if column else 0
        window = range(first, min(step, 24) + 1) or [25]
        expected = torch.stack([drawn[t] for t in window]).mean(dim=0).numpy()
        assert run.curves["field/noise"][:, column] == pytest.approx(expected, rel=1e-5)
        assert run.curves["field/step"][:, column] == pytest.approx(np.mean(list(window)))


def slow_hits(curve: Array, threshold: float, higher: bool) -> tuple[int, int]:
    inside = [bool(v >= threshold if higher else v <= threshold) for v in curve]
    first = inside.index(True) if any(inside) else -1
    since = -1
    for step in range(len(inside) - 1, -1, -1):
        if not inside[step]:
            break
        since = step
    return first, since


@pytest.mark.parametrize("higher", [False, True])
@pytest.mark.parametrize("threshold", [0.02, 0.1, 0.4, 1e-9, 100.0])
def test_hits_and_settling_equal_a_look_at_every_step(higher: bool, threshold: float) -> None:
    options = {"watch": {"loss": threshold}, "watch_higher": higher, "problem": Bowl(noise=1.0)}
    sparse = run_of([Variant("s", "sgd")], seeds=20, recording=Recording(2), steps=40, **options)
    dense = run_of(
        [Variant("s", "sgd")], seeds=20, recording=Recording(40), steps=40, problem=Bowl(noise=1.0)
    )
    expected = [slow_hits(row, np.float32(threshold), higher) for row in dense.curves["loss"]]
    assert sparse.hits["loss"].tolist() == [a for a, _ in expected]
    assert sparse.settled["loss"].tolist() == [b for _, b in expected]
    assert sparse.steps.tolist() == [0, 20, 40]
    assert np.array_equal(sparse.curves["loss"], dense.curves["loss"][:, [0, 20, 40]])


def test_states_are_kept_and_missing_ones_are_no_numbers() -> None:
    run = run_of([Variant("s", "sgd"), Variant("a", "adam")])
    assert np.isnan(run.state["exp_avg_sq"][:3]).all()
    problem, keys = Bowl(), Keys.of(range(3))
    alone = train(
        problem,
        [Block(Variant("a", "adam"), slice(0, 3), {"lr": 0.05})],
        keys,
        steps=25,
        recording=Recording(points=25, path=True),
    )
    assert alone.path is not None
    v = np.zeros((3, 3))
    for step in range(25):
        g = problem.field(torch.tensor(alone.path[:, step]), keys, step).values.double().numpy()
        v = 0.999 * v + 0.001 * g**2
    assert run.state["exp_avg_sq"][3:] == pytest.approx(v, rel=1e-5)


def test_runs_survive_the_way_to_the_store_and_back() -> None:
    run = run_of([Variant("s", "sgd"), Variant("a", "adam")], watch={"loss": 0.1})
    assert same(run, Run.from_arrays(run.to_arrays()))
    assert same(run, Run.join([run.rows(slice(0, 2)), run.rows(slice(2, 6))]))
    with pytest.raises(ValueError, match="same recorded steps"):
        Run.join([run, run_of([Variant("s", "sgd")], recording=Recording(3))])
    with pytest.raises(ValueError, match="same recorded steps"):
        Run.join([])


def test_a_measure_that_does_not_exist_is_named() -> None:
    with pytest.raises(VhatError, match=r"unknown measure 'los'; did you mean 'loss'"):
        run_of([Variant("s", "sgd")], watch={"los": 1.0})
