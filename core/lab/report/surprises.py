"""What surprised us: written from the verdicts, those first that say most against their claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.lab.report.entry import Entry
from core.lab.report.pages import Pill, first_sentence, page_name, pill_of
from core.lab.verdict import Label, Outcome, Verdict

MOST = 8
_ORDER = (Label.REFUTED, Label.CONDITIONAL)


@dataclass(frozen=True)
class Surprise:
    """A line of the first page."""

    title: str
    page: str
    pill: Pill
    sentence: str


def surprises_of(entries: Sequence[Entry]) -> tuple[Surprise, ...]:
    """Refuted claims, then conditional ones, each by the share of its criterion that fails."""
    judged = [(e, e.verdict) for e in entries if e.verdict is not None and e.verdict.label in _ORDER]
    judged.sort(key=lambda pair: (_ORDER.index(pair[1].label), -_share_failing(pair[1])))
    return tuple(
        Surprise(entry.study.title, f"studies/{page_name(entry)}", pill_of(found), _sentence(entry, found))
        for entry, found in judged[:MOST]
    )


def _share_failing(found: Verdict) -> float:
    decisive = [f for f in found.findings if f.decisive]
    return sum(f.outcome is Outcome.FAILS for f in decisive) / len(decisive)


def _sentence(entry: Entry, found: Verdict) -> str:
    """The study's own line, or the first sentence of its verdict."""
    if entry.study.surprise is not None:
        return entry.study.surprise(found)
    return first_sentence(found.sentence)
