"""What the report's pages are put together from: figures and their numbers, formulas, sentences about
verdicts, source lines, provenance, groups, bars."""

from __future__ import annotations

import dataclasses
import importlib
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.lab.errors import VhatError
from core.lab.registry import root, studies
from core.lab.report import Entry, Provenance, idea
from core.lab.report.bar import WIDTH, bar_of
from core.lab.report.formulas import formula
from core.lab.report.generic import generic_figures
from core.lab.report.pages import Drawn, doubt_of, groups_of, paragraphs, parts_of
from core.lab.report.sources import sources_of
from core.lab.report.surprises import surprises_of
from core.lab.store import StoredShard
from core.lab.verdict import Label, Verdict, finding, first_sentence, verdict
from tests.lab import synthetic_study as synthetic


def test_sweeps_show_their_rates_and_curves_where_the_study_does_not() -> None:
    results = synthetic.results()
    none = dataclasses.replace(synthetic.STUDY, figures=())
    assert [f.part for f in generic_figures(none, results)] == ["learning rates", "learning curves"]
    assert [f.part for f in generic_figures(synthetic.STUDY, results)] == ["learning rates"]
    for spec in generic_figures(none, results):
        assert len([axes for axes in spec.draw(results).axes if axes.get_visible()]) == 2
        assert all(name in spec.alt for name in synthetic.NAMES)


def test_figures_are_numbered_as_they_are_shown() -> None:
    order = ("", "learning rates", "controls", "", "learning curves", "controls")
    parts = parts_of([(part, Drawn(str(i), "", "")) for i, part in enumerate(order)])
    assert [p.name for p in parts] == ["closer-look", "controls", "learning-rates", "learning-curves"]
    assert [n for p in parts for n, _ in p.figures] == [2, 3, 4, 5, 6]
    assert [d.name for p in parts for _, d in p.figures] == ["3", "2", "5", "1", "4"]


def test_formulas_are_mathematics_and_nothing_else() -> None:
    shown = formula(r"\frac{m}{\sqrt{v}} < 1")
    assert shown.startswith('<math display="block">')
    assert "<mfrac>" in shown
    assert "&lt;" in shown
    bad = (r"\text{<script>}", r"\text{<script>x</script>}", r"\href{https://example.org}{x}", r"\frac{1}")
    for latex in (*bad, r"x_1_2", r"\style{color:red}{x}"):
        with pytest.raises(VhatError, match="formula"):
            formula(latex)


@pytest.mark.parametrize("name", sorted(studies()))
def test_every_study_has_its_mathematics(name: str) -> None:
    study = studies()[name].study
    assert 1 <= len(study.mathematics) <= 3
    for latex, words in study.mathematics:
        assert formula(latex)
        assert words.endswith(".")
    assert study.would_change.endswith(".")


@pytest.mark.parametrize("name", sorted(studies()))
def test_every_study_asks_one_plain_question(name: str) -> None:
    question = studies()[name].study.question
    assert question.count("?") == 1
    assert question.endswith("?")
    assert 5 <= len(question.split()) <= 20


@given(st.floats(0.01, 100.0), st.sampled_from(idea.BETA2), st.integers(1, 50))
def test_the_first_figures_v_hat_is_exact_for_a_constant_gradient(g: float, beta2: float, steps: int) -> None:
    np.testing.assert_allclose(idea.second_moment(np.full(steps, g), beta2), g * g, rtol=1e-12)


def test_the_first_figures_v_hat_is_that_of_adam() -> None:
    gradient = np.random.default_rng(0).normal(size=30)
    parameter = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([parameter], betas=(0.9, 0.99))
    for g in gradient:
        parameter.grad = torch.tensor([g])
        adam.step()
    expected = float(adam.state[parameter]["exp_avg_sq"]) / (1 - 0.99**30)
    assert idea.second_moment(gradient, 0.99)[-1] == pytest.approx(expected, rel=1e-12)


def judged_as(label: Label, holds: int, fails: int) -> Entry:
    """An entry whose verdict has so many findings of each outcome."""
    made = [
        finding(f"{label} {i}", (x, x, x), above=0.0, replicas=12, text="")
        for i, x in enumerate([1.0] * holds + [-1.0] * fails)
    ]
    found = Verdict(label, f"{label} {holds} {fails}. And more.", tuple(made))
    return Entry(synthetic.DOMAIN, synthetic.STUDY, "quick", verdict=found)


def test_what_surprised_us_begins_with_what_failed_most() -> None:
    C, R = Label.CONDITIONAL, Label.REFUTED
    cases = [(C, 3, 1), (Label.SUPPORTED, 2, 0), (R, 0, 2), (Label.INCONCLUSIVE, 1, 0), (C, 1, 3)]
    found = surprises_of([*(judged_as(*case) for case in cases), synthetic.entries()[2]])
    assert [line.sentence for line in found] == ["refuted 0 2.", "conditional 1 3.", "conditional 3 1."]
    own = dataclasses.replace(synthetic.STUDY, surprise=lambda found: f"Of {len(found.findings)}: look!")
    entry = dataclasses.replace(judged_as(R, 0, 2), study=own)
    assert surprises_of([entry])[0].sentence == "Of 2: look!"


@given(st.lists(st.sampled_from(["One (a. B) two.", "3.5 of 4.", "Yes.", "no."]), min_size=1))
def test_the_first_sentence_ends_where_the_second_begins(sentences: list[str]) -> None:
    text = " ".join(sentences)
    first = first_sentence(text)
    assert text.startswith(first)
    assert first.startswith(sentences[0])
    assert first.count("(") == first.count(")")


@given(st.floats(-1e6, 1e6), st.floats(0.01, 1e3), st.floats(0.0, 10.0))
def test_doubt_names_the_finding_that_is_nearest_to_its_threshold(
    threshold: float, half: float, widths: float
) -> None:
    near, far = (threshold + half + share * 2 * half for share in (widths, widths + 1.0))
    made = [
        finding(name, (x, x - half, x + half), above=threshold, replicas=12, text="")
        for name, x in (("far", far), ("near", near))
    ]
    said = " ".join(doubt_of(verdict(made, "")))
    assert "“near”" in said
    assert "“far”" not in said


def test_doubt_says_that_an_interval_holds_its_threshold() -> None:
    found = verdict([finding("r", (1.0, 0.0, 2.0), above=0.5, replicas=12, text="")], "")
    assert "an interval that holds the threshold" in " ".join(doubt_of(found))
    assert doubt_of(None) == ()


def test_source_lines_lead_to_what_they_name() -> None:
    study = studies()["canyon"]
    found = sources_of(Entry(study.domain, study.study, "quick", held_by=study.module))
    assert found[0].what == "the study"
    for source in found:
        assert source.file == root() / source.path
        line = source.file.read_text("utf-8").splitlines()[source.line - 1]
        assert line.startswith(("STUDY", "def ", "@"))
        assert source.href == f"source/{source.path}.html#L{source.line}"


def test_a_study_outside_of_the_checkout_is_named_from_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "faraway" / "studies"
    package.mkdir(parents=True)
    for folder in (package, package.parent):
        (folder / "__init__.py").touch()
    (package / "one.py").write_text("def judge(results):\n    ...\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    judge = importlib.import_module("faraway.studies.one").judge
    study = dataclasses.replace(synthetic.STUDY, judge=judge)
    found = sources_of(Entry(synthetic.DOMAIN, study, "quick", held_by=synthetic.__name__))
    assert [s.place for s in found if s.what == "verdict"] == ["faraway/studies/one.py:1"]


def shard(digest: str, spec: dict[str, object]) -> StoredShard:
    return StoredShard(f"address {digest}", "s", spec, "code", 0.5, digest)


def test_provenance_counts_replicas_and_does_not_depend_on_order() -> None:
    shards = [shard("a", {"rows": [1, 2, 3], "seeds": 4}), shard("b", {"cell": {}, "seeds": 5})]
    one = Provenance.of(shards, "code", {})
    assert (one.shards, one.replicas, one.seconds) == (2, 17, 1.0)
    assert one == Provenance.of(shards[::-1], "code", {})
    assert one.digest != Provenance.of(shards[:1], "code", {}).digest


def test_the_command_runs_exactly_this_again() -> None:
    entry = synthetic.entries()[0]
    assert entry.results is not None
    assert entry.provenance is not None
    assert entry.command == "vhat run synthetic --quick"
    more = dataclasses.replace(entry.results, plan=entry.results.plan.with_seeds(99))
    moved = dataclasses.replace(entry.provenance, code="cd@cuda")
    changed = dataclasses.replace(entry, results=more, provenance=moved)
    assert changed.command == "vhat run synthetic --quick --seeds 99 --device cuda"
    assert Entry(synthetic.DOMAIN, synthetic.STUDY, "tiny").command == "vhat run synthetic --tiny"


def test_studies_are_grouped_by_domain_in_their_order() -> None:
    found = [
        (g.domain.name, [line.entry.study.id for line in g.lines]) for g in groups_of(synthetic.entries())
    ]
    assert found == [("made-up", ["synthetic", "broken"]), ("elsewhere", ["never"])]


def test_a_regime_counts_as_held_only_if_all_its_findings_hold() -> None:
    (group, _) = groups_of(synthetic.entries())
    line = group.lines[0]
    assert line.holds == ("along the axes",)
    assert line.fails == ("turned by 45°",)
    assert set(line.unclear) == {synthetic.EVIL, "nothing came back", "no number"}


def test_paragraphs_part_at_blank_lines() -> None:
    assert paragraphs(" one\ntwo\n\n\nthree ") == ["one two", "three"]


numbers = st.floats(allow_nan=False, allow_infinity=True)


@given(numbers, numbers, numbers, st.floats(allow_nan=False, allow_infinity=False))
def test_a_bar_keeps_the_order_of_its_numbers(a: float, b: float, c: float, threshold: float) -> None:
    low, effect, high = sorted((a, b, c))
    bar = bar_of(finding("r", (effect, low, high), above=threshold, replicas=2, text=""))
    assert 0 <= bar.low <= bar.high <= WIDTH
    assert 0 <= bar.threshold <= WIDTH
    assert bar.arrow_left == (low == -math.inf)
    assert bar.arrow_right == (high == math.inf)
    if bar.effect is not None:
        assert bar.low <= bar.effect <= bar.high
        assert (bar.effect < bar.threshold) <= (effect < threshold)
        assert (bar.effect > bar.threshold) <= (effect > threshold)
