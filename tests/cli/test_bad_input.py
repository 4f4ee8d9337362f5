"""Bad input to every command and public function: a code other than 0, or a typed error, that says in a line
what is wrong, where, and what to do; no traceback, and nothing computed first."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
import tyro
from torch import nn

from core.cli import main
from core.lab import commands, looks, retrial
from core.lab.compare import compare
from core.lab.conformance import check_problem
from core.lab.errors import ConformanceError, VhatError, nearest
from core.lab.measurement import Measurement
from core.lab.modules import problem_from
from core.lab.new_domain import write_domain
from core.lab.problem import Field
from core.lab.random import Keys
from core.lab.registry import Registered
from core.lab.run import Recording
from core.lab.store import Store, examine
from core.lab.study import Plan
from core.lab.sweep import Objective
from core.lab.terminal import guarded
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
from tests.lab import bowls
from tests.script_modules import script_module

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files that are not what they should be; the tiny bowl in place of all studies."""

    def find(name: str) -> Registered:
        if name != "tiny-bowl":
            raise VhatError(nearest(name, ["tiny-bowl"], kind="study"))
        return bowls.REGISTERED

    monkeypatch.setattr(commands, "find", find)
    monkeypatch.setattr(commands, "studies", lambda: {"tiny-bowl": bowls.REGISTERED})
    monkeypatch.delenv("VHAT_DEBUG", raising=False)
    monkeypatch.setenv("VHAT_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("I was here first")
    (tmp_path / "empty").mkdir()
    (tmp_path / "old").mkdir()
    store = Store(tmp_path / "old" / commands.RESULTS)
    store._db.execute("PRAGMA user_version=9")
    store.close()
    (tmp_path / "garbled").mkdir()
    (tmp_path / "garbled" / commands.RESULTS).write_bytes(b"\x1b[31m" * 3000)
    # Its answer takes seconds, and has nothing to do with what was typed.
    monkeypatch.setattr(looks, "_same_bits", lambda device: looks.Check("same bits", "fine", "as before"))
    for name, text in OWN_FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


BOWL = """
import torch
from core.lab.problem import Field
class Bowl:
    dim = 2
    def init(self, keys): return keys.normal(2)
    def field(self, params, keys, step): return Field(params)
    def measure(self, params, keys): return {"loss": (params ** 2).sum(1)}
"""
OWN_FILES = {
    "bowl.py": BOWL,
    "broken.py": "def f(:\n",
    "raises.py": "raise OSError('no such luck')\n",
    "nothing.py": "x = 3\n",
    "wide.py": BOWL.replace("normal(2)", "normal(3)"),
    "whole.py": BOWL.replace("keys.normal(2)", "keys.integers(5, 2)"),
    "nan.py": BOWL.replace("Field(params)", "Field(params * float('nan'))"),
    "silent.py": BOWL.replace('{"loss": (params ** 2).sum(1)}', "{}"),
    "mixing.py": BOWL.replace("Field(params)", "Field(params - params.mean(0))"),
    "empty.csv": "",
    "head.csv": "date,AAA,BBB\n",
    "one.csv": "date\n2020-01-01\n",
    "words.csv": "date,AAA\n2020-01-01,many\n2020-01-02,3\n",
    "days.csv": "date,AAA\nyesterday,1\n2020-01-02,3\n",
    "twice.csv": "date,AAA,AAA\n2020-01-01,1,2\n2020-01-02,3,4\n",
    "backwards.csv": "date,AAA\n2020-01-02,1\n2020-01-01,3\n",
    "ragged.csv": "date,AAA,BBB\n2020-01-01,1\n2020-01-02,3,4\n",
    "negative.csv": "date,AAA\n2020-01-01,-1\n2020-01-02,3\n",
    "odd.csv": "date,AAA\n2020-01-01,1\n2020-01-02,12_5\n",
    "short.csv": "date,AAA,BBB\n2020-01-01,1,2\n2020-01-02,1.1,2.2\n",
}

RUN = ("run", "tiny-bowl", "--tiny", "--workers", "1")
TUNE = ("tune", "bowl.py:Bowl", "--steps", "3")
VHAT = [
    ((), "list"),
    (("rnu",), "run"),
    (("list", "--tiny"), "add --verdicts"),
    (("list", "--verdicts", "--tiny", "--quick"), "exclude each other"),
    (("list", "--verdicts", "--out", "file"), "--out"),
    (("list", "extra"), "extra"),
    (("run", "tiny-bwl"), "did you mean 'tiny-bowl'"),
    (("run", ""), "unknown study ''"),
    (("run", "tiny-bowl", "x" * 300), "unknown study"),
    (("run", "<b>"), "unknown study '<b>'"),
    ((*RUN, "--seeds", "0"), "--seeds needs at least 2"),
    ((*RUN, "--seeds", "nan"), "seeds"),
    ((*RUN, "--seeds", "2.5"), "seeds"),
    ((*RUN, "--seeds", "-1"), "--seeds needs at least 2"),
    ((*RUN, "--full"), "exclude each other"),
    (("run", "tiny-bowl", "--workers", "0"), "--workers needs at least 1"),
    (("run", "tiny-bowl", "--workers", "-2"), "--workers needs at least 1"),
    (("run", "tiny-bowl", "--workers", "all"), "workers"),
    ((*RUN, "--device", "gpu"), "use --device cpu"),
    ((*RUN, "--device", "cuda:77"), "use --device cpu"),
    ((*RUN, "--out", "file"), "--out"),
    ((*RUN, "--out", "file/deeper"), "--out"),
    ((*RUN, "--out", "/proc/none"), "--out"),
    ((*RUN, "--out", "old"), "another version of vhat"),
    ((*RUN, "--out", "n" * 300), "--out"),
    ((*RUN, "--out", "nul\0byte"), "--out"),
    ((*RUN, "--ot", "x"), "--out"),
    (("plan",), "STUDY"),
    (("plan", "canyno"), "unknown study 'canyno'"),
    (("plan", "tiny-bowl", "--tiny", "--full"), "exclude each other"),
    (("plan", "tiny-bowl", "--seeds", "1"), "--seeds needs at least 2"),
    (("plan", "tiny-bowl", "--device", "gpu"), "use --device cpu"),
    (("plan", "tiny-bowl", "--out", "file"), "--out"),
    (("show",), "STUDY"),
    (("show", "canyno"), "unknown study 'canyno'"),
    (("show", "tiny-bowl", "--out", "nowhere"), "there is no folder"),
    (("show", "tiny-bowl", "--out", "empty"), "there are no results"),
    (("show", "tiny-bowl", "--out", "file"), "--out"),
    (("show", "tiny-bowl", "--out", "old"), "another version of vhat"),
    (("report", "--out", "nowhere"), "there is no folder"),
    (("report", "--out", "empty"), "there are no results"),
    (("report", "--out", "old"), "another version of vhat"),
    (("report", "--out", "file"), "--out"),
    (("report", "tiny-bowl"), "tiny-bowl"),
    (("report", "--out", "n" * 300), "--out"),
    (("clean", "tiny-bwl"), "did you mean 'tiny-bowl'"),
    (("clean", "--out", "nowhere"), "there is no folder"),
    (("clean", "--out", "old"), "another version of vhat"),
    (("clean", "--out", "file"), "--out"),
    (("tune",), "FILE.py:NAME"),
    (("tune", "bowl.py"), "FILE.py:NAME"),
    (("tune", "nowhere.py:Bowl"), "there is no file nowhere.py"),
    (("tune", "no.module:Bowl"), "there is no module"),
    (("tune", "bowl.py:Bwl"), "did you mean 'Bowl'"),
    (("tune", "broken.py:Bowl"), "broken.py fails: SyntaxError"),
    (("tune", "raises.py:Bowl"), "raises.py fails: OSError: no such luck"),
    (("tune", "nothing.py:x"), "is not a problem"),
    (("tune", "wide.py:Bowl", "--steps", "3"), "give [R, D]"),
    (("tune", "whole.py:Bowl", "--steps", "3"), "floating-point"),
    (("tune", "nan.py:Bowl", "--steps", "3"), "diverged"),
    (("tune", "silent.py:Bowl", "--steps", "3"), "loss"),
    ((*TUNE, "--rule", "adma"), "did you mean 'adam'"),
    ((*TUNE, "--method", "gird"), "did you mean 'grid'"),
    ((*TUNE, "--over", "beta3"), "did you mean"),
    ((*TUNE, "--ranges", "lr"), "NAME=LOWEST:HIGHEST"),
    ((*TUNE, "--ranges", "lr=1:0.1"), "lr"),
    ((*TUNE, "--ranges", "lr=0:1"), "lr"),
    ((*TUNE, "--ranges", "lr=nan:1"), "lr"),
    ((*TUNE, "--ranges", "lr=0.1:inf"), "lr"),
    ((*TUNE, "--ranges", "beta1=0.5:1.5"), "beta1"),
    ((*TUNE, "--fixed", "eps"), "NAME=VALUE"),
    ((*TUNE, "--fixed", "eps=nan"), "eps"),
    ((*TUNE, "--fixed", "eps=-1"), "eps"),
    ((*TUNE, "--fixed", "esp=1"), "did you mean 'eps'"),
    ((*TUNE, "--fixed", "lr=0.1"), "lr"),
    ((*TUNE, "--seeds", "1"), "two seeds"),
    ((*TUNE, "--fresh-seeds", "0"), "two seeds"),
    ((*TUNE, "--budget", "0"), "budget"),
    ((*TUNE, "--budget", "1"), "budget of 1"),
    (("tune", "bowl.py:Bowl", "--steps", "0"), "steps"),
    (("tune", "bowl.py:Bowl", "--steps", "-3"), "steps"),
    ((*TUNE, "--measure", "los"), "loss"),
    ((*TUNE, "--device", "gpu"), "use --device cpu"),
    (("run", "tiny-bowl", "--engine", "dsak"), "did you mean 'dask'"),
    (("run", "tiny-bowl", "--engine", "dask"), "--scheduler"),
    (("run", "tiny-bowl", "--scheduler", "tcp://127.0.0.1:1"), "--engine dask"),
    (("export", "canyno"), "unknown study 'canyno'"),
    (("export", "--out", "nowhere"), "there is no folder"),
    (("export", "--out", "old"), "another version of vhat"),
    (("doctor", "extra"), "extra"),
    (("doctor", "--device", "gpu"), "use --device cpu"),
    (("doctor", "--out", "file"), "--out"),
    (("doctor", "--out", "file/deeper"), "--out"),
    (("doctor", "--out", "old"), "another version of vhat"),
    (("doctor", "--out", "n" * 300), "--out"),
    (("doctor", "--out", "nul\0byte"), "--out"),
    (("doctor", "--out", "garbled"), "cannot be read"),
    (("doctor", "--full", "--out", "file"), "--out"),
    (("new-domain",), "NAME"),
    (("new-domain", ""), "small letters"),
    (("new-domain", "Tides"), "small letters"),
    (("new-domain", "tide-tables"), "small letters"),
    (("new-domain", "class"), "small letters"),
    (("new-domain", "../tides"), "small letters"),
    (("new-domain", "n" * 300), "small letters"),
    (("new-domain", "torch"), "would hide the module"),
    (("new-domain", "tides", "--into", "file"), "--into"),
    (("new-domain", "tides", "--into", "nul\0byte"), "--into"),
    (("new-domain", "tides", "--into", "n" * 300), "--into"),
]
RL = ("--updates", "2", "--seeds", "2", "--episodes", "2", "--horizon", "5", "--hidden", "4")
FINANCE = ("--out", "sheet")
SCRIPTS = [
    ("reproduce", ("--plan", "tyni"), "tiny"),
    ("reproduce", ("--plan", "tiny", "--workers", "0"), "--workers"),
    ("reproduce", ("--plan", "tiny", "--device", "gpu"), "use --device cpu"),
    ("reproduce", ("--plan", "tiny", "--out", "file"), "--out"),
    ("reproduce", ("--plan", "tiny", "--out", "old"), "another version of vhat"),
    ("rl", (*RL, "--env", "CartPol-v1"), "CartPole-v1"),
    ("rl", (*RL, "--env", "MountainCa-v9"), "MountainCa"),
    ("rl", (*RL, "--env", ""), "task"),
    ("rl", (*RL, "--optimizer", "adma"), "did you mean 'adam'"),
    ("rl", (*RL, "--lr", "0"), "lr"),
    ("rl", (*RL, "--lr", "-1"), "lr"),
    ("rl", (*RL, "--lr", "nan"), "lr"),
    ("rl", (*RL, "--lr", "inf"), "lr"),
    ("rl", (*RL, "--compare", "adam:fast"), "adam:0.02"),
    ("rl", (*RL, "--compare", "adam", "adam"), "compared with itself"),
    ("rl", (*RL, "--baseline", "lo"), "loo"),
    ("rl", (*RL, "--baselines", "loo", "valeu"), "value"),
    ("rl", ("--seeds", "0"), "--seeds"),
    ("rl", ("--updates", "0"), "--updates"),
    ("rl", (*RL, "--episodes", "0"), "episodes"),
    ("rl", (*RL, "--hidden", "0"), "--hidden"),
    ("rl", (*RL, "--discount", "1.5"), "discount"),
    ("rl", (*RL, "--discount", "nan"), "discount"),
    ("rl", (*RL, "--horizon", "0"), "time limit"),
    ("rl", (*RL, "--entropy", "nan"), "entropy"),
    ("rl", (*RL, "--device", "gpu"), "use --device cpu"),
    ("rl", (*RL, "--film", "film.mp4"), "--film must end in"),
    ("rl", (*RL, "--load", "nowhere.npz"), "nowhere.npz"),
    ("rl", (*RL, "--load", "file"), "file"),
    ("rl", (*RL, "--out", "file"), "file"),
    ("rl", (*RL, "--save", "file/policies.npz"), "file"),
    ("games", ("chess",), "bilinear"),
    ("games", ("bilinear", "--method", "adma"), "did you mean 'adam'"),
    ("games", ("bilinear", "--lr", "-1"), "--lr"),
    ("games", ("bilinear", "--lr", "nan"), "lr"),
    ("games", ("bilinear", "--lr", "inf"), "lr"),
    ("games", ("bilinear", "--seeds", "0"), "--seeds"),
    ("games", ("bilinear", "--steps", "0"), "--steps"),
    ("games", ("bilinear", "--size", "0"), "size"),
    ("games", ("bilinear", "--condition", "0.5"), "condition"),
    ("games", ("bilinear", "--condition", "nan"), "condition"),
    ("games", ("bilinear", "--radius", "nan", "--steps", "3"), "radius"),
    ("games", ("bilinear", "--noise", "loud"), "noise"),
    ("games", ("bilinear", "--noise-scale", "-1", "--noise", "additive", "--steps", "3"), "noise"),
    ("games", ("bilinear", "--beta1", "2"), "beta1"),
    ("games", ("bilinear", "--rates", "1"), "rates"),
    ("games", ("bilinear", "--rates", "1", "nan", "--steps", "3"), "rate"),
    ("games", ("bilinear", "--lookahead", "-2", "--steps", "3"), "Lookahead"),
    ("games", ("bilinear", "--strength", "nan", "--adjust", "consensus", "--steps", "3"), "strength"),
    ("games", ("bilinear", "--device", "gpu", "--steps", "3"), "device"),
    ("games", ("bilinear", "--threads", "0", "--steps", "3"), "threads"),
    ("games", ("bilinear", "--steps", "3", "--out", "file/x.svg"), "file"),
    ("games", ("bilinear", "--steps", "3", "--out", "empty"), "empty"),
    ("games", ("matrix", "--actions", "0", "3", "--payoff", "random"), "actions"),
    ("games", ("matrix", "--actions", "2", "2", "--payoff", "random", "--steps", "0"), "steps"),
    ("games", ("matrix", "--payoff", "scissors"), "payoff"),
    ("games", ("dirac", "--penalty", "nan", "--steps", "3"), "penalty"),
    ("games", ("dirac", "--penalty", "-1", "--steps", "3"), "penalty"),
    ("games", ("theory", "--lr", "0"), "--lr"),
    ("games", ("theory", "--lr", "nan"), "lr"),
    ("games", ("gan", "--frames", "1"), "--frames"),
    ("games", ("gan", "--width", "0", "--steps", "3"), "width"),
    ("games", ("gan", "--depth", "-1", "--steps", "3"), "depth"),
    ("games", ("gan", "--batch", "0", "--steps", "3"), "batch"),
    ("games", ("gan", "--latent", "0", "--steps", "3"), "latent"),
    ("games", ("gan", "--std", "-1", "--steps", "3"), "std"),
    ("games", ("gan", "--r1", "nan", "--steps", "3"), "r1"),
    ("games", ("gan", "--animation", "x.mp4", "--steps", "3"), "gif"),
    ("finance", (*FINANCE, "--csv", "nowhere.csv"), "nowhere.csv"),
    ("finance", (*FINANCE, "--csv", "empty"), "empty"),
    *[
        ("finance", (*FINANCE, "--csv", name), name)
        for name in OWN_FILES
        if name.endswith(".csv") and name != "short.csv"
    ],
    ("finance", (*FINANCE, "--csv", "short.csv"), "days"),
    ("finance", (*FINANCE, "--start", "first of May"), "start"),
    ("finance", (*FINANCE, "--start", "2020-01-01", "--end", "2019-01-01"), "2019-01-01"),
    ("finance", (*FINANCE, "--start", "2090-01-01"), "2090"),
    ("finance", (*FINANCE, "--risk-aversion", "-1"), "risk aversion"),
    ("finance", (*FINANCE, "--risk-aversion", "nan"), "risk aversion"),
    ("finance", (*FINANCE, "--covariance", "simple"), "covariance"),
    ("finance", (*FINANCE, "--upper", "0.01"), "upper"),
    ("finance", (*FINANCE, "--upper", "nan"), "limit"),
    ("finance", (*FINANCE, "--upper", "-1"), "upper"),
    ("finance", (*FINANCE, "--risk-free", "nan"), "risk-free"),
    ("finance", (*FINANCE, "--window", "0"), "window"),
    ("finance", (*FINANCE, "--window", "1000000"), "window"),
    ("finance", (*FINANCE, "--rebalance", "0"), "rebalance"),
    ("finance", (*FINANCE, "--cost", "nan"), "cost"),
    ("finance", (*FINANCE, "--cost", "-1"), "cost"),
    ("finance", (*FINANCE, "--turnover-limit", "-1"), "turnover"),
    ("finance", (*FINANCE, "--turnover-limit", "nan"), "turnover"),
    ("finance", (*FINANCE, "--optimizer", "adma"), "did you mean 'adam'"),
    ("finance", (*FINANCE, "--optimizer", "adam", "--lr", "0"), "lr"),
    ("finance", (*FINANCE, "--optimizer", "adam", "--lr", "nan"), "lr"),
    ("finance", (*FINANCE, "--optimizer", "adam", "--batch", "-1"), "--batch"),
    ("finance", (*FINANCE, "--optimizer", "adam", "--steps", "0"), "steps"),
    ("finance", (*FINANCE, "--optimizer", "adam", "--seeds", "1"), "seeds"),
    ("finance", (*FINANCE, "--optimizer", "adam", "--device", "gpu"), "use --device cpu"),
    ("finance", ("--out", "file"), "file"),
]


def ends(action: Callable[[], int], capsys: pytest.CaptureFixture[str], word: str) -> None:
    """The action ends as a person can bear: a usage error of the parser, or one line."""
    capsys.readouterr()
    try:
        code, usage = action(), False
    except SystemExit as stopped:
        code, usage = stopped.code, True
    said = capsys.readouterr()
    assert code == 2, said
    assert "Traceback" not in said.out + said.err
    assert word in said.out + said.err, said
    if not usage:
        lines = [line for line in said.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, said.err
        assert "unexpected" not in lines[0]
        assert said.err.count("\n") == 1, said.err


@pytest.mark.parametrize(
    ("argv", "word"), VHAT, ids=lambda v: " ".join(v)[:60] if isinstance(v, tuple) else ""
)
def test_vhat(argv: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    ends(lambda: main(list(argv)), capsys, word)


@pytest.fixture(scope="module")
def scripts() -> dict[str, ModuleType]:
    """The scripts as modules."""
    names = ("reproduce", "rl", "games", "finance")
    return {name: script_module(ROOT / "scripts" / f"{name}.py") for name in names}


@pytest.mark.parametrize(
    ("name", "argv", "word"), SCRIPTS, ids=lambda v: " ".join(v)[:60] if isinstance(v, tuple) else ""
)
def test_scripts(
    name: str,
    argv: tuple[str, ...],
    word: str,
    scripts: dict[str, ModuleType],
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = scripts[name]

    def action() -> int:
        if name == "games":
            return guarded(tyro.cli(script.Game, args=list(argv)))
        arguments = tyro.cli(script.Args, args=list(argv))
        return guarded(lambda: script.main(arguments))

    ends(action, capsys, word)


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


@pytest.mark.parametrize("argv", [("list",), ("run", "tiny-bowl", "--tiny", "--workers", "1"), ("doctor",)])
def test_a_closed_pipe_is_no_traceback(
    argv: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reader of what is written has gone, as in `vhat list | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert main(list(argv)) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_the_tests_of_the_promises_need_pytest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retrial.importlib.util, "find_spec", lambda name: None)
    ends(lambda: main(["doctor", "--full", "--out", "empty"]), capsys, "make test")
    assert list(Path("empty").iterdir()) == []


def test_the_table_is_long_and_names_everything_once() -> None:
    cases = [
        *(" ".join(a) for a, _ in VHAT),
        *(f"{n} {' '.join(a)}" for n, a, _ in SCRIPTS),
        *(c[0] for c in CALLS),
    ]
    assert len(cases) == len(set(cases)) >= 80
