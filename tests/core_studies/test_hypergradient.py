"""The study of hypergradients: its searches keep their accounts, its probes are derivatives, its rows are
their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from core.lab.conformance import check_problem
from core.lab.experiment import Payload, Spec
from core.lab.random import Keys
from core.lab.study import Results
from core.lab.verdict import Label
from core.studies import hypergradient as study
from core.studies.hypergradient_settings import (
    GRIDS,
    MODES,
    OVER,
    PLANS,
    PROBLEMS,
    RATES,
    STEP,
    TRIED,
    budgets,
    cases,
)
from tests.verdicts import reads_in_short

SPEC: dict[str, Any] = {"seeds": 2, "fresh": 3, "reference": 2, "budgets": [6, 12], "horizon": 5}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_the_problems_keep_the_contract_bit_for_bit(problem: str) -> None:
    check_problem(PROBLEMS[problem][0]("cpu"))


def cells() -> list[tuple[Callable[..., Any], dict[str, Any]]]:
    found: list[tuple[Callable[..., Any], dict[str, Any]]] = []
    for problem in PROBLEMS:
        own = {"problem": problem, **SPEC}
        found += [(study.search, {**own, "method": method}) for method in TRIED]
        found += [(study.agreement, {**own, "mode": mode}) for mode in MODES]
        found += [(study.slopes, own), (study.transfer, own)]
    return found


@pytest.mark.parametrize(("function", "cell"), cells(), ids=lambda x: str(getattr(x, "__name__", x))[-60:])
def test_a_row_has_the_same_bits_in_any_batch(function: Callable[..., Any], cell: dict[str, Any]) -> None:
    together = function(cell, Keys.of(range(4), study="test"), device="cpu")
    for rows in (range(0, 2), range(2, 4)):
        apart = function(cell, Keys.of(rows, study="test"), device="cpu")
        for name, value in together.items():
            assert np.array_equal(value[list(rows)].numpy(), apart[name].numpy(), equal_nan=True), name


@pytest.mark.parametrize("problem", PROBLEMS)
def test_more_budget_never_raises_the_tuning_loss_of_descent_and_random_search(problem: str) -> None:
    for method in ("hypergradient", "random"):
        cell = {"problem": problem, **SPEC, "method": method}
        losses = study.search(cell, Keys.of(range(4)), device="cpu")["tuning"]
        assert bool((losses[:, 1] <= losses[:, 0]).all())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_derivatives_equal_differences_of_float64(problem: str, mode: str) -> None:
    errors = study.agreement(
        {"problem": problem, "horizon": 30, "mode": mode}, Keys.of(range(6)), device="cpu"
    )
    assert float(errors["error"].median()) < 1e-7


@pytest.mark.parametrize("problem", PROBLEMS)
def test_at_small_rates_the_slope_is_the_difference_over_the_step(problem: str) -> None:
    found = study.slopes({"problem": problem, "horizon": 20}, Keys.of(range(4)), device="cpu")
    difference = (found["higher"] - found["lower"]) / (2 * np.log(STEP))
    small = [k for k, rate in enumerate(RATES) if rate <= 3e-3]
    torch.testing.assert_close(found["slope"][:, small], difference[:, small], rtol=0.1, atol=2e-3)


def stored(slope_sign: float, ratio: float) -> Results:
    """Made-up results: slopes of a sign against a loss that rises with the rate, descent's losses as a
    multiple of the others'."""
    plan, generator = PLANS["quick"], np.random.default_rng(0)

    def payload(spec: Spec) -> Payload:
        cell, seeds = spec["cell"], spec["seeds"]
        noise = np.exp(0.01 * generator.standard_normal((seeds, len(budgets(plan)))))
        if spec["experiment"] == "search":
            losses = noise * (ratio if cell["method"] == "hypergradient" else 1.0)
            return {"tuning": losses, "fresh": losses, **dict.fromkeys(OVER, 0.5 + 0 * losses)}
        if spec["experiment"] == "agreement":
            return {"error": 1e-9 + 0 * noise}
        if spec["experiment"] == "slopes":
            one = np.ones((seeds, len(RATES)))
            return {"loss": one, "slope": slope_sign * one, "lower": one, "higher": 2 * one}
        return {"loss": np.ones((seeds, len(GRIDS["transfer"])))}

    made: dict[str, Payload] = {}
    experiments = study.experiments(plan)
    for experiment in experiments:
        for shard in experiment.pending(lambda _: None):
            made[str(shard.spec)] = payload(shard.spec)
    return Results(plan, {e.name: e.result(lambda s: made[str(s)]) for e in experiments})


@pytest.mark.parametrize(
    ("slope_sign", "ratio", "label"),
    [(1.0, 0.5, Label.SUPPORTED), (-1.0, 0.5, Label.CONDITIONAL), (1.0, 2.0, Label.CONDITIONAL)],
)
def test_the_verdict_follows_from_the_criterion(slope_sign: float, ratio: float, label: Label) -> None:
    results = stored(slope_sign, ratio)
    verdict = study.STUDY.judge(results)
    assert reads_in_short(verdict)
    assert verdict.label is label
    count = 2 * len(cases(results.plan))
    assert f"than random in {count if ratio < 1 else 0} of {count} settings" in verdict.sentence
    assert study.STUDY.tables(results)
    for figure in study.STUDY.figures:
        assert figure.draw(results).axes
