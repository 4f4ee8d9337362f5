"""What surprised us: what was claimed and what was found, those first that say most against their claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.lab.report.entry import Entry
from core.lab.report.pages import Pill, page_name, pill_of
from core.lab.verdict import Label, Outcome, Verdict, first_sentence

MOST = 6
_ORDER = (Label.REFUTED, Label.CONDITIONAL, Label.INCONCLUSIVE)


@dataclass(frozen=True)
class Surprise:
    """A line of the first page.

    Attributes:
        title: of the study.
        page: the file of its page, from the report's folder.
        pill: its verdict in a word.
        sentence: what was found.
        claim: what was claimed, the first sentence of it.
    """

    title: str
    page: str
    pill: Pill
    sentence: str
    claim: str


def surprises_of(entries: Sequence[Entry]) -> tuple[Surprise, ...]:
    """Claims of which something failed: those first whose study says itself what surprised, then refuted,
    conditional and inconclusive ones, each by the share of its criterion that fails."""
    judged = [(e, e.verdict) for e in entries if e.verdict is not None and e.verdict.label in _ORDER]
    judged = [(e, found) for e, found in judged if _share_failing(found) > 0 and not found.few_seeds]
    judged.sort(
        key=lambda pair: (
            pair[0].study.surprise is None,
            _ORDER.index(pair[1].label),
            -_share_failing(pair[1]),
        )
    )
    return tuple(
        Surprise(
            entry.study.title,
            f"studies/{page_name(entry)}",
            pill_of(found),
            _sentence(entry, found),
            first_sentence(entry.study.claim),
        )
        for entry, found in judged[:MOST]
    )


def _share_failing(found: Verdict) -> float:
    decisive = [f for f in found.findings if f.decisive]
    return sum(f.outcome is Outcome.FAILS for f in decisive) / len(decisive)


def _sentence(entry: Entry, found: Verdict) -> str:
    """The study's own line, or its verdict in short."""
    if entry.study.surprise is not None:
        return entry.study.surprise(found)
    return found.brief
