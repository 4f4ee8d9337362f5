"""How every figure looks, and how it is saved: the same bytes from the same data."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import XAxis, YAxis
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Bbox

from core.lab.figures.margins import measured_once
from core.lab.figures.remembered import remembered

INK = "#222222"
QUIET = "#6b6b6b"
GRID = "#d9d9d9"

_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # ships inside matplotlib, so it is always there
    "font.size": 9.5,
    "mathtext.fontset": "dejavusans",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.formatter.useoffset": False,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    # The grid's lines say where the numbers are; marks on the axis beside them would say it twice.
    "xtick.bottom": False,
    "ytick.left": False,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.major.pad": 5,
    "ytick.major.pad": 5,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.handlelength": 2.8,
    "lines.linewidth": 1.7,
    "lines.markersize": 5,
    "text.color": INK,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 100,
    "path.simplify_threshold": 0.2,
    # Glyphs as outlines: the picture does not depend on the reader's fonts. Its words are in the alt text.
    "svg.fonttype": "path",
    "svg.hashsalt": "vhat",
}
_FEW: dict[str, Any] = {"nbins": 5, "min_n_ticks": 3}
"""Numbers along an axis; each is a fiftieth of the time that a panel takes, and ink."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@contextmanager
def style() -> Iterator[None]:
    """The look of all figures within a `with` block; matplotlib's own settings come back after it."""
    if mpl.rcParams["svg.hashsalt"] == _RC["svg.hashsalt"]:
        # Within another such block: to put all settings aside and back takes a thirtieth of a report's time.
        yield
        return
    with mpl.rc_context():
        dict.update(mpl.rcParams, _settings())
        yield


@cache
def _settings() -> dict[Any, Any]:
    """Matplotlib's defaults with ours, checked once: figures enter `style` some thousand times."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_RC)
        return {key: mpl.rcParams[key] for key in mpl.rcParams if key != "backend"}


def new_figure(
    rows: int = 1,
    columns: int = 1,
    *,
    width: float | None = None,
    height: float | None = None,
    sharex: bool | Literal["none", "all", "row", "col"] = False,
    sharey: bool | Literal["none", "all", "row", "col"] = False,
) -> tuple[Figure, tuple[Axes, ...]]:
    """An empty figure and its panels, row by row: `figure, (left, right) = new_figure(columns=2)`.

    Args:
        rows, columns: how many panels.
        width, height: of the whole figure, in inches; chosen by the number of panels if None.
        sharex, sharey: as in matplotlib.
    """
    if width is None:
        width = 6.4 if columns == 1 else min(3.6 * columns, 10.8)
    if height is None:
        height = 3.6 if rows * columns == 1 else 2.9 * rows + 0.4
    with style():
        figure = Figure(figsize=(width, height), layout="constrained")
        panels = figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
        for axes in panels.flat:
            axes.locator_params(**_FEW)
        return figure, tuple(panels.flat)


def new_grid(
    count: int, columns: int, *, width: float | None = None, height: float | None = None
) -> tuple[Figure, tuple[Axes, ...]]:
    """An empty figure and `count` panels, so many side by side; the last row may be shorter.

    Args:
        width: of the whole figure, in inches.
        height: of a row, in inches.
    """
    rows = -(-count // columns)
    figure, panels = new_figure(rows, columns, width=width, height=None if height is None else height * rows)
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def label(
    axes: Axes,
    *,
    x: str | None = None,
    y: str | None = None,
    title: str | None = None,
    log: Literal["", "x", "y", "xy"] = "",
) -> None:
    """Name the axes (with units), title the panel, and make the axes named in `log` logarithmic.

    On a logarithmic axis values that are not positive are left out, never moved.
    """
    with style():
        if x is not None:
            axes.set_xlabel(x)
        if y is not None:
            axes.set_ylabel(y)
        if title is not None:
            axes.set_title(title)
        if "x" in log:
            axes.set_xscale("log", nonpositive="mask")
            name_powers(axes.xaxis)
        if "y" in log:
            axes.set_yscale("log", nonpositive="mask")
            name_powers(axes.yaxis)


class _LogTicks(LogLocator):
    """Ticks at powers of ten, and at more points the shorter the range is; within a factor of two at equal
    distances."""

    def __call__(self) -> Sequence[float]:
        assert self.axis is not None
        low, high = _ends(self.axis)
        if high <= 2 * low:
            places = MaxNLocator(**_FEW).tick_values(low, high)
        else:
            few = (within for most, within in _WITHIN_A_DECADE.items() if high <= most * low)
            self.set_params(subs=next(few, (1.0,)))
            places = super().__call__()
        # Places beyond the ends are never seen, and matplotlib would make a tick for each.
        return [place for place in places if low * (1 - 1e-9) <= place <= high * (1 + 1e-9)]


_WITHIN_A_DECADE = {
    4: (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0),
    30: (1.0, 2.0, 5.0),
    300: (1.0, 3.0),
}
"""Where ticks lie in each decade of an axis that spans at most so large a factor; else at powers of ten."""


def _ends(axis: Any) -> tuple[float, float]:
    low, high = sorted(axis.get_view_interval())
    return low, high


def _narrow(axis: Any) -> bool:
    low, high = _ends(axis)
    return bool(high <= max(_WITHIN_A_DECADE) * low)


def name_powers(axis: XAxis | YAxis) -> None:
    """Ticks of a logarithmic axis that do not run into each other, however short its range."""
    axis.set_major_locator(_LogTicks(numticks=_FEW["nbins"]))

    def text(value: float, _: int | None) -> str:
        if not 0.0 < value < math.inf:  # a tick beyond the last float
            return ""
        # Raised digits are glyphs of the font: a formula would be parsed anew for each of them.
        return f"{value:g}" if _narrow(axis) else "10" + str(round(math.log10(value))).translate(_RAISED)

    axis.set_major_formatter(FuncFormatter(text))
    # Minor ticks would be most of the time that a figure takes.
    axis.set_minor_locator(NullLocator())


def note(
    axes: Axes, text: str, *, corner: Literal["upper left", "upper right", "lower left", "lower right"]
) -> None:
    """A quiet remark in a corner of a panel."""
    up, right = corner.startswith("upper"), corner.endswith("right")
    with style():
        axes.annotate(
            text,
            (float(right), float(up)),
            xycoords="axes fraction",
            fontsize=8,
            color=QUIET,
            xytext=(-4 if right else 4, -4 if up else 4),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top" if up else "bottom",
        )


def legend_below(figure: Figure, axes: Axes | None = None, *, columns: int | None = None) -> None:
    """One legend under the figure, each name once, in the order of its first panel; call it once, at the end.

    Args:
        axes: take the names of this panel only; of all panels if None.
        columns: how many names a line; by the figure's width if None.
    """
    found: dict[str, Artist] = {}
    for panel in figure.axes if axes is None else [axes]:
        for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    if not found:
        return
    names = [wrapped(name) for name in found]
    if columns is None:
        longest = max(len(part) for name in names for part in name.splitlines())
        columns = max(1, min(len(names), int(figure.get_figwidth() * 12 / (longest + 8))))
        columns = math.ceil(len(names) / math.ceil(len(names) / columns))
    lines = sum(
        max(name.count("\n") + 1 for name in names[i : i + columns]) for i in range(0, len(names), columns)
    )
    # The legend's room is added to the figure, so that panels keep theirs.
    figure.set_figheight(figure.get_figheight() + 0.2 * lines)
    with style():
        figure.legend(list(found.values()), names, loc="outside lower center", ncols=columns)


def wrapped(name: str, width: int = 30) -> str:
    """A long name on several lines."""
    return "\n".join(textwrap.wrap(name, width)) or name


def plain(name: str) -> str:
    """A name from outside (a ticker, a column of somebody's file) as a figure's text shows it: never read as
    a formula, which a dollar sign would make of it."""
    return name.replace("$", r"\$")


def save_svg(figure: Figure, path: Path | BinaryIO, *, whole: bool = False) -> None:
    """Write an SVG file without empty margins; no date, fixed ids: the same figure gives the same bytes.

    Args:
        whole: keep the margins, so that points of the figure are points of the file.
    """
    with style(), remembered():
        filled = _laid_out(figure)
        figure.savefig(
            path,
            format="svg",
            bbox_inches=None if whole else filled,
            metadata={"Date": None, "Creator": None},
        )


def _laid_out(figure: Figure) -> Bbox:
    """Put a figure's panels where they belong, once and for all, and give what it fills, in inches.

    Saving with `bbox_inches="tight"` or with a layout engine draws everything twice. A layout engine fills
    the figure, except where a panel keeps its shape.
    """
    FigureCanvasSVG(figure)
    figure.set_dpi(FigureCanvasSVG.fixed_dpi)
    engine = figure.get_layout_engine()
    if engine is not None:
        with measured_once():
            engine.execute(figure)
        figure.set_layout_engine(None)
        if all(axes.get_aspect() == "auto" for axes in figure.axes):
            return Bbox.from_bounds(0.0, 0.0, *figure.get_size_inches())
    return figure.get_tightbbox().padded(0.04)


def save_png(figure: Figure, path: Path, *, dpi: int = 160) -> None:
    """Write a PNG file."""
    with style():
        figure.savefig(path, format="png", dpi=dpi, metadata={"Software": None})
