"""What is remembered while figures are drawn changes nothing of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext

import pytest
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text

from core.lab import figures
from core.lab.figures import remembered
from core.lab.study import Results
from tests.lab import synthetic_study as synthetic


def drawn_twice(draw: Callable[[Results], Figure], results: Results) -> tuple[bytes, bytes]:
    """As it is, and once more after its limits, its words and a locator have changed."""
    figure = draw(results)
    first, second = io.BytesIO(), io.BytesIO()
    figures.save_svg(figure, first)
    for axes in figure.axes:
        axes.set_xlim(0.1, 7.0)
        axes.set_title("otherwise")
        axes.set_yticks([0.5, 0.75])
    figures.save_svg(figure, second)
    return first.getvalue(), second.getvalue()


@pytest.mark.parametrize("draw", [synthetic.draw_curves, synthetic.draw_effects, synthetic.draw_paths])
def test_figures_have_the_bytes_that_they_have_without_it(
    draw: Callable[[Results], Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = synthetic.results()
    with remembered.remembered():
        within = drawn_twice(draw, results)
    monkeypatch.setitem(figures.save_svg.__globals__, "remembered", nullcontext)
    assert drawn_twice(draw, results) == within
    assert within[0] != within[1]


def methods() -> tuple[object, object]:
    return getattr(Text, remembered.LAYOUT), getattr(Axis, remembered.TICKS)


def test_nothing_outlives_the_block() -> None:
    before = methods()
    with remembered.remembered():
        within = methods()
        with remembered.remembered():
            assert methods() == within
        assert methods() == within
        assert within[0] is not before[0]
        assert within[1] is not before[1]
    assert methods() == before
