"""Errors meant for people: one clear line that says what is wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def one_line(text: str) -> str:
    """Text as one line that a terminal, a log and a report's table cell can show: names and damaged files may
    hold control characters, which would move a terminal's cursor or colour it."""
    return "".join(c if c.isprintable() else "\ufffd" for c in " ".join(text.split()))


class VhatError(Exception):
    """An error with a message for its reader; the command line prints it without a traceback and exits with
    2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class StoreError(VhatError):
    """The results file cannot be read or written."""


class NotComplete(VhatError):
    """Results of a study that were asked for are not stored, or not all of them; the message names the
    command that computes them."""


class ConformanceError(VhatError):
    """A problem does not keep the contract of `core.lab.problem.Problem`."""


def nearest(name: str, known: Iterable[str], *, kind: str) -> str:
    """One line for an unknown name: what was asked for, and the nearest names that exist."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.4) or [n for n in names if name in n][:3]
    hint = f"did you mean {' or '.join(repr(n) for n in close)}?" if close else f"known: {', '.join(names)}"
    return f"unknown {kind} {name!r}; {hint}"
