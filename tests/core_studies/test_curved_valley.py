"""The valleys against automatic differentiation and their known minima, and the verdict."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from core.lab.conformance import check_problem
from core.lab.engines import InProcess
from core.lab.errors import VhatError
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.problems.valleys import LANDSCAPES, PENALTY, TARGET, Valley
from core.studies import curved_valley
from tests.verdicts import reads_in_short


@pytest.mark.parametrize("name", LANDSCAPES)
@pytest.mark.parametrize("dim", [2, 10])
def test_valleys_keep_the_contract(name: str, dim: int) -> None:
    for seeds in (4, 7):
        check_problem(Valley(name, dim), seeds=seeds)


@given(st.sampled_from(sorted(LANDSCAPES)), st.sampled_from([2, 4, 10]), st.integers(0, 1000))
def test_the_gradient_is_that_of_the_height(name: str, dim: int, seed: int) -> None:
    params = (2.0 * Keys.of([seed, seed + 1]).normal(dim, dtype=torch.float64)).requires_grad_()
    landscape = LANDSCAPES[name]
    (expected,) = torch.autograd.grad(landscape.height(params).sum(), params)
    assert torch.allclose(landscape.slope(params.detach()), expected, rtol=1e-9, atol=1e-9)


def lowest(name: str, dim: int) -> torch.Tensor:
    if name == "Rosenbrock":
        return torch.ones(1, dim, dtype=torch.float64)
    if name == "Beale":
        return torch.tensor([[3.0, 0.5] * (dim // 2)], dtype=torch.float64)
    share = torch.tensor(TARGET - PENALTY, dtype=torch.float64)
    weight = torch.sqrt(torch.logit(share) / (dim // 2))
    return weight.repeat(1, dim)


@pytest.mark.parametrize("name", LANDSCAPES)
@pytest.mark.parametrize("dim", [2, 10])
def test_the_gap_is_zero_at_the_minimum_and_above_it_elsewhere(name: str, dim: int) -> None:
    landscape, bottom = LANDSCAPES[name], lowest(name, dim)
    assert float(landscape.height(bottom)) == pytest.approx(0.0, abs=1e-15)
    assert landscape.slope(bottom).abs().max() < 1e-14
    anywhere = 3.0 * Keys.of(range(500)).normal(dim, dtype=torch.float64)
    assert (landscape.height(anywhere) > 0).all()


@pytest.mark.parametrize("name", LANDSCAPES)
def test_scipy_finds_nothing_lower(name: str) -> None:
    landscape = LANDSCAPES[name]

    def both(x: object) -> tuple[float, object]:
        point = torch.as_tensor(x)[None]
        return float(landscape.height(point)), landscape.slope(point)[0].numpy()

    for start in Valley(name, 4).init(Keys.of(range(8))):
        assert minimize(both, start.numpy(), jac=True, method="BFGS").fun > -1e-12


def test_tens_of_dimensions_are_pairs_of_beale_and_a_chain_of_rosenbrock() -> None:
    x = Keys.of([0, 1]).normal(6, dtype=torch.float64)
    for name, parts in (("Beale", [(0, 2), (2, 4), (4, 6)]), ("Rosenbrock", [(i, i + 2) for i in range(5)])):
        height = LANDSCAPES[name].height
        expected = sum(height(x[:, a:b]) for a, b in parts)
        assert torch.allclose(height(x), torch.as_tensor(expected))


@pytest.mark.parametrize("wrong", [{"name": "Himmelblau"}, {"dim": 3}, {"dim": 0}])
def test_impossible_valleys_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(VhatError, match="valley"):
        Valley(**wrong)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("valley") / "s.sqlite")
    job = job_of(find("curved-valley"), curved_valley.STUDY.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results()
    store.close()
    return found


def test_the_tiny_plan_is_judged_as_too_small(results: Results) -> None:
    verdict = curved_valley.judge(results)
    assert reads_in_short(verdict)
    assert verdict.few_seeds
    assert [f.regime for f in verdict.findings if f.decisive] == [r.name for r in curved_valley.REGIMES]


def test_a_start_has_arrived_where_its_gap_got_below_the_tolerance(results: Results) -> None:
    for regime in results.sweep("valleys").regimes:
        run = results.sweep("valleys").run(regime, "Adam")
        below = (run.curves["gap"] <= curved_valley.TOLERANCE).any(axis=1)
        # Recorded steps are a part of those that are watched.
        assert not (below & ~curved_valley.arrived(results, regime, "Adam")).any()


def test_figures_and_tables_are_drawn(results: Results, tmp_path: Path) -> None:
    for spec in curved_valley.STUDY.figures:
        spec.draw(results).savefig(tmp_path / f"{spec.name}.svg")
        assert (tmp_path / f"{spec.name}.svg").stat().st_size > 5000
    for table in curved_valley.STUDY.tables(results):
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
