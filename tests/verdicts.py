"""What the verdict of every study is like, whatever its data."""

from __future__ import annotations

from core.lab.verdict import SO_FAR, Verdict, first_sentence

WORDS = 30


def reads_in_short(verdict: Verdict) -> bool:
    """Whether it has an answer for tables of its own: numbers, in at most `WORDS` words, beside what is said
    of few seeds."""
    short = verdict.short.removeprefix(SO_FAR)
    own = short != first_sentence(verdict.sentence.removeprefix(SO_FAR))
    return own and 0 < len(short.split()) <= WORDS and any(c.isdigit() for c in short) and short[-1] == "."
