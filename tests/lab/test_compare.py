"""The one call for a problem of one's own, on a ridge regression whose answer is a linear solve."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from core.lab.compare import Comparison, compare
from core.lab.errors import ConformanceError, VhatError
from core.lab.modules import ModuleProblem, problem_from
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.store import Store
from core.lab.sweep import Objective
from core.lab.variant import Grid, Variant
from tests.lab.bowls import Bowl

RIDGE = 0.1


class Ridge(nn.Module):
    """A linear model that adds its own penalty."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 1, bias=False).double()

    def forward(self, x: Tensor) -> Tensor:
        penalty = RIDGE * self.linear.weight.square().sum()
        return torch.cat([self.linear(x), penalty.expand(len(x), 1)], dim=1)


def loss(out: Tensor, y: Tensor) -> Tensor:
    return (out[:, :1] - y).square().mean() + out[0, 1]


def ridge() -> tuple[ModuleProblem, float]:
    """The problem, and the least loss there is, by a linear solve."""
    x = Keys.of([0]).normal(50, 3, dtype=torch.float64)[0] * torch.tensor(
        [1.0, 3.0, 0.3], dtype=torch.float64
    )
    y = x.sum(dim=1, keepdim=True) + 0.1 * Keys.of([1]).normal(50, 1, dtype=torch.float64)[0]
    best = torch.linalg.solve(x.T @ x / 50 + RIDGE * torch.eye(3, dtype=torch.float64), x.T @ y / 50)
    least = (x @ best - y).square().mean() + RIDGE * best.square().sum()
    return problem_from(Ridge(), loss, (x, y)), float(least)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, float, Path]:
    problem, least = ridge()
    out = tmp_path_factory.mktemp("compare") / "run.sqlite"
    tried = ["sgd", Variant("Momentum", "momentum", tune={"momentum": (0.5, 0.8)}), "adam"]
    return compare(problem, tried, steps=400, lr=(0.01, 0.1), seeds=6, tuning_seeds=4, out=out), least, out


def test_tuned_variants_reach_the_exact_solution(comparison: tuple[Comparison, float, Path]) -> None:
    found, least, _ = comparison
    for name in ("sgd", "Momentum", "adam"):
        values = found.result.values("own problem", name)
        assert (values >= least - 1e-12).all()
        assert values == pytest.approx(least, rel=1e-3)
    assert set(found.best("sgd")) == {"lr"}
    assert set(found.best("Momentum")) == {"lr", "momentum"}


def test_the_table_has_every_variant_with_intervals(comparison: tuple[Comparison, float, Path]) -> None:
    found, _, out = comparison
    assert [row[0] for row in found.table.rows] == ["sgd", "Momentum", "adam"]
    assert found.table.rows[0][-1] == ""
    for row in found.table.rows:
        assert row[1].startswith("lr ")
        assert all("[" in cell for cell in row[2:4])
    assert str(found).count("\n") >= 4
    assert "<table>" in found._repr_html_()
    assert out.exists()


def test_saving_writes_table_figure_and_summary(
    comparison: tuple[Comparison, float, Path], tmp_path: Path
) -> None:
    found, least, _ = comparison
    folder = found.save(tmp_path / "new" / "folder")
    assert sorted(p.name for p in folder.iterdir()) == ["comparison.svg", "summary.json", "table.txt"]
    summary = json.loads((folder / "summary.json").read_text())
    assert float(summary["adam"]["objective"]) == pytest.approx(least, rel=0.01)
    assert summary["sgd"]["setting"] == found.best("sgd")
    assert (folder / "table.txt").read_text().strip() == str(found)
    assert (folder / "comparison.svg").read_text().startswith("<?xml")
    (tmp_path / "file").write_text("")
    with pytest.raises(VhatError, match="cannot write into"):
        found.save(tmp_path / "file")
    with pytest.raises(KeyError):
        found.best("Adam")


def test_the_same_call_gives_the_same_bits_in_another_order() -> None:
    one = compare(Bowl(), ["sgd", "adam"], steps=20, seeds=4, tuning_seeds=2)
    two = compare(Bowl(), ["adam", "sgd"], steps=20, seeds=4, tuning_seeds=2)
    for name in ("sgd", "adam"):
        assert np.array_equal(one.result.values("own problem", name), two.result.values("own problem", name))


def test_a_later_call_on_the_same_file_takes_nothing_from_another_problem(tmp_path: Path) -> None:
    out = tmp_path / "run.sqlite"
    quiet = compare(Bowl(noise=0.0), ["sgd"], steps=10, seeds=3, tuning_seeds=2, out=out)
    loud = compare(Bowl(noise=5.0), ["sgd"], steps=10, seeds=3, tuning_seeds=2, out=out)
    fresh = compare(Bowl(noise=5.0), ["sgd"], steps=10, seeds=3, tuning_seeds=2)
    values = [c.result.values("own problem", "sgd") for c in (quiet, loud, fresh)]
    assert not np.array_equal(values[0], values[1])
    assert np.array_equal(values[1], values[2])


class Meets(Bowl):
    """While it is trained another process compares on the same file."""

    def __init__(self, out: Path, other: list[str]) -> None:
        super().__init__(noise=5.0)
        self.out, self.other = out, other

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        if len(params) > 5 and not self.other:
            self.other.append(
                subprocess.run(
                    [sys.executable, "-c", OTHER, str(self.out)],
                    cwd=ROOT,
                    capture_output=True,
                    text=True,
                    check=False,
                ).stderr
            )
        return super().measure(params, keys)


ROOT = Path(__file__).resolve().parents[2]
OTHER = """
import sys
from core.lab.compare import compare
from tests.lab.bowls import Bowl
compare(Bowl(noise=0.0), ["sgd"], steps=10, seeds=3, tuning_seeds=2, out=sys.argv[1])
"""


def test_two_processes_on_one_file_take_nothing_from_each_other(tmp_path: Path) -> None:
    out, other = tmp_path / "run.sqlite", list[str]()
    together = compare(Meets(out, other), ["sgd"], steps=10, seeds=3, tuning_seeds=2, out=out)
    assert len(other) == 1
    assert "Error" not in other[0]
    alone = compare(Bowl(noise=5.0), ["sgd"], steps=10, seeds=3, tuning_seeds=2)
    values = [c.result.values("own problem", "sgd") for c in (together, alone)]
    assert np.array_equal(*values)
    store = Store(out, reading=True)
    # Both runs are kept: the other began while this one went on.
    assert len({s.code for s in store.shards("compare")}) == 2
    store.close()
    compare(Bowl(), ["sgd"], steps=10, seeds=3, tuning_seeds=2, out=out)
    store = Store(out, reading=True)
    assert len({s.code for s in store.shards("compare")}) == 1
    store.close()


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    out = tmp_path / "notes.txt"
    out.write_text("mine\n")
    with pytest.raises(VhatError, match="no store of vhat"):
        compare(Bowl(), ["sgd"], steps=5, seeds=3, tuning_seeds=2, out=out)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("notes.txt", "mine\n")]


class Broken(Bowl):
    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        return Field(params.mean(dim=0).expand(len(params), -1))


class FailsLate(Bowl):
    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        if len(params) > 5:
            raise RuntimeError("too many\nrows")
        return super().measure(params, keys)


@pytest.mark.parametrize(
    ("wrong", "line"),
    [
        ({"variants": ["adm"]}, "did you mean 'adam'"),
        ({"variants": []}, "needs variants"),
        ({"variants": ["sgd", "sgd"]}, "names of their own"),
        ({"lr": (0.0, 1.0)}, "0 < low <= high"),
        ({"lr": (1.0, 0.1)}, "0 < low <= high"),
        ({"lr": (0.2, 0.25)}, "no learning rate"),
        ({"seeds": 1}, "2 seeds"),
        ({"tuning_seeds": 0}, "2 seeds"),
        ({"steps": 0}, "1 step"),
        ({"points": 0}, "at least 1 point"),
        ({"objective": "los"}, "unknown measure 'los'; did you mean 'loss'"),
        ({"objective": Objective("los", at="hit", threshold=0.1)}, "unknown measure 'los'"),
        ({"out": Path(__file__).parent}, "cannot open"),
        ({"out": Path(__file__) / "x"}, "cannot make the folder"),
        ({"problem": FailsLate()}, "RuntimeError: too many rows"),
    ],
)
def test_each_error_is_one_line(wrong: dict[str, Any], line: str) -> None:
    given: dict[str, Any] = {
        "problem": Bowl(),
        "variants": ["sgd"],
        "steps": 5,
        "seeds": 3,
        "tuning_seeds": 3,
        **wrong,
    }
    with pytest.raises(VhatError, match=line) as caught:
        compare(given.pop("problem"), given.pop("variants"), **{"lr": Grid(-2, -1), **given})
    assert "\n" not in str(caught.value)


def test_a_problem_that_breaks_the_contract_is_not_trained() -> None:
    with pytest.raises(ConformanceError, match="field differs in a batch"):
        compare(Broken(), ["sgd"], steps=5)
