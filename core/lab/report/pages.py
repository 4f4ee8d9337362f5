"""What the templates are given: first page and study pages as plain data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.lab.figures.words import Panel
from core.lab.registry import Domain
from core.lab.report.bar import Bar, bar_of
from core.lab.report.entry import Entry
from core.lab.study import Part, Table
from core.lab.tables import number
from core.lab.verdict import Finding, Label, Outcome, Verdict

NOT_RUN = "not run"


@dataclass(frozen=True)
class Pill:
    """A verdict as shown: a word, a colour and a symbol.

    Attributes:
        kind: the verdict's label, or `not-run`; colour and symbol go by it.
        word: what is written.
    """

    kind: str
    word: str


@dataclass(frozen=True)
class Drawn:
    """A figure of a page: either a file, or why there is none.

    Attributes:
        name, caption, alt: as in its `FigureSpec`.
        source: the file, from the report's folder; empty where there is none.
        width, height: in CSS pixels.
        words: its panels in numbers.
        problem: what went wrong; empty where nothing did.
    """

    name: str
    caption: str
    alt: str
    source: str = ""
    width: int = 0
    height: int = 0
    words: tuple[Panel, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Judged:
    """A finding with its bar.

    Attributes:
        finding: what was judged.
        bar: its interval as a picture.
        effect, interval, threshold: as ready text, in the finding's unit.
    """

    finding: Finding
    bar: Bar
    effect: str
    interval: str
    threshold: str


@dataclass(frozen=True)
class Line:
    """A study in the first page's table.

    Attributes:
        entry: the study with its results.
        page: the file of its page, from the report's folder.
        pill: its verdict in a word.
        sentence: the answer in short; empty where it has not been run.
        main: the finding that stands for all; None without one.
        holds, fails: regimes in which all decisive findings hold, or all fail.
        unclear: all other regimes that have decisive findings.
        replicas: how many are behind each decisive finding, as ready text.
        figure: the main one, shown small; None where there is none.
    """

    entry: Entry
    page: str
    pill: Pill
    sentence: str
    main: Judged | None
    holds: tuple[str, ...]
    fails: tuple[str, ...]
    unclear: tuple[str, ...]
    replicas: str
    figure: Drawn | None = None


@dataclass(frozen=True)
class Group:
    """A domain with its studies.

    Attributes:
        domain: the field that they belong to.
        lines: one a study, in the order in which they are shown.
    """

    domain: Domain
    lines: tuple[Line, ...]


def page_name(entry: Entry) -> str:
    """The file of a study's page, beside the first page's `studies` folder."""
    return f"{entry.study.id}.html"


def pill_of(verdict: Verdict | None) -> Pill:
    """The verdict in one word; too few seeds are said apart."""
    if verdict is None:
        return Pill("not-run", NOT_RUN)
    word = verdict.label.value + (": too few seeds" if verdict.few_seeds else "")
    return Pill(verdict.label.value, word)


def judged(finding: Finding) -> Judged:
    """A finding as the tables show it."""
    interval = f"{number(finding.low)} to {number(finding.high)}"
    return Judged(finding, bar_of(finding), number(finding.effect), interval, number(finding.threshold))


def _regimes(decisive: Sequence[Finding], outcome: Outcome) -> tuple[str, ...]:
    """Regimes in which all findings have this outcome; for `unclear`, those in neither of the other lists."""
    by_regime: dict[str, set[Outcome]] = {}
    for finding in decisive:
        by_regime.setdefault(finding.regime, set()).add(finding.outcome)
    if outcome is Outcome.UNCLEAR:
        return tuple(r for r, found in by_regime.items() if found not in ({Outcome.HOLDS}, {Outcome.FAILS}))
    return tuple(r for r, found in by_regime.items() if found == {outcome})


def line_of(entry: Entry, figure: Drawn | None = None) -> Line:
    """One row of the first page."""
    verdict = entry.verdict
    decisive = [f for f in verdict.findings if f.decisive] if verdict else []
    return Line(
        entry=entry,
        page=f"studies/{page_name(entry)}",
        pill=pill_of(verdict),
        sentence=verdict.brief if verdict else "",
        main=judged(verdict.main) if verdict and verdict.main else None,
        holds=_regimes(decisive, Outcome.HOLDS),
        fails=_regimes(decisive, Outcome.FAILS),
        unclear=_regimes(decisive, Outcome.UNCLEAR),
        replicas=replicas_text(decisive),
        figure=figure,
    )


def replicas_text(findings: Sequence[Finding]) -> str:
    """`40`, or `20 to 40` where findings rest on different numbers."""
    counts = sorted({f.replicas for f in findings})
    if not counts:
        return ""
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def groups_of(entries: Sequence[Entry], figures: Mapping[str, Drawn] | None = None) -> tuple[Group, ...]:
    """Studies by domain, both in the order given; main figures by study."""
    main = figures or {}
    domains: dict[str, Domain] = {}
    for entry in entries:
        domains.setdefault(entry.domain.name, entry.domain)
    return tuple(
        Group(domain, tuple(line_of(e, main.get(e.study.id)) for e in entries if e.domain.name == name))
        for name, domain in domains.items()
    )


def counts_of(entries: Sequence[Entry]) -> tuple[tuple[Pill, int], ...]:
    """How many studies have each verdict, in a fixed order, those with none left out."""
    kinds = [*(label.value for label in Label), "not-run"]
    words = {"not-run": NOT_RUN}
    counted = [(kind, sum(pill_of(e.verdict).kind == kind for e in entries)) for kind in kinds]
    return tuple((Pill(kind, words.get(kind, kind)), count) for kind, count in counted if count)


def plans_of(entries: Sequence[Entry]) -> str:
    """The names of the plans in this report."""
    return " and ".join(dict.fromkeys(e.plan for e in entries))


def versions_of(entries: Sequence[Entry]) -> dict[str, str]:
    """Versions of all packages that any study's numbers depend on."""
    return {name: v for e in entries if e.provenance for name, v in e.provenance.versions.items()}


def neighbours(entries: Sequence[Entry]) -> list[tuple[Entry | None, Entry | None]]:
    """The study before and the one after each, for the links at the foot of a page."""
    padded: list[Entry | None] = [None, *entries, None]
    return [(before, after) for before, _, after in zip(padded, padded[1:], padded[2:], strict=False)]


_HEADINGS: Mapping[Part, str] = {
    "": "A closer look",
    "controls": "Controls",
    "regimes": "Regimes",
    "learning rates": "Sensitivity to the learning rate",
    "learning curves": "Learning curves",
}


@dataclass(frozen=True)
class PagePart:
    """Figures below one heading, each with its number on the page.

    Attributes:
        name: of the heading, for links.
        heading: as shown.
        figures: pairs (number, figure).
    """

    name: str
    heading: str
    figures: tuple[tuple[int, Drawn], ...]


def parts_of(figures: Sequence[tuple[Part, Drawn]]) -> tuple[PagePart, ...]:
    """All figures but the main one, part by part in a fixed order, numbered as they are shown."""
    numbers = itertools.count(2)
    found = []
    for part, heading in _HEADINGS.items():
        own = tuple((next(numbers), drawn) for of, drawn in figures[1:] if of == part)
        if own:
            found.append(PagePart((part or "closer look").replace(" ", "-"), heading, own))
    return tuple(found)


def doubt_of(found: Verdict | None) -> tuple[str, ...]:
    """How sure a verdict is, in sentences: what it rests on, and where it is nearest to tipping."""
    if found is None:
        return ()
    decisive = [f for f in found.findings if f.decisive]
    counts = {o: sum(f.outcome is o for f in decisive) for o in Outcome}
    said = ", ".join(f"{n} {_SAID[o]}" for o, n in counts.items() if n)
    sentences = [
        f"The verdict rests on {len(decisive)} {'finding' if len(decisive) == 1 else 'findings'}, with "
        f"{replicas_text(decisive)} replicas behind each: {said}."
    ]
    if found.few_seeds:
        sentences.append("That is too few seeds to decide; the label says so, whatever the intervals say.")
    margins = [(margin, f) for f in decisive if (margin := _margin(f)) is not None]
    if margins:
        margin, nearest = min(margins, key=lambda pair: pair[0])
        sentences.append(
            f"Nearest to its threshold of {number(nearest.threshold)} lies “{nearest.regime}”: "
            f"{number(nearest.effect)} [{number(nearest.low)}, {number(nearest.high)}]"
            + (
                ", an interval that holds the threshold."
                if nearest.outcome is Outcome.UNCLEAR
                else f"; its interval ends {number(margin)} times its own width away from it."
            )
        )
    return tuple(sentences)


_SAID = {Outcome.HOLDS: "hold", Outcome.FAILS: "fail", Outcome.UNCLEAR: "unclear"}


def _margin(f: Finding) -> float | None:
    """Distance from the interval to the threshold, in widths of the interval; None where there is none."""
    width = f.high / 2 - f.low / 2
    if not (math.isfinite(width) and width > 0):
        return None
    outside = max(f.low / 2 - f.threshold / 2, f.threshold / 2 - f.high / 2, 0.0)
    return outside / width


def paragraphs(text: str) -> list[str]:
    """Plain text at its blank lines."""
    blocks = itertools.groupby(text.strip().splitlines(), key=lambda part: bool(part.strip()))
    return [" ".join(lines) for filled, lines in blocks if filled]


def plan_rows(entry: Entry) -> Table | None:
    """The plan's numbers, None without results."""
    if entry.results is None:
        return None
    plan = entry.results.plan
    rows = [("plan", plan.name)]
    rows += [("steps of a replica", str(plan.steps))] if plan.steps else []
    rows += [("tuning seeds", str(plan.tuning_seeds)), ("reporting seeds", str(plan.reporting_seeds))]
    rows += [(key.replace("_", " "), str(value)) for key, value in plan.sizes.items()]
    return Table("The plan", ("what", "value"), tuple(rows))
