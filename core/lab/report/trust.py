"""The page on trust: promises as the template needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.lab.trust import OTHER_CODE, Standing, versions_text

_KINDS = {"holds": "holds", "broken": "fails"}


@dataclass(frozen=True)
class Kept:
    """A promise as shown.

    Attributes:
        standing: what the figures say.
        kind: `holds`, `fails` or `unclear`, for symbol and colour.
        measured: date of the figures, with versions where they are not those of the whole page.
    """

    standing: Standing
    kind: str
    measured: str


def kept(standings: Sequence[Standing]) -> tuple[Kept, ...]:
    """All promises, in order."""
    common = versions_of(standings)
    return tuple(
        Kept(
            s,
            _KINDS.get(s.state, "unclear"),
            s.date if versions_text(s) == common else f"{s.date}; {versions_text(s)}",
        )
        for s in standings
    )


def versions_of(standings: Sequence[Standing]) -> str:
    """The versions behind most figures, in words; empty without figures."""
    found = Counter(versions_text(s) for s in standings if s.date)
    return found.most_common(1)[0][0] if found else ""


def tally(shown: Sequence[Kept]) -> str:
    """How many promises stand how: `7 hold, 2 not tried here`."""
    states = Counter("hold" if k.standing.state == "holds" else k.standing.state for k in shown)
    order = ("hold", "broken", "tried in part", OTHER_CODE, "not tried here")
    return ", ".join(f"{states[s]} {s}" for s in order if states[s])
