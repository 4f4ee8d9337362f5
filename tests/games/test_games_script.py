"""The games script: every game runs to a figure and a table with its theory, and errors are a line."""

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import tyro

from core.lab.terminal import guarded
from games.rates import KNOWN
from tests.script_modules import script_module

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "games.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """The script as a module: what it says needs no process of its own."""
    return script_module(SCRIPT)


@pytest.fixture
def call(script: ModuleType, capsys: pytest.CaptureFixture[str]) -> Any:
    """The script with arguments: exit code, what it printed, and what it complained about."""

    def called(*arguments: str) -> tuple[int, str, str]:
        code = guarded(tyro.cli(script.Game, args=list(arguments)))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return called


def numbers(text: str, label: str) -> float:
    found = re.search(rf"{re.escape(label)} +([-+.\de]+)", text)
    assert found, text
    return float(found.group(1))


def test_bilinear_agrees_with_linear_theory(call: Any, tmp_path: Path) -> None:
    figure = tmp_path / "orbit.svg"
    code, out, err = call(
        *("bilinear", "--method", "sgd", "--play", "extragradient", "--lr", "0.5", "--steps", "40"),
        *("--seeds", "3", "--out", str(figure)),
    )
    assert code == 0, err
    expected = (1 - 0.5**2 + 0.5**4) ** 0.5
    assert numbers(out, "factor a step, by linear theory") == pytest.approx(expected, rel=1e-6)
    assert numbers(out, "factor a step, observed") == pytest.approx(expected, rel=1e-6)
    assert figure.read_text("utf-8").lstrip().startswith("<?xml")


def test_adam_on_xy_is_shown_beside_its_limit_cycle(call: Any, tmp_path: Path) -> None:
    adam = ("bilinear", "--method", "adam", "--lr", "0.02", "--beta1", "0.5", "--beta2", "0.99")
    few = ("--steps", "30", "--seeds", "2", "--out", str(tmp_path / "a.svg"))
    code, out, err = call(*adam, *few)
    assert code == 0, err
    k, c = 0.01, 3.0
    expected = 0.02 * (8 * c / (k * (1 - k * c))) ** 0.5
    assert numbers(out, "radius of the limit cycle, by its law") == pytest.approx(expected, rel=5e-3)
    assert "it collapses" in call(*adam[:5], "--beta1", "0", "--play", "alternating", *few)[1]
    # Another game, or noise, has no such law.
    assert "limit cycle" not in call(*adam, "--noise", "additive", *few)[1]
    assert "limit cycle" not in call("dirac", *adam[1:], *few)[1]


def test_theory_practice_and_closed_forms_agree(call: Any, tmp_path: Path) -> None:
    figure = tmp_path / "disks.svg"
    code, out, err = call("theory", "--lr", "0.3", "--size", "2", "--condition", "2", "--out", str(figure))
    assert code == 0, err
    rows = re.findall(r"^(\S.*?)  +([\d.]+)  +([\d.]+)  +([\d.]+)  ", out, re.MULTILINE)
    assert len(rows) == len(KNOWN)
    for _, *values in rows:
        closed, predicted, observed = map(float, values)
        assert predicted == pytest.approx(closed, rel=1e-6)
        assert observed == pytest.approx(closed, rel=1e-6)
    assert out.count("none converges") == 4
    assert "at least 100" in out
    assert figure.exists()


def test_dirac_with_penalty_and_consensus(call: Any, tmp_path: Path) -> None:
    code, out, err = call(
        *("dirac", "--method", "sgd", "--adjust", "consensus", "--penalty", "0.7", "--lr", "0.1"),
        *("--steps", "200", "--seeds", "2", "--out", str(tmp_path / "d.png")),
    )
    assert code == 0, err
    assert numbers(out, "factor a step, by linear theory") < 1


def test_matrix_shows_last_and_average(call: Any, tmp_path: Path) -> None:
    code, out, err = call(
        *("matrix", "--payoff", "random", "--actions", "3", "4", "--method", "sgd", "--play", "past"),
        *("--parametrisation", "softmax", "--steps", "30", "--seeds", "2", "--out", str(tmp_path / "m.svg")),
    )
    assert code == 0, err
    assert "exploitability of the average" in out


@pytest.mark.parametrize("data", ["grid25", "digits"])
def test_gan_writes_frames_and_an_animation(call: Any, data: str, tmp_path: Path) -> None:
    moving = tmp_path / "film.gif"
    code, out, err = call(
        *("gan", "--data", data, "--loss", "wasserstein", "--r1", "0.5", "--width", "8", "--batch", "8"),
        *("--steps", "12", "--frames", "2", "--seeds", "2", "--rates", "1", "2"),
        *("--out", str(tmp_path / "g.svg"), "--animation", str(moving)),
    )
    assert code == 0, err
    assert moving.read_bytes()[:3] == b"GIF"
    assert ("Fréchet distance" in out) == (data == "digits")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("bilinear", "--method", "adma"), "did you mean 'adam'"),
        (("bilinear", "--method", "sgd", "--beta1", "0.5"), "no hyperparameter 'beta1'"),
        (("bilinear", "--play", "joint", "--rates", "1", "2"), "joint play has one learning rate"),
        (("bilinear", "--rates", "1", "2", "3"), "3 rates for 2 players"),
        (("bilinear", "--beta1", "-1.5"), "beta1 must be a number in (-1, 1)"),
        (("bilinear", "--shared-state"), "simultaneous play has no shared state"),
        (("bilinear", "--lookahead-strength", "0.2"), "needs the rounds of lookahead"),
        (("gan", "--adjust", "lola", "--steps", "2"), "losses that add up to zero"),
        (("dirac", "--adjust", "lola", "--loss", "nonsaturating"), "losses that add up to zero"),
        (("gan", "--animation", "film.mp4", "--steps", "2"), "an animation is a .gif file"),
        (("matrix", "--actions", "2", "2"), "rock-paper-scissors has (3, 3) actions"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_mistakes_are_named_in_a_line(
    call: Any, arguments: tuple[str, ...], line: str, tmp_path: Path
) -> None:
    code, _, err = call(*arguments, "--out", str(tmp_path / "x.svg"))
    assert code == 2
    assert line in err
    assert "Traceback" not in err
