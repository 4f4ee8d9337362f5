r"""Study `bias-correction`: the errors of m and v over time, measured and in closed form.

Let x be g (for m) or g^2 (for v), independent over steps, with relative variance
`rho = Var x / (E x)^2`, and e_t an exponential average of decay b that starts at zero. Then
`E e_t = (1 - b^t) E x` and `Var e_t = (1-b)/(1+b) (1 - b^{2t}) Var x`, so the mean squares of the relative
errors are

.. math::
    \text{uncorrected: } c \rho (1 - b^{2t}) + b^{2t}, \qquad
    \text{corrected: } c \rho \frac{1 + b^t}{1 - b^t}, \qquad c = \frac{1-b}{1+b}.

Correction removes the bias and enlarges the noise: it lowers the error exactly while
`b^t (1 - b^t) / ((1 + b^t)(2 - b^t)) > c rho`. The left side is at most 1/9: for a gradient noisy enough it
never does. Steps behave the other way round than moments: without correction a step is
`(1 - beta1^t) / sqrt(1 - beta2^t)` times as long, which is above 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from core.lab import figures
from core.lab.experiment import Array
from core.lab.measurement import Cell
from core.lab.random import Keys
from core.lab.study import Results
from core.optim.rules import RULES
from core.problems.streams import Stream, follow

STREAMS = {
    "steady gradient": Stream(mean=1.0, noise=0.0),
    "signal and noise": Stream(mean=1.0, noise=1.0),
    "noise alone": Stream(mean=0.0, noise=1.0),
    "rare gradient": Stream(mean=1.0, noise=0.0, chance=0.01),
}
BETAS = {"m": 0.9, "v": 0.999}
COORDINATES = 16
STEPS = 10_000
TIMES = tuple(sorted({round(x) for x in np.geomspace(1, STEPS, 49)} | {1, 5, 10, 100, 500, 1000}))
SMALL = 0.01


def expected(stream: Stream, moment: str) -> float:
    """What the moment estimates: E g or E g^2."""
    return stream.first_moment if moment == "m" else stream.second_moment


def relative_variance(stream: Stream, moment: str) -> float:
    """rho, the relative variance of g or of g^2."""
    square = stream.second_moment if moment == "m" else stream.fourth_moment
    return square / expected(stream, moment) ** 2 - 1.0


def rms_error(stream: Stream, moment: str, t: Array, *, corrected: bool) -> Array:
    """The closed form of the root-mean-square relative error after t steps, `[T]` to `[T]` (module
    docstring)."""
    beta = BETAS[moment]
    noise = (1 - beta) / (1 + beta) * relative_variance(stream, moment)
    b = beta ** np.asarray(t, dtype=np.float64)
    square = noise * (1 + b) / (1 - b) if corrected else noise * (1 - b**2) + b**2
    root: Array = np.sqrt(square)
    return root


def step_factor(t: Array) -> Array:
    """How many times as long a step without bias correction is, eps apart: `[T]` to `[T]`."""
    t = np.asarray(t, dtype=np.float64)
    factor: Array = (1 - BETAS["m"] ** t) / np.sqrt(1 - BETAS["v"] ** t)
    return factor


def judged(stream: Stream) -> tuple[str, ...]:
    """The moments that have a relative error: those that do not estimate zero."""
    return tuple(m for m in BETAS if expected(stream, m) != 0)


def relative_errors(cell: Cell, keys: Keys, *, device: str) -> dict[str, Array]:  # noqa: ARG001
    """Adam's own state along a stream, read at `TIMES`.

    Returns:
        `m`, `v`, `m corrected`, `v corrected`: `[R, len(TIMES), COORDINATES]`, (estimate - truth) / truth,
        for the moments that are judged.
    """
    stream = STREAMS[cell["stream"]]
    kept: dict[str, list[torch.Tensor]] = {}
    steps = follow(RULES["adam"], stream.gradients(keys, STEPS, COORDINATES))
    for t, (_, state) in enumerate(steps, start=1):
        if t not in TIMES:
            continue
        for moment, value in {"m": state.exp_avg, "v": state.exp_avg_sq}.items():
            if moment in judged(stream):
                truth, share = expected(stream, moment), 1 - BETAS[moment] ** t
                kept.setdefault(moment, []).append(value / truth - 1)
                kept.setdefault(f"{moment} corrected", []).append(value / share / truth - 1)
    return {name: torch.stack(values, dim=1).cpu().numpy() for name, values in kept.items()}


def vanishes(moment: str) -> int:
    """The first step at which correction changes the moment by at most 1%."""
    return math.ceil(math.log(SMALL / (1 + SMALL)) / math.log(BETAS[moment]))


def draw_errors(results: Results) -> Figure:
    """Error of both moments over time, corrected and not, beside the closed form."""
    found = results.measurement("moments")
    figure, panels = figures.new_figure(columns=2, height=4.4, width=10.0)
    looks = figures.lines(STREAMS)
    t = np.array(TIMES)
    for axes, moment in zip(panels, BETAS, strict=True):
        for name, stream in STREAMS.items():
            if moment not in judged(stream):
                continue
            for corrected in (True, False):
                errors = found.only(stream=name)[f"{moment} corrected" if corrected else moment]
                error = np.sqrt((errors**2).mean(axis=(0, 2)))
                seen = error > 1e-9
                look: dict[str, Any] = {**looks[name], "linestyle": "-" if corrected else "--"}
                axes.plot(
                    t[seen],
                    error[seen],
                    **look,
                    markevery=8,
                    label=f"{name}, {'corrected' if corrected else 'uncorrected'}",
                )
                form = rms_error(stream, moment, t, corrected=corrected)
                axes.plot(t[form > 0], form[form > 0], color="black", linewidth=0.8, linestyle=":")
        axes.set_ylim(1e-3, 40)
        axes.axvline(vanishes(moment), color="grey", linewidth=0.8)
        figures.note(axes, f"grey: correction below 1% from step {vanishes(moment)}", corner="upper right")
        title = f"{moment}, beta = {BETAS[moment]}"
        figures.label(axes, x="step t", y="root-mean-square relative error", title=title, log="xy")
    figures.legend_below(figure)
    return figure
