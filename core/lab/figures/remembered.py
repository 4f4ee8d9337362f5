"""Measures of text and ticks, taken once: to lay out and draw a figure asks for each some twenty times.

Within `remembered()` two methods of matplotlib's own give again what they gave for the same text in the same
font, and for the same axis with the same limits and room for as many ticks. A test compares the bytes of
figures drawn with and without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from matplotlib.axis import Axis
from matplotlib.text import Text

LAYOUT, TICKS = "_get_layout", "_update_ticks"
_KNOWN = "_vhat_ticks"


@contextmanager
def remembered() -> Iterator[None]:
    """While figures are laid out and drawn within a `with` block; measures of text go with the outermost."""
    measure, update = getattr(Text, LAYOUT), getattr(Axis, TICKS)
    if hasattr(measure, "remembers"):
        yield
        return
    setattr(Text, LAYOUT, _layouts(measure))
    setattr(Axis, TICKS, _ticks(update))
    try:
        yield
    finally:
        setattr(Text, LAYOUT, measure)
        setattr(Axis, TICKS, update)


def _layouts(measure: Callable[..., Any]) -> Callable[..., Any]:
    """Where the lines of a text stand around its place: a matter of its words and its font."""
    known: dict[object, Any] = {}

    def layout(text: Text, renderer: Any) -> Any:
        figure = text.get_figure(root=True)
        if text.get_wrap() or text.get_usetex() or figure is None:
            return measure(text, renderer)
        key = (
            type(renderer),
            figure.dpi,
            text.get_text(),
            hash(text.get_fontproperties()),
            text.get_rotation(),
            text.get_rotation_mode(),
            text.get_horizontalalignment(),
            text.get_verticalalignment(),
            getattr(text, "_multialignment", None),
            getattr(text, "_linespacing", None),
            text.get_parse_math(),
        )
        if key not in known:
            known[key] = measure(text, renderer)
        return known[key]

    layout.remembers = True  # type: ignore[attr-defined]
    return layout


def _ticks(update: Callable[..., Any]) -> Callable[..., Any]:
    """The ticks of an axis that are seen, at their values: a matter of its limits and of how many have room;
    where on the page it lies does not count. The axis keeps them, so that they go with its figure."""

    def ticks(axis: Axis) -> Any:
        key = (
            tuple(axis.get_view_interval()),
            axis.get_tick_space(),
            axis.get_scale(),
            axis.get_major_locator(),
            axis.get_major_formatter(),
            axis.get_minor_locator(),
            axis.get_minor_formatter(),
        )
        known = getattr(axis, _KNOWN, None)
        if known is None or known[0] != key:
            known = (key, update(axis))
            setattr(axis, _KNOWN, known)
        return known[1]

    return ticks
