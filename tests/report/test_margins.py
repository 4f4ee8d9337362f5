"""Panels that are laid out with their margins measured once lie where matplotlib's two measures put them, but
for a few points; and nothing is cut off."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from matplotlib import _constrained_layout as layout
from matplotlib.figure import Figure

from core.lab import figures
from core.lab.figures import margins
from core.lab.figures.margins import MEASURE, measured_once
from core.lab.study import Results
from tests.lab import synthetic_study as synthetic

FIGURES = [synthetic.draw_curves, synthetic.draw_effects, synthetic.draw_paths]


def grid(_: Results) -> Figure:
    """Panels with labels of many lengths, one of them without axes, one that is square, one not seen."""
    figure, panels = figures.new_figure(rows=2, columns=4)
    for i, axes in enumerate(panels):
        axes.plot([0, 10.0 ** (i - 2)], [-(10.0**i), 10.0**i])
        figures.label(axes, x="step", y="value", title=f"panel {i}", log="x" if i == 5 else "")
    panels[1].set_axis_off()
    panels[2].set_box_aspect(1)
    panels[7].set_visible(False)
    return figure


def places(figure: Figure) -> np.ndarray:
    """`[panels, 2, 2]` in points."""
    size = 72 * figure.get_size_inches()
    return np.array([axes.get_position().get_points() * size for axes in figure.axes if axes.get_visible()])


def laid_out(draw: Callable[[Results], Figure]) -> Figure:
    figure = draw(synthetic.results())
    engine = figure.get_layout_engine()
    assert engine is not None
    with figures.style():
        engine.execute(figure)
        figure.set_layout_engine(None)
    return figure


@pytest.mark.parametrize("draw", [*FIGURES, grid])
def test_panels_lie_where_two_measures_put_them(draw: Callable[[Results], Figure]) -> None:
    with measured_once():
        once = laid_out(draw)
    np.testing.assert_allclose(places(once), places(laid_out(draw)), atol=5.0)
    filled, (width, height) = once.get_tightbbox(), once.get_size_inches()
    assert min(filled.x0, filled.y0, width - filled.x1, height - filled.y1) > -2 / 72


def test_what_stands_around_a_panel_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measure, calls = getattr(layout, MEASURE), []
    monkeypatch.setattr(layout, MEASURE, lambda axes, renderer: calls.append(axes) or measure(axes, renderer))
    with measured_once():
        panels = laid_out(grid).axes
    assert len(calls) == len(set(calls)) == len(panels)


def test_a_panel_whose_ticks_change_is_measured_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = iter(range(100))
    monkeypatch.setattr(margins, "_ticks", lambda _: next(seen))
    with measured_once():
        once = laid_out(grid)
    np.testing.assert_array_equal(places(once), places(laid_out(grid)))


def test_matplotlib_is_as_before_afterwards() -> None:
    before = getattr(layout, MEASURE)
    with measured_once():
        assert getattr(layout, MEASURE) is not before
    assert getattr(layout, MEASURE) is before
