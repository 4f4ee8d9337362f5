"""What the meta-gradient is made of, that it is right, and the verdict that follows from stored results."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core.lab.engines import InProcess
from core.lab.experiment import Array
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.lab.verdict import Label, Outcome
from core.studies.maml_derivatives import EPSILONS, _central_difference, derivatives, exactness
from core.studies.maml_settings import ADAPTATIONS, MEASURED, STATEFUL, STEPS, VARIANTS, regime, variant
from core.studies.maml_verdict import COST, tuned
from tests.verdicts import reads_in_short

KEYS = Keys.of(range(3), study="test")
SHORT: dict[str, Any] = {"rounds": 3, "steps": [1, 3]}
CELLS = {str(cell["adaptation"]): {**cell, **SHORT} for cell in MEASURED}


@pytest.mark.parametrize("name", CELLS)
def test_the_full_meta_gradient_is_right(name: str) -> None:
    found = exactness(CELLS[name], KEYS, device="cpu")
    assert set(found) == {"params", "lr"} | ({"state"} if CELLS[name]["warm"] else set())
    assert all(float(errors.median()) < 1e-7 for errors in found.values())


@pytest.mark.parametrize("name", CELLS)
def test_one_step_has_no_state_to_cut_and_gradient_descent_never_has(name: str) -> None:
    found = derivatives(CELLS[name], KEYS, device="cpu")
    cut = found["cut"]
    assert bool((cut[:, 0] == 0).all())
    assert bool((cut[:, 1] == 0).all()) == (name == "SGD")
    torch.testing.assert_close(found["cut cosine"][:, 0], torch.ones(3, dtype=torch.float64))
    assert bool((found["first order"][:, 1] > 0.05).all())


def test_only_a_cold_adam_hides_the_curvature_in_its_first_step() -> None:
    first = {name: derivatives(cell, KEYS, device="cpu")["first order"][:, 0] for name, cell in CELLS.items()}
    cold = float(first.pop("Adam cold").median())
    assert cold < 0.01
    assert all(float(away.median()) > 10 * cold for away in first.values())


def test_eps_brings_the_curvature_back() -> None:
    by_eps = derivatives(CELLS["Adam cold"], KEYS, device="cpu")["by eps"].median(dim=0).values
    assert by_eps.shape == (len(EPSILONS),)
    assert float(by_eps[0]) < 0.01 < 0.02 < float(by_eps[-2])


def test_adaptations_agree_with_what_is_measured() -> None:
    for cell in MEASURED:
        if cell["adaptation"] in ADAPTATIONS:
            own = ADAPTATIONS[cell["adaptation"]]
            assert (own.rule.name, own.warm, dict(own.hyper)) == (cell["rule"], cell["warm"], cell["hyper"])
            assert own.steps == STEPS


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    registered = find("maml")
    store = Store(Path(tmp_path_factory.mktemp("store")) / "results.sqlite")
    job = job_of(registered, registered.study.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    return job.results()


def test_the_tiny_plan_runs_draws_and_says_that_it_is_small(results: Results) -> None:
    study = find("maml").study
    verdict = study.judge(results)
    assert reads_in_short(verdict)
    assert verdict.label is Label.INCONCLUSIVE
    assert verdict.few_seeds
    for figure in study.figures:
        assert figure.draw(results).axes
    for table in study.tables(results):
        assert all(len(row) == len(table.columns) for row in table.rows)
    names = {v.name for v in VARIANTS}
    assert {name for _, name in tuned(results).runs} == names


def test_all_variants_of_a_seed_start_from_the_same_parameters(results: Results) -> None:
    """Before any adaptation the two random starts have the same error, task for task."""
    found = tuned(results)
    for shots in (5, 10):
        errors = [found.errors(regime(shots), f"{n}: random start", 0) for n in ("SGD", "Adam cold")]
        assert np.array_equal(*errors)


def _with(results: Results, cut_share: float, cost: float) -> Results:
    """The same results with other shares of the meta-gradient and other costs of cutting the state."""
    found = tuned(results)
    seeds = 10

    def errors(name: str) -> Array:
        spread = np.linspace(0.99, 1.01, seeds)[:, None] * np.ones(found.sweep.followed + 1)
        return cost * spread[::-1] if name.endswith("state cut") else spread

    runs = {key: {**run, "errors": errors(key[1])} for key, run in found.runs.items()}
    measured = results.measurement("derivatives")
    arrays = tuple(
        {n: np.full((seeds, *v.shape[1:]), cut_share if n == "cut" else v.mean()) for n, v in a.items()}
        for a in measured.arrays
    )
    plan = find("maml").study.plan("quick")
    return Results(
        plan,
        {
            "tuned": type(found)(found.sweep, found.tuned, runs),
            "derivatives": type(measured)(measured.cells, arrays),
            "exactness": results.measurement("exactness"),
        },
    )


@pytest.mark.parametrize(
    ("share", "cost", "label"),
    [
        (0.3, 2.0, Label.SUPPORTED),
        (0.3, 1.0, Label.CONDITIONAL),
        (0.01, 1.0, Label.REFUTED),
        (0.3, COST, Label.INCONCLUSIVE),
    ],
)
def test_the_verdict_follows_from_shares_and_costs(
    results: Results, share: float, cost: float, label: Label
) -> None:
    verdict = find("maml").study.judge(_with(results, share, cost))
    assert verdict.label is label
    decisive = [f for f in verdict.findings if f.decisive]
    assert len(decisive) == 3 * len(STATEFUL)
    if cost == 1.0:
        assert all(f.outcome is Outcome.FAILS for f in decisive if "error" in f.unit)


def test_the_sentence_names_what_first_order_costs(results: Results) -> None:
    made = _with(results, 0.3, 1.0)
    runs = tuned(made).runs
    assert isinstance(runs, dict)
    for shots in (5, 10):
        key = (regime(shots), variant("SGD", "first order"))
        runs[key] = {**runs[key], "errors": 7.0 * runs[key]["errors"]}
    sentence = find("maml").study.judge(made).sentence
    assert "a tenth higher with: 5-shot, SGD; 10-shot, SGD; not with: 5-shot, Adam cold;" in sentence


def test_the_sentence_explains_only_what_was_found(results: Results) -> None:
    """A warm v is said to let the curvature through only where it beats cold Adam and first order."""
    made = _with(results, 0.3, 1.0)
    assert "curvature" not in find("maml").study.judge(made).sentence
    assert "is a sign" not in find("maml").study.judge(_first_order_away(made, 0.5)).sentence
    made = _first_order_away(made, 1e-4)
    runs = tuned(made).runs
    assert isinstance(runs, dict)
    for shots in (5, 10):
        for name in (variant("Adam warm, v alone", "first order"), variant("Adam cold")):
            key = (regime(shots), name)
            runs[key] = {**runs[key], "errors": 7.0 * runs[key]["errors"]}
    sentence = find("maml").study.judge(made).sentence
    assert "is a sign" in sentence
    assert "lets the curvature through" in sentence
    assert "At 5 and 10 shots cold Adam ends at 7 [7, 7] and 7 [7, 7] times" in sentence


def _first_order_away(results: Results, share: float) -> Results:
    """The same results with another distance of the first-order meta-gradient."""
    measured = results.measurement("derivatives")
    arrays = tuple({**a, "first order": share + 0 * a["first order"]} for a in measured.arrays)
    changed = type(measured)(measured.cells, arrays)
    return Results(results.plan, {**results.by_name, "derivatives": changed})


def test_the_width_of_differences_is_chosen_without_the_derivative() -> None:
    """A step that turns within 1e-6 of the point: wide differences span it, and are left aside."""

    def turning(h: float) -> torch.Tensor:
        at = torch.tensor([h - 3e-6, h + 5.0], dtype=torch.float64)
        return torch.where(at > 0, 10.0 * at, torch.sin(at))

    right = torch.tensor([math.cos(-3e-6), 10.0], dtype=torch.float64)
    torch.testing.assert_close(_central_difference(turning), right, rtol=1e-8, atol=0.0)
