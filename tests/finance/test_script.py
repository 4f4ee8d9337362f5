"""The script as a person runs it: its tables and tearsheet, and one line when something is wrong."""

from __future__ import annotations

import csv
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from core.lab.terminal import guarded
from tests.script_modules import script_module

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "finance.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module: most of what it says needs no process of its own."""
    return script_module(SCRIPT)


def process(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The script in a process and a folder of its own, with its cache there and every way out closed."""
    closed = "http://127.0.0.1:9"
    proxies = {
        name: closed for way in ("http", "https", "all") for name in (f"{way}_proxy", f"{way.upper()}_PROXY")
    }
    environment = {
        **os.environ,
        **proxies,
        "NO_PROXY": "",
        "no_proxy": "",
        "VHAT_CACHE": str(folder / "cache"),
    }
    environment.pop("VHAT_DEBUG", None)
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, check=False)


def own_prices(folder: Path, days: int = 120) -> Path:
    """Prices of three tickers of unlike volatility."""
    moves = np.random.default_rng(5).standard_normal((days, 3)) * [0.005, 0.01, 0.03] + 0.001
    dates = np.datetime64("2021-01-04") + np.arange(days)
    lines = [
        f"{day},{','.join(f'{price:.6f}' for price in row)}"
        for day, row in zip(dates, 100 * np.cumprod(1 + moves, axis=0), strict=True)
    ]
    path = folder / "own.csv"
    path.write_text("date,CALM,SOME,WILD\n" + "\n".join(lines) + "\n")
    return path


def test_without_network_one_line_names_the_embedded_default(tmp_path: Path) -> None:
    done = process(tmp_path, "--tickers", "AAPL", "MSFT")
    assert done.returncode == 2, done.stderr
    assert not done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("error: no network: Yahoo Finance cannot be reached")
    assert "leave --tickers out to use the 20 S&P 500 companies that ship with vhat" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"csv": Path("absent.csv")}, "absent.csv: cannot be read"),
        ({"csv": Path("own.csv"), "tickers": ("WILDE",)}, "WILD"),
        ({"csv": Path("own.csv"), "end": "2021-02-01"}, "to accept: --allow short"),
        ({"optimizer": "adan"}, "'adam'"),
        ({"optimizer": "adam", "lr": -1.0}, "lr"),
        ({"optimizer": "adam", "seeds": 1}, "--seeds must be at least 2"),
        ({"start": "soon"}, "start: 'soon' is not a day"),
        ({"start": "1990-01-02"}, "--allow"),
        ({"csv": Path("own.csv"), "out": Path("own.csv/folder")}, "--out"),
        ({"csv": Path("own.csv"), "upper": 0.2}, "no portfolio keeps these bounds"),
        ({"csv": Path("own.csv"), "risk_aversion": -1.0}, "risk aversion, must be a number of 0 or more"),
        ({"csv": Path("own.csv"), "window": 500}, "shorter window"),
        ({"csv": Path("own.csv"), "parquet": Path("own.csv")}, "--csv and --parquet name two sources"),
        ({"parquet": Path("own.csv")}, "own.csv: not a Parquet file"),
        ({"adjustment": "none"}, "--adjustment is for a file of one's own"),
        ({"csv": Path("own.csv"), "optimizer": "adam", "upper": 0.5}, "--upper does not go with --optimizer"),
        ({"csv": Path("own.csv"), "start": "2015-01-01"}, "to accept: --allow span"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    script: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: dict[str, object],
    expected: str,
) -> None:
    own_prices(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VHAT_DEBUG", raising=False)
    assert guarded(lambda: script.main(script.Args(**arguments))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("error: ")
    assert expected in said


def test_prices_of_ones_own_end_in_a_tearsheet(tmp_path: Path) -> None:
    own_prices(tmp_path)
    done = process(tmp_path, "--csv", "own.csv", "--risk-aversion", "3", "--upper", "0.6", "--out", "made")
    assert done.returncode == 0, done.stderr
    assert "own.csv: 3 tickers, 2021-01-04 to 2021-05-03 (120 days), adjustment as in the file" in done.stdout
    assert "Tearsheet: made/tearsheet.html" in done.stdout
    figures = ("frontier", "transition", "wealth", "volatility", "turnover", "risk-contributions")
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert made == {
        "tearsheet.html",
        *(f"{name}.{kind}" for name in figures for kind in ("svg", "png")),
        *(
            f"{name}.csv"
            for name in ("weights", "frontier", "portfolios", "performance", "backtest", "facts")
        ),
    }
    page = (tmp_path / "made" / "tearsheet.html").read_text("utf-8")
    assert page.count("data:image/svg+xml;base64,") == len(figures)
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)  # nothing is fetched from elsewhere
    with (tmp_path / "made" / "weights.csv").open(encoding="utf-8") as file:
        weights = {row["ticker"]: float(row["weight"]) for row in csv.DictReader(file)}
    assert sum(weights.values()) == pytest.approx(1.0)
    assert max(weights.values()) <= 0.6 + 1e-12


@pytest.mark.parametrize(("gamma", "text"), [(0.0, "γ = 0"), (float("inf"), "γ = ∞")])
def test_the_ends_of_risk_aversion(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], gamma: float, text: str
) -> None:
    settings = {
        "optimizer": "sgd",
        "batch": 0,
        "steps": 20,
        "seeds": 2,
        "lr": 1.0,
        "parametrisation": "simplex",
    }
    out = tmp_path / "made"
    script.main(script.Args(csv=own_prices(tmp_path), risk_aversion=gamma, out=out, **settings))
    assert text in capsys.readouterr().out
    assert text in (out / "tearsheet.html").read_text("utf-8")
    with (out / "portfolios.csv").open(encoding="utf-8") as file:
        rows = {row["portfolio"]: row["volatility % a year"] for row in csv.DictReader(file)}
    assert rows[f"chosen, {text}"] == rows["least variance" if gamma else "greatest return"]


def test_the_risk_free_rate_is_taken_off_every_sharpe_ratio(script: ModuleType, tmp_path: Path) -> None:
    """Both tables of the page say the same of the same words; and the adjustment is what the owner says."""
    common = {"csv": own_prices(tmp_path), "adjustment": "adjusted for splits", "risk_aversion": math.inf}
    rows = []
    for rate in (0.0, 0.05):
        args = script.Args(risk_free=rate, **common)
        prices = script.fetch(args)
        assert "(120 days), adjusted for splits" in prices.describe()
        sheet = script.tearsheet(args, prices)
        assert f"{100 * rate:g}% a year taken off" in script.performance_table(sheet).caption
        assert f"{100 * rate:g}% a year taken off" in script.portfolios_table(sheet).caption
        rows.append({name: (found.sharpe, found.volatility) for name, found in sheet.performances.items()})
    for name, (sharpe, volatility) in rows[0].items():
        assert rows[1][name][0][0] == pytest.approx(sharpe[0] - 0.05 / volatility[0], rel=1e-9)


def test_parquet_and_csv_give_the_same(script: ModuleType, tmp_path: Path) -> None:
    own = own_prices(tmp_path)
    pd.read_csv(own, index_col="date", parse_dates=True).to_parquet(tmp_path / "own.parquet")
    one, two = script.fetch(script.Args(csv=own)), script.fetch(script.Args(parquet=tmp_path / "own.parquet"))
    np.testing.assert_array_equal(one.close, two.close)
    np.testing.assert_array_equal(one.dates, two.dates)


def test_a_rule_is_trained_beside_the_optimum(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"optimizer": "adam", "parametrisation": "simplex", "batch": 1, "lr": 0.001, "steps": 400}
    script.main(script.Args(csv=own_prices(tmp_path), seeds=4, out=tmp_path / "made", **settings))
    said = capsys.readouterr().out
    assert "Spearman's ρ of sqrt(v̂) with volatility" in said
    assert "0.001, given" in said
    assert (tmp_path / "made" / "trained-adam.png").read_bytes().startswith(b"\x89PNG")


def test_a_rule_without_second_moment_is_tuned_and_shown_without_it(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"optimizer": "sgd", "batch": 0, "steps": 30, "seeds": 2, "out": tmp_path / "made"}
    script.main(script.Args(csv=own_prices(tmp_path), **settings))
    said = capsys.readouterr().out
    assert "tuned on 6 other seeds" in said
    assert "Spearman" not in said
    assert (tmp_path / "made" / "trained-sgd.png").exists()
