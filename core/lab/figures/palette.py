"""What a variant looks like: colour and marker say its rule, the line style what was changed about it.

Colours are Okabe and Ito's (2008, "Color universal design") and darker or lighter relatives of them, chosen
so that neighbours stay apart under protanopia and deuteranopia and stand out from white paper.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypedDict

LineStyle = str | tuple[float, tuple[float, ...]]


class Line(TypedDict):
    """Keyword arguments of `Axes.plot`."""

    color: str
    linestyle: LineStyle
    marker: str


@dataclass(frozen=True)
class Family:
    """An update rule, or a scheme that is a method of its own.

    Attributes:
        name: what it is called.
        pattern: the regular expression of its variants' names, in small letters; the first of `FAMILIES` that
            is found decides.
        colour: as `#rrggbb`.
        marker: matplotlib's code.
    """

    name: str
    pattern: str
    colour: str
    marker: str


_SCHEME_ON = r"(?!.*\b(?:adam|amsgrad|rmsprop|sign|nesterov|momentum))"
"""A scheme around plain descent is a method of its own; around another rule, the rule gives the colour."""

# The first pattern that is found in the normalised name decides.
FAMILIES: tuple[Family, ...] = (
    Family("shared v", r"\bshared\b|\bone v\b|\bsame v\b", "#7A2E1D", "P"),
    Family("shuffled v", r"\bshuffled\b|\bpermuted\b", "#8C982D", "X"),
    Family("oracle v", r"\boracle\b|\bfixed v\b", "#001E70", "*"),
    Family("AMSGrad", r"\bamsgrad\b", "#CC79A7", "D"),
    Family("AdamW", r"\badam ?w\b|\bdecoupled\b", "#56B4E9", "v"),
    Family("Adam with L2", r"\badam\b.*\bl2\b|\bl2\b.*\badam\b", "#6A5FE0", "^"),
    Family("extragradient", rf"^{_SCHEME_ON}.*\bextra ?gradient\b", "#7B2D8B", "h"),
    Family("optimistic", rf"^{_SCHEME_ON}.*\boptimistic\b|\bogda\b", "#0C5053", "p"),
    Family("RMSProp", r"\brmsprop\b", "#009E73", "s"),
    Family("sign descent", r"\bsign(?:sgd|gd)?\b", "#000000", "+"),
    Family("normalised descent", r"\bnormali[sz]ed\b|\bnormali[sz]ation\b", "#6E6E6E", "x"),
    Family("Adam", r"\badam\b", "#0072B2", "o"),
    Family("Nesterov", r"\bnesterov\b", "#725600", ">"),
    Family("momentum", r"(?<!no )(?<!without )\bmomentum\b|\bheavy ball\b", "#E69F00", "<"),
    Family("gradient descent", r"\bgradient descent\b|\bs?gd\b|\bgda\b", "#D55E00", "d"),
)

_OTHER_COLOURS = ("#0E7F3A", "#863766", "#4B929A", "#A8A020", "#AC5DC1", "#4EB195", "#663300", "#3B4534")
_OTHER_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_STYLES: tuple[LineStyle, ...] = (
    "--",
    "-.",
    ":",
    (0.0, (6.0, 1.5, 1.0, 1.5, 1.0, 1.5)),
    (0.0, (9.0, 2.0)),
    (0.0, (3.0, 1.0, 1.0, 1.0)),
)
_SEVERAL: LineStyle = (0.0, (6.0, 1.5, 1.0, 1.5, 1.0, 1.5, 1.0, 1.5))
"""More than one change."""
# What may be said about a rule, and the style that says it.
_CHANGES: tuple[tuple[str, LineStyle], ...] = (
    (r"\bbeta1 ?=? ?0(?:\.0*)?(?![.\d])|\b(?:no|without) momentum\b", ":"),
    (r"\bbeta1 ?=? ?-", "--"),
    (r"\bbeta1 ?=? ?0?\.5\b", "-."),
    (r"\bbeta1 ?=? ?0?\.9\b$", "-"),
    (r"\b(?:no|without)\b(?! momentum)|\buncorrected\b", "--"),
    (r"\balternating\b", "--"),
    (r"\bextra ?gradient\b", "-."),
    (r"\boptimistic\b", ":"),
    (r"\blookahead\b", _STYLES[3]),
    (r"\b(?:decay|decayed|cosine|schedule)\b", _STYLES[4]),
    (r"\b(?:clip|clipped|clipping)\b", _STYLES[5]),
    (r"^with\b", "-"),
)
_SAYS_NOTHING = re.compile(
    r"\b(?:adam|sgd|gd|gda|gradient|descent|v|one|all|coordinates|for|of|by|the|rule|plain|simultaneous)\b"
)
"""Words beside a rule's name that change nothing about it."""


def _normal(name: str) -> str:
    """Lower case, Greek letters spelled out, punctuation to spaces."""
    text = name.lower().replace("β", "beta").replace("₁", "1").replace("₂", "2").replace("−", "-")
    return " ".join(re.sub(r"[^\w.=+-]|_", " ", text).split())


def _pick(name: str, salt: str, count: int) -> int:
    return zlib.crc32(f"{salt}:{name}".encode()) % count


def family(variant_name: str) -> Family | None:
    """The update rule that a name speaks of, None if it speaks of none that is known here."""
    name = _normal(variant_name)
    return next((f for f in FAMILIES if re.search(f.pattern, name)), None)


def colour(variant_name: str) -> str:
    """The colour of a variant, as `#rrggbb`: the same in every figure of every study."""
    return line(variant_name)["color"]


def line(variant_name: str) -> Line:
    """Colour, line style and marker of a variant, for `axes.plot(..., **line(name))`.

    A name without a known rule gets a look that follows from its letters; see `lines` for a set of such
    names.
    """
    name = _normal(variant_name)
    found = family(variant_name)
    if found is None:
        return Line(
            color=_OTHER_COLOURS[_pick(name, "colour", len(_OTHER_COLOURS))],
            linestyle="-",
            marker=_OTHER_MARKERS[_pick(name, "marker", len(_OTHER_MARKERS))],
        )
    return Line(color=found.colour, linestyle=_line_style(name, found), marker=found.marker)


def _line_style(name: str, found: Family) -> LineStyle:
    """Solid for the rule itself; otherwise by what the name says beside the rule."""
    rest = " ".join(_SAYS_NOTHING.sub(" ", re.sub(found.pattern, " ", name, count=1)).split())
    if not rest or found.pattern.startswith("^"):
        return "-"
    said = [chosen for pattern, chosen in _CHANGES if re.search(pattern, rest)]
    if not said:
        return _STYLES[_pick(rest, "style", len(_STYLES))]
    changes = [chosen for chosen in dict.fromkeys(said) if chosen != "-"]
    return _SEVERAL if len(changes) > 1 else (changes or ["-"])[0]


def lines(names: Iterable[str]) -> dict[str, Line]:
    """The look of several names at once: those without a known rule share no colour while colours last."""
    looks: dict[str, Line] = {}
    others = 0
    for name in names:
        if family(name) is None:
            index = others % len(_OTHER_COLOURS)
            style: LineStyle = "-" if others < len(_OTHER_COLOURS) else "--"
            looks[name] = Line(color=_OTHER_COLOURS[index], linestyle=style, marker=_OTHER_MARKERS[index])
            others += 1
        else:
            looks[name] = line(name)
    return looks
