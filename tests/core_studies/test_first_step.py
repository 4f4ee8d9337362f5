"""The first step against its closed form, type by type, and the verdict that follows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from core.lab.engines import InProcess
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.registry import find
from core.lab.runner import job_of, run_jobs
from core.lab.store import Store
from core.lab.study import Results
from core.lab.verdict import Label, Outcome
from core.studies import first_step
from core.studies.first_step import DTYPES, EPS, RULE_NAMES, decades
from tests.verdicts import reads_in_short


def measured(rule: str, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    found = first_step.first_step({"rule": rule, "dtype": dtype}, Keys.of(range(4)), device="cpu")
    return found["gradient"].numpy(), found["size"].numpy()


def test_adams_first_step_is_its_closed_form_in_float64() -> None:
    gradient, size = measured("Adam", "float64")
    assert size == pytest.approx(gradient / (gradient + EPS), rel=1e-12)


@pytest.mark.parametrize(
    ("rule", "form"),
    [
        ("Adam, uncorrected", lambda g: 0.1 * g / (np.sqrt(0.001) * g + EPS)),
        ("RMSProp", lambda g: g / (np.sqrt(0.01) * g + EPS)),
        ("Sign descent", np.ones_like),
        ("Gradient descent", lambda g: g),
    ],
)
def test_controls_have_their_closed_forms_in_float64(rule: str, form: object) -> None:
    gradient, size = measured(rule, "float64")
    assert size == pytest.approx(form(gradient), rel=1e-9)  # type: ignore[operator]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_other_types_follow_it_where_their_moments_hold_the_square(dtype: str) -> None:
    gradient, size = measured("Adam", dtype)
    # (1 - beta2) g^2 has to be a normal number of float32, in which the moments are kept.
    held = (gradient > 1e-17) & (gradient < 1e18)
    digits = float(torch.finfo(DTYPES[dtype]).eps)
    assert held.any()
    # A step of lr * g / (g + eps) has to be a normal number of the parameters' type as well.
    held &= 1e-3 * gradient / (gradient + EPS) > torch.finfo(DTYPES[dtype]).smallest_normal
    assert size[held] == pytest.approx((gradient / (gradient + EPS))[held], rel=4 * digits, abs=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gradients_fill_every_decade_that_the_type_holds(dtype: str) -> None:
    gradient, _ = measured("Adam", dtype)
    for column, exponent in enumerate(decades(DTYPES[dtype])):
        decade = gradient[:, column]
        assert np.isfinite(decade).all()
        assert decade.min() >= 0.99 * 10.0**exponent
        assert decade.max() <= 9.1 * 10.0**exponent
    assert decades(torch.float64) == tuple(range(-30, 31))
    assert max(decades(torch.float16)) <= 4


def test_signs_and_magnitudes_do_not_depend_on_the_rule() -> None:
    gradients = [measured(rule, "float32")[0] for rule in RULE_NAMES]
    assert all(np.array_equal(g, gradients[0]) for g in gradients)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("first") / "s.sqlite")
    job = job_of(find("first-step"), first_step.STUDY.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results()
    store.close()
    return found


def test_the_verdict_follows_from_the_closed_form(results: Results) -> None:
    verdict = first_step.judge(results)
    assert reads_in_short(verdict)
    assert verdict.label is Label.CONDITIONAL
    # |g| / (|g| + eps) differs from 1 by 1% at 99 eps, about 1e-6: the border of the ordinary zone.
    by_regime = {f.regime: f.outcome for f in verdict.findings}
    assert by_regime["ordinary, float64"] is Outcome.HOLDS
    assert by_regime["huge, float64"] is Outcome.HOLDS
    assert by_regime["far below eps, float64"] is Outcome.FAILS
    assert by_regime["near eps, float64"] is Outcome.FAILS
    assert by_regime["huge, float32"] is Outcome.FAILS
    assert "huge, float16" not in by_regime
    control = verdict.findings[-1]
    assert not control.decisive
    assert control.outcome is Outcome.HOLDS


@pytest.mark.parametrize(
    ("size", "name"),
    [
        ([1.0, 0.5, 1.2], "shrinks"),
        ([1.0, 0.5, 0.0], "vanishes"),
        ([1.0, 0.9, 3.0], "grows"),
        ([0.0, np.nan], "is not finite"),
        ([0.0, np.inf], "is not finite"),
    ],
)
def test_a_fault_is_named_after_the_worst_step(size: list[float], name: str) -> None:
    assert first_step.fault(np.array(size)) == name


def test_the_sentence_names_the_types_that_keep_the_step_and_how_the_others_lose_it(results: Results) -> None:
    sentence = first_step.judge(results).sentence
    holds, fails = sentence.split("; and is not for these: ")
    assert "huge (in float64 alone)" in holds
    assert "ordinary (in " in holds
    # float32 moments overflow above 1.8e19: an infinite denominator, and no step.
    assert "huge (vanishes in float32 and bfloat16)" in fails
    assert "far below eps (" in fails
    assert "shrinks in float64" in fails


def test_figures_and_tables_are_drawn(results: Results, tmp_path: Path) -> None:
    for spec in first_step.STUDY.figures:
        spec.draw(results).savefig(tmp_path / f"{spec.name}.svg")
        assert (tmp_path / f"{spec.name}.svg").stat().st_size > 5000
    for table in first_step.STUDY.tables(results):
        assert all(len(row) == len(table.columns) for row in table.rows)
