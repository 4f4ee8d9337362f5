"""Bad input to every public function: a typed error that says in a line what is wrong and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from core.lab import commands
from core.lab.compare import compare
from core.lab.conformance import check_problem
from core.lab.errors import ConformanceError, VhatError
from core.lab.measurement import Measurement
from core.lab.modules import problem_from
from core.lab.new_domain import write_domain
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.store_health import examine
from core.lab.study import Plan
from core.lab.sweep import Objective
from core.lab.trust import Trial
from core.lab.tune import tune
from core.lab.variant import Grid, Variant
from finance.constraints import Constraints
from finance.csvfile import CsvFile
from finance.embedded import Embedded
from finance.frontier import efficient_frontier
from finance.yahoo import Yahoo
from games.own import game_from, game_of
from rl.agents import load
from tests.cli.bad_command_lines import SCRIPTS, VHAT
from tests.lab import bowls

pytestmark = pytest.mark.usefixtures("bad_folder")


class Own(bowls.Bowl):
    """The bowl with one thing wrong."""

    def __init__(self, **wrong: object) -> None:
        super().__init__()
        for name, value in wrong.items():
            setattr(self, name, value)


X, Y = torch.randn(8, 3), torch.randn(8, 1)
NET = nn.Linear(3, 1)
MSE = nn.functional.mse_loss
EYE, ONES = np.eye(3), np.ones(3)
PLAIN = {"steps": 3, "seeds": 2, "tuning_seeds": 2}


def plain_field(values: object) -> Callable[..., object]:
    return lambda params, keys, step: values(params)  # type: ignore[operator]


CALLS: list[tuple[str, Callable[[], object], str]] = [
    ("compare: no variants", lambda: compare(bowls.Bowl(), [], **PLAIN), "variant"),
    ("compare: rule", lambda: compare(bowls.Bowl(), ["adma"], **PLAIN), "did you mean 'adam'"),
    ("compare: same twice", lambda: compare(bowls.Bowl(), ["adam", "adam"], **PLAIN), "adam"),
    ("compare: lr 0", lambda: compare(bowls.Bowl(), ["sgd"], lr=(0.0, 1.0), **PLAIN), "0 < low"),
    ("compare: lr < 0", lambda: compare(bowls.Bowl(), ["sgd"], lr=(-1.0, 1.0), **PLAIN), "0 < low"),
    ("compare: lr NaN", lambda: compare(bowls.Bowl(), ["sgd"], lr=(float("nan"), 1.0), **PLAIN), "0 < low"),
    ("compare: lr inf", lambda: compare(bowls.Bowl(), ["sgd"], lr=(0.1, float("inf")), **PLAIN), "0 < low"),
    ("compare: lr back", lambda: compare(bowls.Bowl(), ["sgd"], lr=(1.0, 0.1), **PLAIN), "0 < low"),
    ("compare: no rate", lambda: compare(bowls.Bowl(), ["sgd"], lr=(0.4, 0.5), **PLAIN), "wider range"),
    ("compare: a number", lambda: compare(bowls.Bowl(), ["sgd"], lr=0.1, **PLAIN), "lr"),  # type: ignore[arg-type]
    ("compare: steps", lambda: compare(bowls.Bowl(), ["sgd"], **{**PLAIN, "steps": 0}), "step"),
    ("compare: seeds", lambda: compare(bowls.Bowl(), ["sgd"], **{**PLAIN, "seeds": 0}), "seeds"),
    ("compare: tuning", lambda: compare(bowls.Bowl(), ["sgd"], **{**PLAIN, "tuning_seeds": 0}), "seeds"),
    ("compare: points", lambda: compare(bowls.Bowl(), ["sgd"], points=0, **PLAIN), "point"),
    ("compare: objective", lambda: compare(bowls.Bowl(), ["sgd"], objective="los", **PLAIN), "loss"),
    ("compare: out", lambda: compare(bowls.Bowl(), ["sgd"], out="file/x", **PLAIN), "file"),
    ("compare: not a problem", lambda: compare(object(), ["sgd"], **PLAIN), "problem"),  # type: ignore[arg-type]
    ("compare: a string", lambda: compare(bowls.Bowl(), "adam", **PLAIN), "list"),
    ("problem_from: no parameters", lambda: problem_from(nn.Tanh(), MSE, (X, Y)), "no parameters"),
    ("problem_from: buffers", lambda: problem_from(nn.BatchNorm1d(3), MSE, (X, X)), "LayerNorm"),
    ("problem_from: lengths", lambda: problem_from(NET, MSE, (X, Y[:3])), "same, non-zero length"),
    ("problem_from: no data", lambda: problem_from(NET, MSE, ()), "same, non-zero length"),
    ("problem_from: no rows", lambda: problem_from(NET, MSE, (X[:0], Y[:0])), "same, non-zero length"),
    ("problem_from: batch", lambda: problem_from(NET, MSE, (X, Y), batch_size=0), "batch_size"),
    ("problem_from: large batch", lambda: problem_from(NET, MSE, (X, Y), batch_size=9), "batch_size"),
    ("problem_from: shape", lambda: problem_from(NET, MSE, (X[:, :2], Y)), "fails on the data"),
    ("problem_from: dtype", lambda: problem_from(NET, MSE, (X.double(), Y)), "fails on the data"),
    ("problem_from: whole numbers", lambda: problem_from(NET, MSE, (X.int(), Y)), "fails on the data"),
    ("problem_from: loss", lambda: problem_from(NET, lambda p, y: p - y, (X, Y)), "one number"),
    ("problem_from: device", lambda: problem_from(NET, MSE, (X, Y), device="gpu"), "device"),
    ("problem_from: array", lambda: problem_from(NET, MSE, (np.ones((8, 3)), Y)), "tensor"),  # type: ignore[arg-type]
    ("problem_from: dropout", lambda: problem_from(nn.Sequential(NET, nn.Dropout()), MSE, (X, Y)), "ropout"),
    ("tune: rule", lambda: tune(bowls.Bowl(), "adma", steps=3), "did you mean 'adam'"),
    ("tune: steps", lambda: tune(bowls.Bowl(), "adam", steps=0), "steps"),
    ("tune: no names", lambda: tune(bowls.Bowl(), "adam", steps=3, over=()), "hyperparameter"),
    ("tune: name", lambda: tune(bowls.Bowl(), "adam", steps=3, over=("beta9",)), "did you mean"),
    ("tune: method", lambda: tune(bowls.Bowl(), "adam", steps=3, method="gird"), "did you mean"),  # type: ignore[arg-type]
    ("tune: starts", lambda: tune(bowls.Bowl(), "adam", steps=3, starts=0), "start"),
    ("tune: rate", lambda: tune(bowls.Bowl(), "adam", steps=3, rate=float("nan")), "rate"),
    ("tune: mode", lambda: tune(bowls.Bowl(), "adam", steps=3, mode="back"), "mode"),  # type: ignore[arg-type]
    ("Keys: none", lambda: Keys.of([]), "at least one seed"),
    ("Keys: copies", lambda: Keys.of([1], copies=0), "one copy"),
    ("Keys: a fraction", lambda: Keys.of([0.5]), "seed"),  # type: ignore[list-item]
    ("Keys: a word", lambda: Keys.of(["x"]), "seed"),  # type: ignore[list-item]
    ("Keys: integers", lambda: Keys.of([1, 2]).integers(0), "high >= 1"),
    ("Variant: rule", lambda: Variant("a", "adma"), "did you mean 'adam'"),
    ("Variant: lr", lambda: Variant("a", "adam", {"lr": 0.1}), "tuned on a grid"),
    ("Variant: unknown", lambda: Variant("a", "adam", {"beta3": 0.1}), "beta3"),
    ("Variant: beta1", lambda: Variant("a", "adam", {"beta1": 1.0}), "beta1"),
    ("Variant: NaN", lambda: Variant("a", "adam", {"beta2": float("nan")}), "beta2"),
    ("Variant: eps", lambda: Variant("a", "adam", {"eps": -1.0}), "eps"),
    ("Variant: no values", lambda: Variant("a", "adam", tune={"beta1": ()}), "at least one value"),
    ("Variant: bad values", lambda: Variant("a", "adam", tune={"beta1": (0.5, 2.0)}), "beta1"),
    ("Variant: no name", lambda: Variant("", "adam"), "name"),
    ("Grid: empty", lambda: Grid(1, 0), "empty grid"),
    ("Grid: points", lambda: Grid(0, 1, 0), "empty grid"),
    ("Grid: zero", lambda: Grid.between(0.0, 1.0), "0 < low"),
    ("Grid: NaN", lambda: Grid.between(float("nan"), 1.0), "0 < low"),
    ("Recording: points", lambda: Recording(0), "at least 1 point"),
    ("Recording: spacing", lambda: Recording(spacing="cubic"), "linear"),  # type: ignore[arg-type]
    ("Objective: statistic", lambda: Objective("loss", "best"), "best"),  # type: ignore[arg-type]
    ("Plan: seeds", lambda: Plan("own", 3, 2, 5).with_seeds(1), "at least 2"),
    ("check_problem: seeds", lambda: check_problem(bowls.Bowl(), seeds=2), "at least 4"),
    ("check_problem: shape", lambda: check_problem(Own(init=lambda keys: keys.normal(2))), "give [R, D]"),
    ("check_problem: dtype", lambda: check_problem(Own(init=lambda keys: keys.integers(9, 3))), "floating"),
    (
        "check_problem: NaN",
        lambda: check_problem(Own(init=lambda keys: keys.normal(3) * float("nan"))),
        "not finite",
    ),
    (
        "check_problem: tensor",
        lambda: check_problem(Own(field=plain_field(lambda p: p))),
        "Field",
    ),
    (
        "check_problem: mixing",
        lambda: check_problem(Own(field=plain_field(lambda p: Field(p - p.mean(0))))),
        "batch",
    ),
    (
        "check_problem: random",
        lambda: check_problem(Own(field=plain_field(lambda p: Field(torch.randn_like(p))))),
        "key alone",
    ),
    ("check_problem: None", lambda: check_problem(None), "problem"),  # type: ignore[arg-type]
    ("frontier: shapes", lambda: efficient_frontier(ONES, np.eye(2)), "3"),
    ("frontier: NaN", lambda: efficient_frontier(ONES * np.nan, EYE), "finite"),
    ("frontier: infinite", lambda: efficient_frontier(ONES, np.full((3, 3), np.inf)), "finite"),
    ("frontier: negative", lambda: efficient_frontier(ONES, -EYE), "semidefinite"),
    ("frontier: lopsided", lambda: efficient_frontier(ONES, EYE + np.eye(3, k=1)), "symmetric"),
    ("frontier: no asset", lambda: efficient_frontier(np.ones(0), np.ones((0, 0))), "shape (0,)"),
    ("frontier: words", lambda: efficient_frontier(np.array(["a", "b", "c"]), EYE), "number"),  # type: ignore[arg-type]
    ("frontier: upper", lambda: efficient_frontier(ONES, EYE, Constraints(upper=0.1)), "upper"),
    ("frontier: gamma", lambda: efficient_frontier(ONES, EYE).at_risk_aversion(-1.0), "negative"),
    ("frontier: return", lambda: efficient_frontier(ONES, EYE).at_return(2.0), "greatest is 1"),
    ("frontier: risk", lambda: efficient_frontier(ONES, EYE).at_risk(0.0), "least is"),
    ("prices: file", lambda: CsvFile(Path("nowhere.csv")).fetch(None, None, None), "nowhere.csv"),
    ("prices: ticker of a file", lambda: CsvFile(Path("short.csv")).fetch(("CCC",), None, None), "CCC"),
    ("prices: day of a file", lambda: CsvFile(Path("short.csv")).fetch(None, "x", None), "x"),
    ("prices: embedded ticker", lambda: Embedded().fetch(("APPL",), None, None), "AAPL"),
    ("prices: embedded days", lambda: Embedded().fetch(None, "2090-01-01", None), "2090"),
    ("prices: no dataset", lambda: Embedded("nothing").fetch(None, None, None), "nothing"),  # type: ignore[arg-type]
    ("prices: no ticker", lambda: Yahoo().fetch(None, None, None), "ticker"),
    ("prices: empty ticker", lambda: Yahoo().fetch(("",), "2020-01-01", "2020-02-01"), "ticker"),
    ("prices: day", lambda: Yahoo().fetch(("AAPL",), "soon", None), "soon"),
    (
        "game_from: losses",
        lambda: game_from(modules=(NET, NET), losses=(MSE,), sample=lambda k: (k.normal(3),)),
        "loss",
    ),
    (
        "game_from: no modules",
        lambda: game_from(modules=(), losses=(), sample=lambda k: (k.normal(3),)),
        "module",
    ),
    (
        "game_from: no parameters",
        lambda: game_from(modules=(nn.Tanh(), NET), losses=(MSE, MSE), sample=lambda k: (k.normal(3),)),
        "parameters",
    ),
    (
        "game_from: fails",
        lambda: game_from(
            modules=(NET, NET), losses=(lambda a, b, x: a(x[:2]), MSE), sample=lambda k: (k.normal(3),)
        ),
        "fails",
    ),
    ("policies: no archive", lambda: load(Path("file")), "file"),
    ("policies: no file", lambda: load(Path("nowhere.npz")), "nowhere.npz"),
    ("write_domain: name", lambda: write_domain("Tides"), "small letters"),
    ("examine: no store", lambda: examine(Path("file")), "file"),
    ("examine: old store", lambda: examine(Path("old") / commands.RESULTS), "another version"),
    ("trust: unwritable", lambda: Trial("kill", "x", True, 0.0).save(Path("file")), "cannot write"),
    (
        "Measurement: seeds",
        lambda: Measurement("m", "s", bowls.draw, ({"scale": 1.0},), 1),
        "at least 2 seeds",
    ),
    ("Measurement: cells", lambda: Measurement("m", "s", bowls.draw, (), 4), "no cells"),
    ("prices: no CSV columns", lambda: CsvFile(Path("one.csv")).fetch(None, None, None), "column"),
    ("game_of: sizes", lambda: game_of(lambda z: z, sizes=()), "size"),
    ("game_of: zero", lambda: game_of(lambda z: z, sizes=(0, 1)), "size"),
    ("game_of: shape", lambda: game_of(lambda z: z[:1], sizes=(1, 1)), "give (2,)"),
]


@pytest.mark.parametrize(("call", "word"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_python(call: Callable[[], object], word: str) -> None:
    with pytest.raises((VhatError, ConformanceError, ValueError)) as caught:
        call()
    said = str(caught.value)
    assert word in said
    assert "\n" not in said
    assert len(said) > 15


def test_the_table_is_long_and_names_everything_once() -> None:
    cases = [
        *(" ".join(a) for a, _ in VHAT),
        *(f"{n} {' '.join(a)}" for n, a, _ in SCRIPTS),
        *(c[0] for c in CALLS),
    ]
    assert len(cases) == len(set(cases)) >= 80
