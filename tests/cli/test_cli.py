"""The command line: what works prints what it should; what does not is one line, a code, and no traceback."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.cli import main
from core.lab import commands
from core.lab.errors import VhatError
from core.lab.registry import Broken
from core.lab.store import Store
from core.lab.terminal import guarded
from tests.cli.tiny_bowl import run, stored
from tests.lab import bowls

pytestmark = pytest.mark.usefixtures("only_the_tiny_bowl")


def fails(argv: list[str], capsys: pytest.CaptureFixture[str], code: int = 2) -> str:
    """The one line of an error."""
    capsys.readouterr()
    assert main(argv) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    return lines[0]


def test_a_broken_study_is_listed_and_stops_no_other(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = Broken("weather.studies.rain", VhatError("cannot import weather.studies.rain: no clouds"))
    monkeypatch.setattr(commands, "survey", lambda: ({"tiny-bowl": bowls.REGISTERED}, (broken,)))
    assert main(["list"]) == 0
    shown = capsys.readouterr().out
    assert "tiny-bowl" in shown
    assert "broken" in shown
    assert "no clouds" in shown
    assert main(["run", "--tiny", "--workers", "1", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "tiny-bowl: " in captured.out
    assert captured.err.splitlines()[0] == f"left out: {broken}"


def test_list_names_the_studies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    captured = capsys.readouterr()
    assert "tiny-bowl" in captured.out
    assert "tiny, quick, full" in captured.out
    assert captured.err == ""


def test_verdicts_are_listed_as_rows_of_markdown(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(out, "--seeds", "12") == 0
    capsys.readouterr()
    shown = ["list", "--verdicts", "--tiny", "--out", str(out)]
    assert main([*shown, "--seeds", "12"]) == 0
    captured = capsys.readouterr()
    head, rule, row = captured.out.splitlines()
    assert captured.err == ""
    assert head.split(" | ") == ["| claim", "verdict", "findings that hold", "in short |"]
    assert set(rule) == {"|", "-"}
    assert row.count(" | ") == rule.count("|") - 2
    for word in (f"| tests `tiny-bowl`: {bowls.STUDY.title} |", "| **supported** |", "It is larger. |"):
        assert word in row
    shown[2] = "--quick"
    assert "no study of the quick plan is stored" in fails(shown, capsys)


def test_run_show_run_again_fresh_and_clean(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(out) == 0
    captured = capsys.readouterr()
    assert "tests/tiny-bowl: INCONCLUSIVE" in captured.out  # six seeds are too few
    assert "It is larger." in captured.out
    assert captured.err.startswith("1 studies in ")
    first = stored(out)

    assert run(out) == 0
    assert stored(out) == first  # not even the seconds changed: nothing was computed
    assert run(out, "--fresh") == 0
    assert stored(out).keys() == first.keys()
    assert stored(out) != first

    capsys.readouterr()
    assert main(["show", "tiny-bowl", "--tiny", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "Claim: Twice is more." in captured.out
    assert "Findings" in captured.out

    assert run(out, "--seeds", "12") == 0
    assert "SUPPORTED" in capsys.readouterr().out

    assert main(["report", "--tiny", "--workers", "1", "--out", str(out)]) == 0
    assert main(["clean", "tiny-bowl", "--out", str(out)]) == 0
    assert "removed" in capsys.readouterr().out
    assert stored(out) == {}
    assert sorted(p.name for p in out.iterdir()) == ["results.sqlite"]


def test_a_report_draws_what_has_changed(out: Path) -> None:
    assert run(out) == 0
    kept = out / "drawn" / "tiny-bowl" / "material"

    def drawn(*options: str) -> int:
        assert main(["report", "--tiny", "--workers", "1", "--out", str(out), *options]) == 0
        return kept.stat().st_mtime_ns

    first = drawn()
    assert drawn() == first
    redrawn = drawn("--redraw")
    assert redrawn != first
    assert run(out, "--fresh") == 0
    assert drawn() != redrawn


def test_run_without_names_runs_all(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--tiny", "--workers", "1", "--out", str(out)]) == 0
    assert "tests/tiny-bowl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["run", "tiny-bwl"], "unknown study 'tiny-bwl'; did you mean 'tiny-bowl'?"),
        (["show", "zzzz"], "unknown study 'zzzz'; known: tiny-bowl"),
        (["clean", "tiny-bwl"], "did you mean 'tiny-bowl'?"),
        (["run", "tiny-bowl", "--tiny", "--full"], "--tiny and --full exclude each other"),
        (
            ["show", "tiny-bowl", "--tiny", "--quick", "--full"],
            "--tiny and --quick and --full exclude each other",
        ),
        (["report", "--tiny", "--quick"], "exclude each other"),
        (["run", "tiny-bowl", "--seeds", "1"], "--seeds needs at least 2"),
        (["run", "tiny-bowl", "--seeds", "-4"], "--seeds needs at least 2"),
        (["run", "tiny-bowl", "--workers", "0"], "--workers needs at least 1"),
        (["run", "tiny-bowl", "--device", "nonsense"], "device 'nonsense' cannot be used here"),
        (["run", "tiny-bowl", "--device", "cuda:99"], "use --device cpu"),
        (["run", "tiny-bowl", "--device", "meta"], "use --device cpu"),
        (["run", "tiny-bowl", "--device", ""], "use --device cpu"),
        (["show", "tiny-bowl"], "there is no folder"),
        (["report"], "there is no folder"),
        (["clean"], "there is no folder"),
    ],
)
def test_each_wrong_word_is_one_line(
    argv: list[str], line: str, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = fails([*argv, "--out", str(out)], capsys)
    assert said.startswith("error: ")
    assert line in said


@pytest.mark.parametrize("argv", [["run", "tiny-bowl"], ["show", "tiny-bowl"], ["report"], ["clean"]])
def test_a_file_in_the_place_of_the_folder_is_one_line(
    argv: list[str], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out.write_text("I was here first")
    for folder in (out, out / "deeper"):
        assert "--out" in fails([*argv, "--out", str(folder)], capsys)
    assert out.read_text() == "I was here first"


def test_looking_makes_no_folder(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["show", "tiny-bowl"], ["report"], ["clean"]):
        fails([*argv, "--out", str(out)], capsys)
        assert not out.exists()
    out.mkdir()
    for argv in (["show", "tiny-bowl"], ["report"], ["clean"]):
        assert "there are no results in" in fails([*argv, "--out", str(out)], capsys)
        assert list(out.iterdir()) == []


def test_a_plan_that_was_not_run_says_what_to_type(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(out) == 0
    show = ["show", "tiny-bowl", "--out", str(out)]
    assert fails(show, capsys).endswith(f"vhat run tiny-bowl --out {out}")
    assert fails([*show, "--full"], capsys).endswith(f"vhat run tiny-bowl --full --out {out}")
    assert fails([*show, "--tiny", "--seeds", "9"], capsys).endswith(
        f"vhat run tiny-bowl --tiny --seeds 9 --out {out}"
    )
    assert "vhat run --full" in fails(["report", "--full", "--out", str(out)], capsys)


def test_a_wrong_device_or_worker_count_forgets_nothing(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(out) == 0
    before = stored(out)
    for wrong in (["--device", "nonsense"], ["--workers", "0"], ["--seeds", "1"]):
        fails(["run", "tiny-bowl", "--tiny", "--fresh", *wrong, "--out", str(out)], capsys)
    assert stored(out) == before


def test_fresh_forgets_one_plan_only(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(out) == 0
    tiny = stored(out)
    assert main(["run", "tiny-bowl", "--tiny", "--seeds", "40", "--out", str(out)]) == 0
    both = stored(out)
    assert len(both) > len(tiny)
    capsys.readouterr()
    assert main(["show", "tiny-bowl", "--tiny", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    store = Store(out / "results.sqlite")
    store.put("tiny-bowl", {"of": "another plan"}, "code", {"v": np.arange(2)}, 1.0)
    store.close()
    assert run(out, "--fresh") == 0
    assert len(stored(out)) == len(both) + 1
    capsys.readouterr()
    assert main(["show", "tiny-bowl", "--tiny", "--out", str(out)]) == 0
    assert capsys.readouterr().out == shown


def test_a_store_of_another_version_is_one_line(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(out) == 0
    store = Store(out / "results.sqlite")
    store._db.execute("PRAGMA user_version=9")
    store.close()
    for argv in (["run", "tiny-bowl"], ["show", "tiny-bowl"], ["report"], ["clean"]):
        assert "another version of vhat" in fails([*argv, "--out", str(out)], capsys)


def test_a_damaged_store_is_set_aside_in_one_line(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out.mkdir()
    (out / "results.sqlite").write_bytes(b"not a database at all" * 400)
    assert run(out) == 0
    captured = capsys.readouterr()
    assert "was damaged" in captured.err.splitlines()[0]
    assert len(captured.err.splitlines()) == 2
    assert (out / "results.sqlite.damaged-1").exists()


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        ([], "list"),
        (["show"], "STUDY"),
        (["rnu"], "run"),
        (["run", "--tinny"], "--tiny"),
        (["run", "--seeds", "many"], "seeds"),
        (["list", "extra"], "extra"),
    ],
)
def test_usage_errors_are_readable_and_exit_with_2(
    argv: list[str], word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    captured = capsys.readouterr()
    assert caught.value.code == 2
    assert "Traceback" not in captured.out + captured.err
    assert word in captured.out + captured.err


@pytest.mark.parametrize("command", [[], ["list"], ["run"], ["show"], ["report"], ["clean"]])
def test_help_shows_what_there_is_and_its_defaults(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    if command in (["run"], ["show"], ["report"]):
        for word in ("--tiny", "--quick", "--full", "--seeds", "--device", "cpu", "--out", "default"):
            assert word in text
        assert "--no-tiny" not in text


def test_a_bug_is_one_line_and_debug_shows_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def action() -> None:
        raise ZeroDivisionError("first\nsecond")

    assert guarded(action) == 70
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "unexpected ZeroDivisionError: first second; this is a bug in vhat" in said
    monkeypatch.setenv("VHAT_DEBUG", "1")
    assert guarded(action) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_failing_shard_is_one_line(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(self: object, *_: object) -> None:
        raise ArithmeticError("three\nlines\nlong")

    monkeypatch.setattr(bowls.Bowl, "field", broken)
    said = fails(["run", "tiny-bowl", "--tiny", "--workers", "1", "--out", str(out)], capsys)
    assert said == "error: tiny-bowl (tune quiet): ArithmeticError: three lines long"
