"""Where squares vanish, where eps is rounded away, what cannot decay; and the verdict that follows."""

from __future__ import annotations

import math
from dataclasses import replace
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
from core.optim.rules import RULES
from core.problems.streams import follow
from core.studies import epsilon, epsilon_lost
from core.studies.epsilon import BEFORE, FADED, MOMENTS, SIZES, TYPES, in_zone, vanishing_square
from tests.verdicts import reads_in_short


def sizes(name: str, eps: float, steps: int = 20) -> dict[str, np.ndarray]:
    cell = {"type": name, "eps": eps, "steps": steps}
    return epsilon.step_sizes(cell, Keys.of(range(3)), device="cpu")


@pytest.mark.parametrize("name", TYPES)
def test_squares_vanish_below_the_closed_form_and_not_above(name: str) -> None:
    dtype = TYPES[name][1]
    border = vanishing_square(dtype)
    for factor, gone in ((0.9, True), (1.2, False)):
        gradient = torch.full((2, 1), factor * border, dtype=dtype)
        _, state = next(follow(RULES["adam"], [gradient], state_dtype=dtype))
        assert bool((state.exp_avg_sq == 0).all()) is gone
        assert bool((state.exp_avg != 0).all())


@pytest.mark.parametrize("name", TYPES)
def test_without_eps_exactly_the_vanishing_gradients_are_lost(name: str) -> None:
    dtype, state = TYPES[name]
    largest = sizes(name, 0.0, steps=1)["largest"]
    held = torch.tensor(SIZES, dtype=torch.float64).to(dtype).double().numpy()
    border = vanishing_square(state)
    # Magnitudes are 1 to 3 times the size: sizes within a factor of four of the border may do either.
    for i in range(len(SIZES)):
        if 3 * SIZES[i] < 0.9 * min(border, math.inf) or SIZES[i] == 0:
            assert np.isinf(largest[:, i]).all()
        elif SIZES[i] > 1.2 * border and held[i] > 1.2 * epsilon.smallest_positive(dtype):
            assert np.isfinite(largest[:, i]).all()


def test_in_float64_the_steps_without_eps_do_not_see_the_scale() -> None:
    found = sizes("float64", 0.0, steps=60)
    normal = found["largest"][:, 1:]
    # Signs and magnitudes are drawn afresh for each size, so sizes agree in law: all are bounded alike.
    assert (normal <= 7.3).all()
    assert np.isinf(found["largest"][:, 0]).all()
    assert (found["lost"][:, 1:] == 0).all()
    assert found["lost"][:, 0] == pytest.approx(1.0)


def test_the_first_step_with_eps_is_its_closed_form_in_float64() -> None:
    largest = sizes("float64", 1e-8, steps=1)["largest"]
    for i, size in enumerate(SIZES):
        low, high = size / (size + 1e-8), 3 * size / (3 * size + 1e-8)
        assert (largest[:, i] >= low * (1 - 1e-12)).all()
        assert (largest[:, i] <= high * (1 + 1e-12)).all()


def test_float16_rounds_the_usual_eps_to_zero_and_moments_in_float32_keep_it() -> None:
    assert float(torch.tensor(1e-8, dtype=torch.float16)) == 0.0
    throughout, kept = sizes("float16 throughout", 1e-8), sizes("float16, moments float32", 1e-8)
    assert np.array_equal(throughout["lost"], sizes("float16 throughout", 0.0)["lost"])
    assert throughout["lost"].max() > 0
    assert (kept["lost"] == 0).all()


def test_a_bfloat16_v_never_decays_and_a_float64_one_by_its_closed_form() -> None:
    keys = Keys.of(range(2))
    found = {n: epsilon.fading({"type": n}, keys, device="cpu")["size"] for n in TYPES}
    unit = 0.5 + keys.fold("fading").uniform(epsilon.COORDINATES, dtype=torch.float64).numpy()
    for column, k in enumerate(MOMENTS):
        t = BEFORE + k
        old, new = 0.999**k - 0.999**t, 1 - 0.999**k
        v = unit**2 * (old + FADED**2 * new) / (1 - 0.999**t)
        m = unit * (0.9**k - 0.9**t + FADED * (1 - 0.9**k)) / (1 - 0.9**t)
        form = (m / (np.sqrt(v) + 1e-8)).mean(axis=1)
        assert found["float64"][:, column] == pytest.approx(form, rel=1e-9)
    v = torch.ones(2, dtype=torch.bfloat16)
    assert torch.equal(v * 0.999, v)
    late = found["bfloat16 throughout"][:, -1] / found["float64"][:, -1]
    assert (late < 0.3).all()
    assert found["float32"] == pytest.approx(found["float64"], rel=1e-3)


def test_zones_cover_the_sizes_they_name() -> None:
    assert in_zone("exactly zero") == [0]
    assert [SIZES[i] for i in in_zone("near zero")][::21] == [1e-30, 1e-9]
    assert [SIZES[i] for i in in_zone("small")] == pytest.approx([1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3])


@pytest.mark.parametrize("name", epsilon_lost.PARAMETERS)
def test_what_is_left_of_steps_is_what_rounding_leaves(name: str) -> None:
    share = epsilon_lost.walked({"type": name}, Keys.of(range(3)), device="cpu")["share"]
    form = epsilon_lost.closed_form(epsilon_lost.PARAMETERS[name], np.array(epsilon_lost.RATES))
    # A step is lr / (1 + eps) long, and float32 rounds each of the shortest ones to a hundredth.
    assert share == pytest.approx(np.tile(form, (3, 1)), rel=2e-2, abs=1e-12)
    one = torch.tensor(1.5, dtype=epsilon_lost.PARAMETERS[name])
    swallowed = [bool(one - rate == one) for rate in epsilon_lost.RATES]
    assert [bool(x) for x in (share == 0).all(axis=0)] == swallowed


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    store = Store(tmp_path_factory.mktemp("epsilon") / "s.sqlite")
    job = job_of(find("epsilon"), epsilon.STUDY.plan("tiny"), store)
    run_jobs([job], InProcess(), 1, Quiet())
    found = job.results()
    store.close()
    return found


def test_the_tiny_plan_is_too_small_and_right_where_nothing_is_random(results: Results) -> None:
    verdict = epsilon.judge(results)
    assert reads_in_short(verdict)
    assert verdict.label is Label.INCONCLUSIVE
    assert verdict.few_seeds
    outcomes = {(f.regime, f.text): f.outcome for f in verdict.findings}
    for name in TYPES:
        assert outcomes[f"exactly zero, {name}", epsilon.NEEDED] is Outcome.HOLDS
        safe = Outcome.FAILS if name == "float16 throughout" else Outcome.HOLDS
        assert outcomes[f"exactly zero, {name}", epsilon.SAFE] is safe
    assert outcomes["near zero, float64", epsilon.NEEDED] is Outcome.FAILS
    assert outcomes["near zero, float32", epsilon.NEEDED] is Outcome.HOLDS
    small = [f for f in verdict.findings if f.regime.startswith("small") and f.text == epsilon.NEEDED]
    assert len(small) == len(TYPES)
    assert not any(f.decisive for f in small)
    assert "which is where squares round to zero" in verdict.sentence
    assert "in bfloat16 throughout, whose v cannot decay." in verdict.sentence
    assert verdict.sentence.endswith("is rounded away: bfloat16.")


def test_the_sentence_gives_no_reason_for_what_was_not_foreseen(results: Results) -> None:
    findings = list(epsilon.judge(results).findings)

    def turned(regime: str, text: str) -> str:
        """The sentence with the outcomes of some findings turned round."""
        flip = {Outcome.HOLDS: Outcome.FAILS, Outcome.FAILS: Outcome.HOLDS, Outcome.UNCLEAR: Outcome.UNCLEAR}
        own = [
            replace(f, outcome=flip[f.outcome])
            if f.regime.startswith(regime) and f.text.startswith(text)
            else f
            for f in findings
        ]
        main = [f for f in own if f.text in (epsilon.NEEDED, epsilon.SAFE)]
        beside = [f for f in own if f.regime.startswith("fading")]
        lost = [f for f in own if f.regime.startswith("parameters")]
        return epsilon._sentence(main, beside, lost)

    assert "squares" not in turned("near zero, float64", epsilon.NEEDED)
    assert "cannot decay" not in turned("fading gradients, float32", "")
    assert "in no type." in turned("fading gradients, bfloat16 throughout", "")
    assert "No type loses steps" in turned("parameters of size 1, bfloat16", "")


def test_figures_and_tables_are_drawn(results: Results, tmp_path: Path) -> None:
    for spec in epsilon.STUDY.figures:
        spec.draw(results).savefig(tmp_path / f"{spec.name}.svg")
        assert (tmp_path / f"{spec.name}.svg").stat().st_size > 5000
    for table in epsilon.STUDY.tables(results):
        assert all(len(row) == len(table.columns) for row in table.rows)
