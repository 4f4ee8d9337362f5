"""The README and the pages of docs/ work as they stand: their Python runs, their commands exist, their links
lead somewhere, and what they list is what there is."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from core.cli import main
from core.lab.random import Keys
from core.lab.registry import studies
from core.lab.verdict import Label
from core.optim import RULES
from tests.pages import PAGES, ROOT, blocks, commands, links, prose, read, run_python

DOCS = ROOT / "docs"
GUIDE = DOCS / "adding-a-domain.md"  # followed step by step in test_guide_to_domains.py
PYTHON = [p for p in PAGES if blocks(p, "python") and p not in (GUIDE, ROOT / "README.md")]


def named(page: Path) -> str:
    return page.name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_its_commands_exist_with_their_options(page: Path) -> None:
    for command in commands(page):
        read(command)


@pytest.mark.parametrize(
    "command",
    [
        "vhat rnu canyon",
        "vhat run canyon --tinny",
        "python scripts/rl.py --optimiser adam",
        "python scripts/games.py bilinar",
        "python scripts/none.py",
        "make reproduse",
        "make reproduce PLANS=tiny",
        "pip install -e .[paquet]",
        "curl example.org",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(command: str) -> None:
    with pytest.raises(AssertionError):
        read(command)


def is_cheap(page: Path) -> bool:
    """Whether a page's lines ask for the tiny plan wherever they ask for one; then they are run."""
    lines = [line for block in blocks(page, "sh") for line in block.text.splitlines()]
    plans = [plan for line in lines if (plan := getattr(read(line), "plan", None))]
    return set(plans) == {"tiny"}


CHEAP = [p for p in PAGES if p != GUIDE and is_cheap(p)]


def test_some_pages_are_run() -> None:
    assert {p.stem for p in CHEAP} >= {"reading", "reproducibility"}


@pytest.mark.parametrize("page", sorted({*CHEAP, *PYTHON}), ids=named)
def test_its_cheap_commands_and_then_its_python_work(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if page in CHEAP:
        run_commands(page, capsys)
    if page in PYTHON:
        run_python(page, tmp_path)


def run_commands(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of vhat, on one worker."""
    for line in (x for block in blocks(page, "sh") for x in block.text.splitlines()):
        program, *words = line.partition("#")[0].split()
        if program == "vhat":
            here = ["--workers", "1"] if words[0] == "run" else []
            assert main([*words, *here]) == 0, f"{line}: {capsys.readouterr().err}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_its_links_lead_somewhere(page: Path) -> None:
    assert [target for target in links(page) if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_names_of_our_own_code_exist(page: Path) -> None:
    """`core.lab.stats`, `core.optim.RULES` and their like, in prose."""
    for name in re.findall(r"`((?:core|rl|games|finance)(?:\.\w+)+)", prose(page)):
        place, words = ROOT, name.split(".")
        while words and ((place / words[0]).is_dir() or (place / f"{words[0]}.py").is_file()):
            place = place / words.pop(0)
        module = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        assert not words or re.search(rf"\b{words[0]}\b", module.read_text("utf-8")), name


def test_the_index_lists_every_page() -> None:
    listed = links(DOCS / "README.md")
    assert sorted(listed) == sorted(p.name for p in DOCS.glob("*.md") if p.name != "README.md")


def first_column(page: Path, heading: str) -> list[list[str]]:
    """What stands as code in the rows of the first table after a heading, by row."""
    _, _, rest = page.read_text("utf-8").partition(heading)
    rows = re.search(r"\n\n(\|.*?\n)(?:\n|$)", rest, flags=re.S)
    assert rows is not None
    return [re.findall(r"`([^`]+)`", row) for row in rows.group(1).splitlines()[2:]]


def test_every_study_answers_a_question() -> None:
    found = [s for row in first_column(DOCS / "choosing.md", "Which study answers") for s in row]
    # A domain that somebody adds beside these needs no line here.
    ours = ("core", "rl", "games", "finance")
    assert sorted(found) == sorted(name for name, r in studies().items() if r.domain.name in ours)


def test_every_verdict_is_explained() -> None:
    text = prose(DOCS / "reading.md")
    assert all(re.search(rf"^\| {label.value} \|", text, flags=re.M) for label in Label)


def test_every_rule_is_listed_with_its_mathematics() -> None:
    rows = first_column(DOCS / "mathematics.md", "# The mathematics")
    assert [row[0] for row in rows] == list(RULES)


@pytest.fixture(scope="module")
def formulas(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    return run_python(DOCS / "mathematics.md", tmp_path_factory.mktemp("mathematics"))


OTHER = {
    "sgd": [{"momentum": 0.5, "dampening": 0.3, "weight_decay": 0.1}, {"momentum": -0.3}],
    "rmsprop": [{"momentum": 0.5, "weight_decay": 0.1, "alpha": 0.7}],
    "adam": [{"beta1": -0.5, "beta2": 0.5, "eps": 0.1, "amsgrad": True}, {"bias_correction": False}],
    "adamw": [{"amsgrad": True}],
    "signsgd": [{"momentum": 0.9}],
    "normalized_sgd": [{"momentum": 0.9, "eps": 0.5}],
}
CASES = [(rule, other) for rule in RULES for other in ({}, *OTHER.get(rule, []))]


@pytest.mark.parametrize(("name", "other"), CASES, ids=str)
def test_the_page_s_formula_is_the_rule(
    name: str, other: dict[str, float], formulas: dict[str, object]
) -> None:
    rule = RULES[name]
    hyper = {**rule.hyper, **other}
    mapped = {"adam_shared_v": "shared_v", "adam_shuffled_v": "shuffled_v"}.get(name)
    told = {k: v for k, v in hyper.items() if k not in ("maximize", "denominator_map")}
    if mapped is not None:
        told["under_root"] = formulas[mapped]
    formula = formulas[rule.formula.__name__]
    assert callable(formula)
    keys = Keys.of(range(3), study="mathematics")
    params = keys.fold("start").normal(5, dtype=torch.float64)
    theta, page_state, state = params.numpy().copy(), {}, rule.init(params, **other)
    for t in range(1, 31):
        grads = keys.fold("field").at(t).normal(5, dtype=torch.float64) * torch.logspace(-2, 2, 5).double()
        theta, page_state = formula(theta, grads.numpy(), page_state, t, 0.01, **told)
        params, state = rule.step(params, grads, state, lr=0.01, **other)
        np.testing.assert_allclose(theta, params.numpy(), rtol=1e-12, atol=1e-14)


def torch_defaults(optimizer: type[torch.optim.Optimizer]) -> dict[str, object]:
    found = {n: p.default for n, p in inspect.signature(optimizer.__init__).parameters.items()}
    betas = found.pop("betas", None)
    return found | (dict(zip(("beta1", "beta2"), betas, strict=True)) if betas else {})


@pytest.mark.parametrize(
    ("rule", "optimizer", "differ"),
    [
        ("sgd", torch.optim.SGD, set()),
        ("momentum", torch.optim.SGD, {"momentum"}),
        ("nesterov", torch.optim.SGD, {"momentum", "nesterov"}),
        ("rmsprop", torch.optim.RMSprop, set()),
        ("adam", torch.optim.Adam, set()),
        ("adam_l2", torch.optim.Adam, {"weight_decay"}),
        ("amsgrad", torch.optim.Adam, {"amsgrad"}),
        ("adamw", torch.optim.AdamW, set()),
    ],
)
def test_defaults_differ_from_torch_where_the_page_says(
    rule: str, optimizer: type[torch.optim.Optimizer], differ: set[str]
) -> None:
    theirs, ours = torch_defaults(optimizer), RULES[rule].hyper
    shared = set(theirs) & set(ours) - {"decoupled_weight_decay"}
    assert {n for n in shared if theirs[n] != ours[n]} == differ
    assert theirs["lr"] == (1e-2 if optimizer is torch.optim.RMSprop else 1e-3)
