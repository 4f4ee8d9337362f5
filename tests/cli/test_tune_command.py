"""`vhat tune`: a table for whoever has a problem, one line for whoever has made a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.cli import main
from core.problems.quadratic import Canyon

FILE = """
from dataclasses import dataclass

import torch
from torch import nn

from core.lab.errors import VhatError
from core.lab.modules import problem_from
from core.lab.problem import Field
from core.problems.quadratic import Canyon
from helper import curvature

canyon = Canyon(curvature)


def network():
    x = torch.linspace(-1, 1, 20)[:, None]
    return problem_from(nn.Linear(1, 1), nn.functional.mse_loss, (x, 2 * x), batch_size=5)


class Detached(Canyon):
    def field(self, params, keys, step):
        return Field(super().field(params, keys, step).values.detach())


@dataclass
class Own:
    steepness: float = 3.0
    dim: int = 2

    def __post_init__(self):
        canyon = Canyon(self.steepness)
        self.init, self.field, self.measure = canyon.init, canyon.field, canyon.measure


number = 3


def broken():
    raise ZeroDivisionError("first\\nsecond")


def refused():
    raise VhatError("not today")


def needs(argument):
    return canyon
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(FILE)
    (tmp_path / "helper.py").write_text("curvature = 10.0\n")
    return str(tmp_path / "mine.py")


SMALL = ("--steps", "5", "--seeds", "2", "--fresh-seeds", "2", "--budget", "16")


@pytest.mark.parametrize("method", ["hypergradient", "grid", "random"])
def test_a_method_prints_setting_losses_and_cost(
    method: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", f"{file}:canyon", "--measure", "gap", "--method", method, *SMALL]) == 0
    captured = capsys.readouterr()
    head, _, row = captured.out.splitlines()
    for word in ("method", "best setting", "tuning loss", "loss on 2 fresh seeds", "cost"):
        assert word in head
    assert row.startswith(method)
    assert "lr " in row
    assert "beta2 " in row
    assert "1" in row.split(" trainings")[0]
    assert "short-horizon bias" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("name", ["canyon", "Own", "Detached"])
def test_problems_and_classes_of_problems_are_taken(
    name: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", f"{file}:{name}", "--measure", "gap", "--method", "random", *SMALL]) == 0


def test_all_methods_at_equal_cost_on_a_module(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["tune", f"{file}:network", "--compare", "--rule", "momentum", "--over", "lr", *SMALL]
    assert main([*argv, "--fixed", "momentum=0.5", "--ranges", "lr=1e-3:0.1"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[0] for row in rows] == ["hypergradient", "grid", "random"]
    assert all("16 trainings" in row and "momentum 0.5" in row for row in rows)


def test_a_module_that_can_be_imported_serves_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", "core.problems.quadratic:Canyon", "--measure", "gap", *SMALL]) == 0


@pytest.mark.parametrize(
    ("name", "more", "line"),
    [
        ("canon", (), "unknown name 'canon'; did you mean 'canyon'"),
        ("number", (), "is not a problem: it is of type int, without dim, init, field, measure"),
        ("broken", (), "broken() fails: ZeroDivisionError: first second"),
        ("needs", (), "needs() fails: TypeError"),
        ("refused", (), "not today"),
        ("Detached", (), "does not depend differentiably on the parameters"),
        ("Detached", (), "a grid and random points need no derivatives"),
        ("canyon", ("--rule", "adem"), "unknown update rule 'adem'; did you mean 'adam'"),
        ("canyon", ("--over", "lr", "beta3"), "unknown hyperparameter of adam 'beta3'"),
        ("canyon", ("--measure", "gop"), "unknown measure 'gop'; did you mean 'gap'"),
        ("canyon", ("--method", "gird"), "unknown method 'gird'; did you mean 'grid'"),
        ("canyon", ("--budget", "3"), "does not pay one from each of 2 starts"),
        ("canyon", ("--seeds", "1"), "at least two seeds"),
        ("canyon", ("--steps", "0"), "needs steps"),
        ("canyon", ("--ranges", "lr=1"), "cannot read 'lr=1'; write NAME=LOWEST:HIGHEST"),
        ("canyon", ("--fixed", "eps"), "cannot read 'eps'; write NAME=VALUE"),
        ("canyon", ("--device", "nonsense"), "device 'nonsense' cannot be used"),
        (
            "canyon",
            ("--rule", "sgd", "--over", "lr", "--ranges", "lr=1e99:1e100", "--method", "grid"),
            "every training diverged",
        ),
    ],
)
def test_a_mistake_is_one_line(
    name: str, more: tuple[str, ...], line: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tune", f"{file}:{name}", "--measure", "gap", *SMALL, *more]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: ")
    assert line in captured.err


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("mine.py", "'mine.py' names no problem; write FILE.py:NAME"),
        ("nowhere.py:x", "there is no file nowhere.py"),
        ("no.such.module:x", "there is no module no; a file's name ends in .py"),
        ("{folder}/syntax.py:x", "syntax.py fails: SyntaxError"),
        ("{folder}/exits.py:x", "exits.py fails: SystemExit: 3"),
        ("{folder}/lacks.py:x", "lacks.py fails: ModuleNotFoundError: No module named 'nothing_here'"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(
    target: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "syntax.py").write_text("def broken(:\n")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "lacks.py").write_text("import nothing_here\n")
    assert main(["tune", target.format(folder=tmp_path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert line in captured.err


def test_help_names_the_methods(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["tune", "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert all(
        word in text
        for word in ("FILE.py:NAME", "hypergradient, grid or random", "--compare", "--over", "--clip")
    )


def test_ctrl_c_is_one_line_that_promises_nothing(
    file: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Canyon, "field", interrupted)
    assert main(["tune", f"{file}:canyon", "--measure", "gap", *SMALL]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: stopped; a search that has not ended keeps nothing\n"
