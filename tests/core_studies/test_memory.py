"""The bounds are reached and kept, memory follows its closed form, and the verdict follows."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.lab.engines import InProcess
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.lab.verdict import Label, Outcome
from core.optim.rules import RULES
from core.problems.streams import follow
from core.studies import memory
from core.studies.memory import LAGS, remembered
from core.studies.memory_bounds import BOUNDED, EDGES, paper_bound, sharp_bound, step_sizes
from core.studies.memory_settings import BETA1, BETA2, COORDINATES, PAIRS, STREAMS
from tests.verdicts import reads_in_short

USUAL = [(b1, b2) for b1, b2 in PAIRS if b1**2 < b2]


def last_step(gradients: np.ndarray, beta1: float, beta2: float) -> float:
    stream = (torch.full((2, 1), float(g), dtype=torch.float64) for g in gradients)
    *_, (descent, _) = follow(RULES["adam"], stream, beta1=beta1, beta2=beta2, eps=0.0)
    return float(descent[0, 0])


@pytest.mark.parametrize(("beta1", "beta2"), [(b1, b2) for b1, b2 in USUAL if b1 > 0])
def test_gradients_that_grow_by_the_ratio_of_betas_reach_the_sharp_bound(beta1: float, beta2: float) -> None:
    # Silence first: then bias correction is over, and v holds nothing but the burst.
    gradients = np.concatenate([np.zeros(15_000), (beta1 / beta2) ** np.arange(400.0)[::-1]])
    assert last_step(gradients, beta1, beta2) == pytest.approx(sharp_bound(beta1, beta2), rel=1e-5)


@pytest.mark.parametrize(("beta1", "beta2"), [(b1, b2) for b1, b2 in PAIRS if b2 > 0])
def test_a_lone_gradient_after_silence_reaches_the_first_case_of_the_papers_bound(
    beta1: float, beta2: float
) -> None:
    gradients = np.concatenate([np.zeros(15_000), [3.0]])
    assert last_step(gradients, beta1, beta2) == pytest.approx((1 - beta1) / math.sqrt(1 - beta2), rel=1e-5)


@given(
    st.lists(st.floats(-1e3, 1e3).filter(lambda g: abs(g) > 1e-6), min_size=1, max_size=40),
    st.sampled_from(USUAL),
)
def test_no_stream_exceeds_the_sharp_bound_at_any_step(
    gradients: list[float], betas: tuple[float, float]
) -> None:
    assert abs(last_step(np.array(gradients), *betas)) <= sharp_bound(*betas) * (1 + 1e-9)


def test_the_sharp_bound_is_the_papers_times_a_factor_and_beta1_zero_closes_the_gap() -> None:
    assert sharp_bound(0.9, 0.999) / paper_bound(0.9, 0.999) == pytest.approx(1 / math.sqrt(1 - 0.81 / 0.999))
    assert all(sharp_bound(0.0, b) == pytest.approx(paper_bound(0.0, b)) for b in BETA2)
    assert sharp_bound(0.9, 0.5) == math.inf
    assert paper_bound(0.9, 0.5) == 1.0


def test_with_a_steady_present_and_past_memory_is_its_closed_form() -> None:
    found = memory.changed_past({"stream": "steady"}, Keys.of([0, 1]), device="cpu")["scaling"]
    for index, (_, beta2) in enumerate(PAIRS):
        form = remembered(beta2, np.array(LAGS))
        # The past is finite: with beta2 = 0.999 it has filled v but for 0.999^5000, less than 1%.
        assert found[0, index] == pytest.approx(form, rel=1e-2, abs=1e-12)


def test_histograms_count_every_step_and_no_size_is_beyond_the_largest() -> None:
    found = step_sizes({"stream": "sparse", "steps": 50}, Keys.of([0, 1, 2]), device="cpu")
    assert found["counts"].shape == (3, len(PAIRS), len(EDGES) - 1)
    assert (found["counts"].sum(axis=2) == 50 * COORDINATES).all()
    for row, pair in np.ndindex(3, len(PAIRS)):
        top = np.flatnonzero(found["counts"][row, pair])[-1]
        largest = max(found["largest"][row, pair], 10 ** EDGES[0])
        assert EDGES[top] <= np.log10(largest) + 1e-9 or top == 0
        assert np.log10(largest) <= EDGES[top + 1] + 1e-9


def test_a_pair_of_betas_does_not_depend_on_its_neighbours() -> None:
    keys = Keys.of([0, 1])
    found = step_sizes({"stream": "noisy", "steps": 60}, keys, device="cpu")["largest"]
    for index in (3, 14):
        beta1, beta2 = PAIRS[index]
        stream = STREAMS["noisy"].gradients(keys, 60, COORDINATES)
        sizes = torch.stack([d.abs() for d, _ in follow(RULES["adam"], stream, beta1=beta1, beta2=beta2)])
        assert np.allclose(found[:, index], sizes.amax(dim=(0, 2)).numpy(), rtol=1e-12)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("memory") / "s.sqlite")
    job = job_of(find("memory"), memory.STUDY.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results()
    store.close()
    return found


def test_the_tiny_plan_is_too_small_and_right_where_nothing_is_random(results: Results) -> None:
    verdict = memory.judge(results)
    assert reads_in_short(verdict)
    assert verdict.label is Label.INCONCLUSIVE
    assert verdict.few_seeds
    outcomes = {(f.regime, f.text): f.outcome for f in verdict.findings}
    past = "a tenfold past changes the {} by less than 1%"
    assert outcomes["scaling, beta1 = 0.9, beta2 = 0", past.format("scaling")] is Outcome.HOLDS
    assert outcomes["step, beta1 = 0, beta2 = 0", past.format("step")] is Outcome.HOLDS
    assert outcomes["step, beta1 = 0.9, beta2 = 0", past.format("step")] is Outcome.FAILS
    for beta1 in BETA1:
        assert outcomes[f"steady, beta1 = {beta1:g}, beta2 = 0.999", BOUNDED] is Outcome.HOLDS


def test_figures_and_tables_are_drawn(results: Results, tmp_path: Path) -> None:
    for spec in memory.STUDY.figures:
        spec.draw(results).savefig(tmp_path / f"{spec.name}.svg")
        assert (tmp_path / f"{spec.name}.svg").stat().st_size > 5000
    for table in memory.STUDY.tables(results):
        assert all(len(row) == len(table.columns) for row in table.rows)
