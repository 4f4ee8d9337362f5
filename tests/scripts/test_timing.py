"""What the benchmarks share: turns, ratios within a turn, and the command that is stored."""

from __future__ import annotations

import sys

import pytest

from scripts.bench.timing import Times, command, failure, in_turns, missing_peer


def test_a_ratio_is_taken_within_its_turn() -> None:
    times = Times({"ours": [1.0, 10.0, 100.0], "theirs": [2.0, 20.0, 400.0]})
    ratio = times.ratio("theirs", "ours", factor=3)
    assert (ratio.low, ratio.median, ratio.high) == (6.0, 6.0, 12.0)
    assert times.median("ours") == 10.0


def test_contestants_take_turns() -> None:
    calls: list[tuple[str, int]] = []
    sides = {name: lambda steps, name=name: calls.append((name, steps)) for name in "abc"}
    times = in_turns(sides, turns=4, seconds=1e-9, fewest=10)
    assert "".join(name for name, _ in calls[-12:]) == "abcbcacababc"
    assert all(steps >= 10 for _, steps in calls[-12:])
    assert {name: len(own) for name, own in times.seconds.items()} == dict.fromkeys("abc", 4)


@pytest.mark.parametrize("out", [["--out", "/some/where"], ["--out=/some/where"], []])
def test_the_command_names_no_folder(monkeypatch: pytest.MonkeyPatch, out: list[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["/some/checkout/scripts/bench/sweep.py", "--turns", "3", *out])
    assert command() == "python scripts/bench/sweep.py --turns 3"


def test_a_missing_peer_is_told_with_what_to_do() -> None:
    assert missing_peer("torch") is None
    line = missing_peer("no_such_package")
    assert line is not None
    assert "pip install -e '.[bench]'" in line


def test_a_peer_that_fails_is_told_in_one_line() -> None:
    def broken() -> None:
        raise KeyError("first\nsecond")

    assert failure("theirs", lambda: None) is None
    line = failure("theirs", broken)
    assert line is not None
    assert line.startswith("theirs takes no part: KeyError: ")
    assert "\n" not in line
