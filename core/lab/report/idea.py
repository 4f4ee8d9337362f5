"""The first page's figure: what v-hat remembers of a gradient whose noise grows and falls."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

from core.lab.experiment import Array
from core.lab.figures import label, legend_below, new_figure, style
from core.lab.random import Keys

STEPS = 4000
BETA2 = (0.9, 0.99, 0.999)
_COLOURS = ("#E69F00", "#009E73", "#0072B2")
QUIET, LOUD = 0.1, 3.0
"""Standard deviation of the noise at first, and in the middle."""

CAPTION = (
    "One coordinate whose gradient has mean 0.1 and noise that grows thirtyfold, stays, and falls again. "
    "v̂ follows the true mean square: fast and unsteady with a short memory, steady and late with a long one."
)
ALT = (
    "Four lines over 4000 steps. The true mean square, dashed, rises from 0.02 to 9, stays, and falls "
    "back. v-hat with beta2 0.9 jumps around it; with 0.99 it follows closely; with 0.999 it is smooth, and "
    "after the fall it still lies far above the truth at the end."
)


def noise(steps: int = STEPS) -> Array:
    """Standard deviation over the steps, float64 `[steps]`: quiet, growing, loud, falling, quiet."""
    corners = np.array([0.0, 0.2, 0.35, 0.6, 0.65, 1.0]) * steps
    heights = np.log([QUIET, QUIET, LOUD, LOUD, QUIET, QUIET])
    return np.exp(np.interp(np.arange(steps), corners, heights))


def second_moment(gradient: Array, beta2: float) -> Array:
    """v-hat after each step, `[T]`: Kingma and Ba 2015, algorithm 1."""
    v, found = 0.0, np.empty(len(gradient))
    for t, g in enumerate(gradient, start=1):
        v = beta2 * v + (1 - beta2) * g * g
        found[t - 1] = v / (1 - beta2**t)
    return found


def draw() -> Figure:
    """The figure."""
    scale, mean = noise(), QUIET
    draws = Keys.of(range(2), study="report: v-hat", device="cpu").normal(STEPS, dtype=torch.float64)
    gradient = mean + scale * draws[0].numpy()
    steps = np.arange(1, STEPS + 1)
    figure, (axes,) = new_figure(width=7.4, height=3.4)
    with style():
        for beta2, colour in zip(BETA2, _COLOURS, strict=True):
            line = second_moment(gradient, beta2)
            # Every fourth step: more cannot be told apart.
            axes.plot(steps[::4], line[::4], color=colour, linewidth=1.3, label=f"v̂, β₂ = {beta2}")
        truth = mean**2 + scale**2
        axes.plot(steps, truth, color="black", linewidth=1.6, linestyle=(0, (4, 2)), label="true mean square")
    label(axes, x="step", y="mean square of the gradient", log="y")
    legend_below(figure)
    return figure
