"""Does Adam take a short, straight way out of a 100:1 canyon in which gradient descent crawls or bounces?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from core.lab import figures, stats
from core.lab.experiment import Array, Experiment
from core.lab.films import Film, FilmSpec, Trail, every
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Regime, Sweep
from core.lab.tables import sweep_table
from core.lab.variant import Grid, Variant
from core.lab.verdict import Finding, Outcome, Verdict, finding, tally, verdict
from core.problems.quadratic import Canyon

CONDITION = 100.0
TOLERANCES = {"coarse": 1e-2, "fine": 1e-6}
REGIMES = (
    Regime("axis-aligned", Canyon, {"condition": CONDITION}, "the canyon's axes are the coordinates"),
    Regime(
        "turned by 45°", Canyon, {"condition": CONDITION, "degrees": 45.0}, "no coordinate is steep or flat"
    ),
)
MOMENTA = (0.5, 0.7, 0.8, 0.9, 0.95)
VARIANTS = (
    Variant("Gradient descent", "sgd"),
    Variant("Momentum", "momentum", tune={"momentum": MOMENTA}),
    Variant("Nesterov", "nesterov", tune={"momentum": MOMENTA}),
    Variant("RMSProp", "rmsprop"),
    Variant("Adam", "adam"),
    Variant("Adam, beta1 tuned", "adam", tune={"beta1": MOMENTA}),
    Variant("AMSGrad", "amsgrad"),
    Variant("Adam, beta1 = 0", "adam", {"beta1": 0.0}, control=True, note="removes momentum"),
    Variant("Adam, shared v", "adam_shared_v", control=True, note="removes coordinate-wise scaling"),
    Variant("Sign descent", "signsgd", control=True, note="removes memory: only the gradient's signs"),
    Variant("Normalised descent", "normalized_sgd", control=True, note="removes the gradient's length only"),
)
GRID = Grid.between(1e-3, 1.0, per_decade=4)
DRAWN = ("Gradient descent", "Momentum", "Adam, shared v", "Adam")
STRAIGHTER = "Adam's way is straighter than gradient descent's, both tuned"


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """One sweep a tolerance: a rate that is good for a rough answer need not be good for a fine one."""
    return tuple(
        Sweep(
            name=name,
            study="canyon",
            regimes=REGIMES,
            variants=VARIANTS,
            grid=GRID,
            objective=Objective(
                "gap",
                at="hit",
                threshold=tolerance,
                across="median",
                label=f"steps to a gap of {tolerance:g}",
            ),
            steps=plan.steps,
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=plan.reporting_seeds,
            # Every step is recorded: a path that is sampled now and then looks straighter than it is.
            recording=Recording(points=plan.steps, path=True, tuning_points=2),
        )
        for name, tolerance in TOLERANCES.items()
    )


def straightness(run: Run) -> Array:
    """`[R]`: distance from the start to where the tolerance is reached over the way's length; 0 if never."""
    assert run.path is not None
    hits = run.hits["gap"]
    result = np.zeros(len(hits))
    for row in np.flatnonzero(hits > 0):
        way = run.path[row, : hits[row] + 1]
        length = np.linalg.norm(np.diff(way, axis=0), axis=1).sum()
        result[row] = np.linalg.norm(way[-1] - way[0]) / length
    return result


def _compare(results: Results, name: str, regime: str, a: str, b: str, *, decisive: bool = True) -> Finding:
    """Steps of `a` over steps of `b`, paired by start."""
    sweep = results.sweep(name)
    ratio = stats.ratio(sweep.values(regime, a), sweep.values(regime, b), "median")
    return finding(
        f"{regime}, {name}",
        ratio,
        below=1.0,
        replicas=results.plan.reporting_seeds,
        text=f"{a} needs fewer steps than {b}, both tuned",
        unit="x the steps",
        decisive=decisive,
    )


def _straighter(results: Results, name: str, regime: str) -> Finding:
    sweep = results.sweep(name)
    adam, descent = (straightness(sweep.run(regime, v)) for v in ("Adam", "Gradient descent"))
    return finding(
        f"{regime}, {name}",
        stats.paired_difference(adam, descent, "median"),
        above=0.0,
        replicas=results.plan.reporting_seeds,
        text=STRAIGHTER,
        unit="straightness (1 is a straight line)",
    )


def judge(results: Results) -> Verdict:
    """The criterion, regime by regime."""
    findings: list[Finding] = []
    beside: list[Finding] = []
    for name in TOLERANCES:
        for regime in results.sweep(name).regimes:
            findings += [
                _compare(results, name, regime, "Momentum", "Gradient descent"),
                _compare(results, name, regime, "Adam", "Gradient descent"),
                _straighter(results, name, regime),
            ]
            beside += [
                _compare(results, name, regime, "Adam", other, decisive=False)
                for other in ("Momentum", "Adam, shared v", "Adam, beta1 = 0")
            ]
            beside.append(_compare(results, name, regime, "Adam, beta1 tuned", "Momentum", decisive=False))
    faster = [f for f in findings if f.text.startswith("Adam needs fewer steps than Gradient")]
    rivals = [f for f in beside if f.text.startswith("Adam needs fewer steps than Momentum")]
    short = (
        f"Tuned Adam is faster than tuned gradient descent in {tally(faster)} settings; tuned momentum is at "
        f"least as fast as Adam in {tally(rivals, Outcome.FAILS)}."
    )
    return verdict([*findings, *beside], _sentence(findings, beside), short=short, main=faster[0])


def _sentence(findings: list[Finding], beside: list[Finding]) -> str:
    """What a reader should remember, put together from the outcomes."""
    settings = len({f.regime for f in findings})

    def count(text: str, outcome: Outcome = Outcome.HOLDS) -> str:
        chosen = [f for f in [*findings, *beside] if f.text.startswith(text) and f.outcome is outcome]
        return "all" if len(chosen) == settings else f"{len(chosen) or 'none'} of {settings}"

    return (
        "Tuned Adam is faster than tuned gradient descent in "
        f"{count('Adam needs fewer steps than Gradient')} settings and goes straighter in "
        f"{count(STRAIGHTER)}; tuned momentum is at least as fast as Adam in "
        f"{count('Adam needs fewer steps than Momentum', Outcome.FAILS)}, and as Adam with tuned beta1 in "
        f"{count('Adam, beta1 tuned needs fewer', Outcome.FAILS)} (which is faster in "
        f"{count('Adam, beta1 tuned needs fewer')}); Adam's scaling of coordinates pays "
        "(Adam beats itself with one v for both) in "
        f"{count('Adam needs fewer steps than Adam, shared v')}."
    )


def _landscape(settings: Mapping[str, Any]) -> Callable[[Array, Array], Array]:
    """The canyon's height over the plane, for contour lines."""
    problem = Canyon(**settings)

    def height(x: Array, y: Array) -> Array:
        points = torch.from_numpy(np.stack([x.ravel(), y.ravel()], axis=1))
        return np.asarray(problem.measure(points, Keys.of([0]))["gap"]).reshape(x.shape)

    return height


def way_of(run: Run, row: int) -> Array:
    """`[T, 2]`: a replica's way to the tolerance, all of it where it does not get there."""
    assert run.path is not None
    hit = int(run.hits["gap"][row])
    return np.asarray(run.path[row, : hit + 1 if hit >= 0 else None])


def between_the_walls(run: Run, degrees: float) -> int:
    """The replica whose start lies most nearly halfway between the canyon's floor and its steepest slope."""
    assert run.path is not None
    start = run.path[:, 0] @ np.exp(1j * np.deg2rad([-degrees, 90.0 - degrees]))
    return int(np.argmin(np.abs(np.abs(start.real) - np.abs(start.imag))))


def draw_paths(results: Results) -> Figure:
    """Paths of the first reporting seed through the canyon, both orientations."""
    figure, panels = figures.new_figure(columns=len(REGIMES), height=4.4)
    sweep = results.sweep("coarse")
    for axes, regime in zip(panels, REGIMES, strict=True):
        figures.landscape(axes, _landscape(regime.settings), (-1.3, 1.3), (-1.3, 1.3))
        for name in DRAWN:
            figures.phase_path(axes, way_of(sweep.run(regime.name, name), 0), name)
        axes.set_xlim(-1.3, 1.3)
        axes.set_ylim(-1.3, 1.3)
        axes.set_aspect("equal")
        figures.label(axes, x="first parameter", y="second parameter", title=regime.name)
    figures.legend_below(figure)
    return figure


def film_paths(results: Results) -> Film:
    """Paths from a start that is far from the floor, step by step."""
    figure, panels = figures.new_figure(columns=len(REGIMES), width=8.0, height=4.2)
    sweep = results.sweep("coarse")
    trails: list[Trail] = []
    for axes, regime in zip(panels, REGIMES, strict=True):
        figures.landscape(axes, _landscape(regime.settings), (-1.3, 1.3), (-1.3, 1.3))
        row = between_the_walls(sweep.run(regime.name, "Adam"), regime.settings.get("degrees", 0.0))
        for name in DRAWN:
            trails.append(Trail.on(axes, way_of(sweep.run(regime.name, name), row), name, legend=name))
        axes.set_aspect("equal")
        figures.label(axes, x="first parameter", y="second parameter", title=regime.name)
    figures.legend_below(figure)
    steps = every(max(len(t.path) for t in trails) - 1, 40)

    def move(frame: int) -> str:
        for trail in trails:
            trail.to(steps[frame])
        return f"step {steps[frame]}"

    return Film(figure, [a for t in trails for a in t.artists], move, frames=len(steps))


def draw_steps(results: Results) -> Figure:
    """Steps to each tolerance in each orientation, for every variant."""
    figure, panels = figures.new_figure(rows=2, columns=2, height=7.6, width=9.6)
    cells = [(name, regime) for name in TOLERANCES for regime in results.sweep(name).regimes]
    for axes, (name, regime) in zip(panels, cells, strict=True):
        sweep = results.sweep(name)
        points = [stats.interval(sweep.values(regime, v), "median") for v in sweep.variants]
        axes.set_xscale("log")
        figures.dots_with_intervals(axes, sweep.variants, points)
        figures.label(axes, x=f"steps to a gap of {TOLERANCES[name]:g}", title=regime)
    return figure


def draw_rates(results: Results) -> Figure:
    """The whole learning-rate curve of each variant, on the tuning seeds."""
    figure, panels = figures.new_figure(columns=2, height=4.6)
    sweep = results.sweep("fine")
    for axes, regime in zip(panels, sweep.regimes, strict=True):
        figures.lr_curve(axes, sweep, regime)
        figures.label(axes, title=regime, log="y")
    figures.legend_below(figure)
    return figure


def tables(results: Results) -> tuple[Table, ...]:
    """One table a tolerance and an orientation."""
    return tuple(
        sweep_table(results.sweep(n), regime) for n in TOLERANCES for regime in results.sweep(n).regimes
    )


STUDY = Study(
    id="canyon",
    title="A narrow canyon",
    question="My loss has a steep and a flat direction: does Adam get down faster?",
    claim=(
        "In a valley a hundred times steeper across than along, gradient descent must crawl or bounce; "
        "momentum does better; Adam, which scales each direction by its own second moment, goes to the "
        "minimum on a much more direct, diagonal way."
    ),
    setup=(
        "A quadratic bowl with curvatures 100 and 1, its axes on the coordinates or turned by 45 degrees; "
        "starts on the unit circle; exact gradients, float64. Each variant is tuned in its learning rate "
        "(four points a decade, widened at edges), momentum and Nesterov also in their coefficient, as is a "
        "further Adam in beta1, for the "
        "median number of steps to a gap of 1e-2 (coarse) and, separately, of 1e-6 (fine); then run from "
        "fresh starts. Straightness is the distance between the ends of the way over its length."
    ),
    criterion=(
        "In each of the four settings (two orientations, two tolerances), on fresh starts, with 95% "
        "bootstrap intervals over paired starts: momentum needs fewer steps than gradient descent (median "
        "ratio below 1), Adam needs fewer steps than gradient descent (below 1), and Adam's way is "
        "straighter (median difference above 0). Supported if all hold, refuted if all fail, conditional if "
        "some hold and others fail. Adam against momentum, against Adam with one v for both coordinates, "
        "and against Adam without momentum, and Adam tuned in beta1 against momentum, is shown beside the "
        "verdict: it says which part of Adam does the "
        "work."
    ),
    mathematics=(
        (
            r"f(x) = \frac{1}{2}\, x^\top H x, \qquad \kappa = "
            r"\frac{\lambda_{\max}(H)}{\lambda_{\min}(H)} = 100",
            "A quadratic a hundred times steeper across than along, as it stands or turned by 45 degrees.",
        ),
        (
            r"\rho_{\text{GD}} = \frac{\kappa - 1}{\kappa + 1}, \qquad \rho_{\text{momentum}} "
            r"= \frac{\sqrt\kappa - 1}{\sqrt\kappa + 1}",
            "The best factors by which gradient descent and Polyak's momentum (1964) can shrink the "
            "error a step, tuned. Adam has no such factor: it depends on the coordinates.",
        ),
    ),
    would_change=(
        "Starts or condition numbers for which tuned Adam needs more steps than tuned gradient "
        "descent, or an orientation other than these two in which one v for both coordinates changes "
        "who wins."
    ),
    plans={
        "tiny": Plan("tiny", steps=150, tuning_seeds=2, reporting_seeds=4),
        "quick": Plan("quick", steps=1000, tuning_seeds=20, reporting_seeds=40),
        "full": Plan("full", steps=3000, tuning_seeds=50, reporting_seeds=200),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "paths",
            "One start, each variant at its rate tuned for the coarse tolerance, up to where it is reached. "
            "Open circle: start. Grey: lines of equal loss, at equal ratios.",
            "Two panels with elongated contour lines and the paths of gradient descent, momentum, Adam with "
            "a shared second moment, and Adam; in the axis-aligned canyon and in the canyon turned by 45 "
            "degrees.",
            draw_paths,
        ),
        FigureSpec(
            "steps",
            "Median steps to the tolerance over fresh starts, with 95% bootstrap intervals. An arrow at the "
            "edge: the median start does not get there.",
            "Four panels of dots with intervals: steps to tolerance for eleven variants, by orientation and "
            "tolerance.",
            draw_steps,
            part="controls",
        ),
        FigureSpec(
            "rates",
            "Steps to a gap of 1e-6 over the learning rate, on the tuning seeds; the chosen rate is marked.",
            "Two panels of curves over the learning rate, one curve a variant, lower is better.",
            draw_rates,
            part="learning rates",
        ),
    ),
    films=(
        FilmSpec(
            "paths",
            "The same rules, step by step, from the start that lies most nearly halfway between the floor "
            "and the steepest slope. Each stops where it has reached the coarse tolerance.",
            "The two canyons with all four paths at their ends. In the film Adam and momentum arrive while "
            "gradient descent is still on its way along the floor.",
            film_paths,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is it the scaling of coordinates, or momentum, that beats gradient descent?",
            "Adam with one v for all coordinates keeps momentum and loses the scaling; Adam with beta1 = 0 "
            "keeps the scaling and loses momentum. Both stand beside Adam in every setting.",
        ),
        (
            "A canyon along the axes is made for a diagonal preconditioner.",
            "That is why the same canyon is turned by 45 degrees, where both coordinates have the same "
            "curvature.",
        ),
        (
            "Momentum's coefficient is tuned, and Adam's is not.",
            "Adam with beta1 tuned on momentum's own grid stands beside it, also against momentum.",
        ),
        (
            "Steps to which tolerance?",
            "To a coarse and to a fine one, each tuned for itself.",
        ),
    ),
    source="Kingma and Ba 2015 (Adam); Polyak 1964 (momentum); Nesterov 1983.",
)
