"""What a drawn figure shows, read from it again and said in numbers: for those who do not see it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgb
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import FixedLocator

from core.lab.experiment import Array
from core.lab.figures.effects import LEFT, RIGHT
from core.lab.tables import number, with_interval


@dataclass(frozen=True)
class Panel:
    """A panel of a figure in words.

    Attributes:
        title: as written over it; empty where nothing is.
        axes: what its axes measure.
        rows: pairs (name as in the legend or beside the axis, what it does in numbers).
    """

    title: str
    axes: str
    rows: tuple[tuple[str, str], ...]


def words_of(figure: Figure) -> tuple[Panel, ...]:
    """The panels that are seen and hold something that has a name, in the order of the figure."""
    seen = [axes for axes in figure.axes if axes.get_visible() and axes.axison]
    found = [(axes, tuple(dict.fromkeys(_rows(axes)))) for axes in seen]
    names = {axes: (_name(axes, "x", seen), _name(axes, "y", seen)) for axes in seen}
    return tuple(Panel(_plain(_title(axes)), _axes(axes, *names[axes]), rows) for axes, rows in found if rows)


def _title(axes: Axes) -> str:
    return next(filter(None, (axes.get_title(loc=at) for at in ("left", "center", "right"))), "")


def _name(axes: Axes, which: str, seen: Sequence[Axes]) -> str:
    """An axis' name; where panels side by side or above each other share one, that which is written."""
    own = getattr(axes, f"get_{which}label")()
    if own:
        return _plain(own)
    order = seen[: seen.index(axes)][::-1] if which == "y" else seen[seen.index(axes) :]
    return _plain(next(filter(None, (getattr(a, f"get_{which}label")() for a in order)), ""))


def _axes(axes: Axes, x: str, y: str) -> str:
    parts = []
    for name, which in ((x, "x"), (y, "y")):
        scale = ", logarithmic" if getattr(axes, f"get_{which}scale")() == "log" else ""
        names = _names(axes.yaxis if which == "y" else axes.xaxis)
        if name and not names:
            parts.append(f"{'across' if which == 'x' else 'up'}: {name}{scale}")
    return "; ".join(parts)


def _plain(text: str) -> str:
    return " ".join(text.replace(r"\$", "$").split())


def _names(axis: XAxis | YAxis) -> dict[int, str]:
    """Names that are written along an axis, or along the neighbour that shares it, by their place."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return {}
    places = axis.get_ticklocs()
    texts = [_plain(text) for text in axis.get_major_formatter().format_ticks(list(places))]
    if all(_is_number(text) for text in texts):
        return {}
    return {round(float(at)): text for at, text in zip(places, texts, strict=True) if text}


def _beside(axes: Axes) -> dict[int, str]:
    """The names of a panel's rows: along its own axis or, where that is bare, along the nearest panel to its
    left whose rows lie at the same heights."""
    own, spec = _names(axes.yaxis), axes.get_subplotspec()
    figure = axes.get_figure(root=True)
    if own or spec is None or figure is None or not _is_bare(axes.yaxis):
        return own
    left = [
        (place.colspan.start, names)
        for other in figure.axes
        if (place := other.get_subplotspec()) is not None
        and (place.get_gridspec(), place.rowspan) == (spec.get_gridspec(), spec.rowspan)
        and place.colspan.start < spec.colspan.start
        and other.get_ylim() == axes.get_ylim()
        and (names := _names(other.yaxis))
    ]
    return max(left, key=lambda own: own[0])[1] if left else {}


def _is_bare(axis: XAxis | YAxis) -> bool:
    """Whether fixed places along an axis have nothing written at them."""
    fixed = isinstance(axis.get_major_locator(), FixedLocator)
    return fixed and not any(axis.get_major_formatter().format_ticks(list(axis.get_ticklocs())))


def _is_number(text: str) -> bool:
    if "mathdefault" in text:  # matplotlib's way to write a power of ten
        return True
    try:
        float(text.replace("\u2212", "-") or 0)
    except ValueError:
        return False
    return True


def _rows(axes: Axes) -> Iterator[tuple[str, str]]:
    beside = _beside(axes)
    if beside and axes.images:
        yield from _cells(axes, beside, _names(axes.xaxis))
    elif beside:
        yield from _intervals_by_row(axes, beside)
    for container in axes.containers:
        name = str(container.get_label())
        if isinstance(container, BarContainer):
            yield from _bars(container, name, beside)
        elif isinstance(container, ErrorbarContainer) and _has_name(name):
            yield from _line(container.lines[0], name, axes)
    shown = {id(c.lines[0]) for c in axes.containers if isinstance(c, ErrorbarContainer)}
    for line in axes.get_lines():
        in_row = beside and len(_numbers(line.get_xdata())) == 1
        if _has_name(str(line.get_label())) and id(line) not in shown and not in_row:
            yield from _line(line, str(line.get_label()), axes)
    for points in axes.collections:
        if isinstance(points, PathCollection):
            yield from _points(points, axes)


def _cells(axes: Axes, beside: dict[int, str], along: dict[int, str]) -> Iterator[tuple[str, str]]:
    """What is written in the cells of a coloured map, row by row."""
    written = {t.get_position(): _plain(t.get_text()) for t in axes.texts}
    for row, name in beside.items():
        cells = [f"{of}: {written[at, row]}" for at, of in along.items() if (at, row) in written]
        if cells:
            yield name, "; ".join(cells)


def _has_name(label: str) -> bool:
    return bool(label) and not label.startswith("_")


def _intervals_by_row(axes: Axes, beside: dict[int, str]) -> Iterator[tuple[str, str]]:
    """An interval is a line of two points at its height, with an arrow where it has no end, and its estimate
    is a marker; several of one row lie a little above and below it, told apart by the legend."""
    remarks = {t.xy[1]: _plain(t.get_text()) for t in axes.texts if isinstance(t, Annotation)}
    drawn = [(height, line) for line in axes.get_lines() if (height := _height(line)) is not None]
    heights = {height for height, _ in drawn} | {float(h) for h in remarks if h in beside}
    crowd = Counter(map(round, heights))
    for height in sorted(heights):
        name = beside.get(round(height))
        if name is None:
            continue
        own = [line for at, line in drawn if at == height]
        arrows = {str(line.get_marker()) for line in own} & {LEFT, RIGHT}
        spans = [x for line in own if len(x := _numbers(line.get_xdata())) == 2]
        marks = [line for line in own if len(_numbers(line.get_xdata())) == 1 and not _is_arrow(line)]
        if spans:
            low = -np.inf if LEFT in arrows else float(spans[0].min())
            high = np.inf if RIGHT in arrows else float(spans[0].max())
            lost = np.inf if RIGHT in arrows else -np.inf
            estimate = float(_numbers(marks[-1].get_xdata())[0]) if marks else lost
            which = _in_legend(marks[-1], axes) if marks and crowd[round(height)] > 1 else ""
            yield name + (f", {which}" if which else ""), with_interval((estimate, low, high))
        elif height in remarks:
            yield name, remarks[height]


def _in_legend(mark: Line2D, axes: Axes) -> str:
    """The name of the figure's only entry that looks like a marker, in its colour or, where the colour says
    something else, in its shape and whether it is full; empty if there is none."""
    figure = axes.get_figure(root=True)
    lines = [line for panel in figure.axes for line in panel.get_lines()] if figure else []
    named = [line for line in lines if _has_name(str(line.get_label()))]
    for look in (_coloured, _shaped):
        found = {_plain(str(line.get_label())) for line in named if look(line) == look(mark)}
        if len(found) == 1:
            return found.pop()
    return ""


def _coloured(line: Line2D) -> tuple[object, ...]:
    return (*_shaped(line), to_rgb(line.get_color()))


def _shaped(line: Line2D) -> tuple[object, ...]:
    return line.get_marker(), to_rgb(line.get_markerfacecolor()) == to_rgb(line.get_color())


def _is_arrow(line: Line2D) -> bool:
    return line.get_marker() in (LEFT, RIGHT)


def _height(line: Line2D) -> float | None:
    y = _numbers(line.get_ydata())
    return float(y[0]) if 0 < len(y) <= 2 and np.isfinite(y).all() and y[0] == y[-1] else None


def _numbers(data: Any) -> Array:
    try:
        return np.asarray(data, dtype=np.float64).ravel()
    except (TypeError, ValueError):  # dates
        return np.array([])


def _bars(bars: BarContainer, name: str, beside: dict[int, str]) -> Iterator[tuple[str, str]]:
    what = f"{_plain(name)}: " if _has_name(name) else ""
    for bar in bars.patches:
        row = beside.get(round(bar.get_y() + bar.get_height() / 2))
        if row is not None:
            yield row, what + number(bar.get_x() + bar.get_width())


def _line(line: Line2D, name: str, axes: Axes) -> Iterator[tuple[str, str]]:
    x, y = np.asarray(line.get_xdata()), _numbers(line.get_ydata())
    in_x, in_y = line.get_transform().contains_branch_seperately(axes.transData)
    if not (in_x and in_y):
        # A level: its other coordinate runs over the whole panel.
        level = y if in_y else _numbers(x) if in_x else np.array([])
        if len(level):
            yield _plain(name), f"at {number(float(level[0]))}"
        return
    across = _numbers(x) if len(_numbers(x)) == len(y) else np.arange(len(y), dtype=np.float64)
    drawn = np.isfinite(across) & np.isfinite(y)
    if drawn.any():
        places = [_place(value) for value in x[drawn]]
        way = across[drawn]
        if (np.diff(way) >= 0).all():
            yield _plain(name), _curve(places, y[drawn])
        else:
            yield _plain(name), _path(places, y[drawn])


def _place(value: Any) -> str:
    if not isinstance(value, (int, float, np.number)):
        return str(value).partition("T")[0]  # a date
    size = float(value)
    return f"{int(size):,}" if size.is_integer() and abs(size) < 1e9 else number(size)


def _curve(places: Sequence[str], y: Array) -> str:
    """Where a curve begins and ends, and its extremes where they are not as high as either."""
    if len(y) == 1:
        return f"{number(float(y[0]))} at {places[0]}"
    start, end = number(float(y[0])), number(float(y[-1]))
    said = f"from {start} at {places[0]} to {end} at {places[-1]}"
    for word, at in (("lowest", int(y.argmin())), ("highest", int(y.argmax()))):
        extreme = number(float(y[at]))
        if extreme not in (start, end):
            said += f"; {word} {extreme} at {places[at]}"
    return said


def _path(places: Sequence[str], y: Array) -> str:
    """Where a path through the plane begins and ends, and how far it reaches up and down."""
    start, end = (f"({places[i]}, {number(float(y[i]))})" for i in (0, -1))
    return (
        f"a path from {start} to {end}, between heights {number(float(y.min()))} and {number(float(y.max()))}"
    )


def _points(points: PathCollection, axes: Axes) -> Iterator[tuple[str, str]]:
    """A cloud, named by its own label or by the entry of the legend that has its colour."""
    xy: Array = np.asarray(np.ma.filled(points.get_offsets(), np.nan), dtype=np.float64)
    xy = xy[np.isfinite(xy).all(axis=1)]
    if not len(xy):
        return
    name = str(points.get_label())
    if not _has_name(name):
        colours = points.get_facecolor()
        shade = tuple(np.asarray(colours)[0][:3]) if len(colours) else None
        same = [line for line in axes.get_lines() if not len(line.get_xdata()) and _shade(line) == shade]  # type: ignore[arg-type]
        name = str(same[0].get_label()) if same else ""
    (left, low), (right, high) = xy.min(axis=0), xy.max(axis=0)
    count = f"{len(xy):,} point{'s' if len(xy) > 1 else ''}"
    yield (
        _plain(name) or "points",
        f"{count}, across from {number(left)} to {number(right)}, up from {number(low)} to {number(high)}",
    )


def _shade(line: Line2D) -> tuple[float, ...]:
    return tuple(to_rgb(line.get_color()))
