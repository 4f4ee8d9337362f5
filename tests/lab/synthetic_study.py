"""A study with made-up results for the tests of figures and report: names that bite, failures, infinities."""

from __future__ import annotations

import dataclasses

import numpy as np
from matplotlib.figure import Figure

from core.lab import figures
from core.lab.experiment import Array
from core.lab.measurement import MeasurementResult
from core.lab.problem import Problem
from core.lab.registry import Domain
from core.lab.report import Entry, Provenance
from core.lab.run import Run
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Regime, Sweep, SweepResult, Tuned
from core.lab.tables import sweep_table
from core.lab.variant import Grid, Variant
from core.lab.verdict import Verdict, finding, verdict

EVIL = "<script>alert('x')</script> & \"friends\""
STEPS = np.linspace(0, 400, 41).astype(np.int64)
SEEDS = 12
NAMES = ("Gradient descent", "Momentum", "Adam", "Adam, beta1 = 0", "Adam, shared v", EVIL)
REGIMES = ("along the axes", "turned by 45°")
PLAN = Plan("quick", steps=400, tuning_seeds=6, reporting_seeds=SEEDS, sizes={"episodes": 20})


def _no_problem(**_: object) -> Problem:
    raise AssertionError("results are made up: nothing is trained")


def run_of(seed: int, rate: float, *, lost: int = 0) -> Run:
    """Noisy exponential decay; the first `lost` replicas diverge halfway."""
    rng = np.random.default_rng(seed)
    noise = np.exp(0.3 * rng.standard_normal((SEEDS, len(STEPS))).cumsum(axis=1) / 4)
    loss = np.exp(-rate * STEPS)[None, :] * noise
    diverged = np.full(SEEDS, -1)
    diverged[:lost] = STEPS[20]
    loss[:lost, 20:] = np.nan
    turn = np.exp(1j * STEPS / 40.0 - 0.004 * STEPS)
    path = np.stack([np.stack([turn.real, turn.imag], axis=-1)] * SEEDS)
    return Run(STEPS, {"loss": loss}, diverged, path=path)


def tuned_of(seed: int, grid: Grid, *, edge: bool) -> Tuned:
    """A valley over the learning rate, infinite on its right end."""
    rates = np.array(grid.values())
    centre = np.log10(rates[-1 if edge else 3 + seed % 2])
    scores = 10 ** (-3 + (np.log10(rates) - centre) ** 2)
    losses = scores[:, None] * np.exp(0.2 * np.random.default_rng(seed).standard_normal((len(rates), 6)))
    if not edge:
        losses[-1], scores[-1] = np.inf, np.inf
    best = int(np.argmin(scores))
    return Tuned(
        {"lr": rates[best]},
        tuple({"lr": lr} for lr in grid.values()),
        scores,
        losses,
        ("lr",) if edge else (),
    )


def sweep_result() -> SweepResult:
    """Six variants in two regimes."""
    grid = Grid.between(1e-4, 1.0)
    rules = ("sgd", "momentum", "adam", "adam", "adam_shared_v", "signsgd")
    variants = tuple(
        Variant(
            name, rule, {"beta1": 0.0} if "beta1" in name else {}, control="shared" in name, note="no scaling"
        )
        for name, rule in zip(NAMES, rules, strict=True)
    )
    sweep = Sweep(
        "tuned",
        "synthetic",
        tuple(Regime(r, _no_problem) for r in REGIMES),
        variants,
        grid,
        Objective("loss", label="loss above the optimum"),
        400,
        6,
        SEEDS,
    )
    keys = [(r, n) for r in REGIMES for n in NAMES]
    tuned = {key: tuned_of(i, grid, edge=key[1] == EVIL) for i, key in enumerate(keys)}
    lost = {"Momentum": 2, "Gradient descent": 9}
    runs = {key: run_of(i, 0.004 + 0.004 * (i % 6), lost=lost.get(key[1], 0)) for i, key in enumerate(keys)}
    return SweepResult(sweep, tuned, runs)


def measurement_result() -> MeasurementResult:
    """Two factors, three rows a cell."""
    cells = tuple({"dtype": d, "scale": s} for d in ("float32", "float64") for s in (1e-30, 1.0))
    arrays: tuple[dict[str, Array], ...] = tuple({"step": np.full(3, c["scale"])} for c in cells)
    return MeasurementResult(cells, arrays)


def results() -> Results:
    """All of it."""
    return Results(PLAN, {"tuned": sweep_result(), "scales": measurement_result()})


def judge(_: Results) -> Verdict:
    """Findings of every kind: clear, unclear, infinite on one side or both, exact, beside the verdict."""
    inf, nan = float("inf"), float("nan")
    found = [
        finding(
            REGIMES[0], (0.42, 0.31, 0.58), below=1.0, replicas=SEEDS, text="Adam needs fewer steps", unit="x"
        ),
        finding(
            REGIMES[1], (1.9, 1.4, inf), below=1.0, replicas=SEEDS, text="Adam needs fewer steps", unit="x"
        ),
        finding(EVIL, (0.9, 0.6, 1.3), below=1.0, replicas=20, text=EVIL, unit=EVIL),
        finding("nothing came back", (inf, -inf, inf), below=1.0, replicas=SEEDS, text="who knows"),
        finding("no number", (nan, nan, nan), above=0.0, replicas=SEEDS, text="not defined"),
        finding("exact", (2.0, 2.0, 2.0), above=2.0, replicas=SEEDS, text="a closed form", decisive=False),
        finding(
            "huge", (1e308, -1e308, 1.7e308), above=2.0, replicas=SEEDS, text="a large one", decisive=False
        ),
    ]
    return verdict(found, f"Adam wins where the axes are the coordinates, and {EVIL} does not matter.")


def draw_curves(results: Results) -> Figure:
    """Learning curves with intervals, and the learning-rate curve."""
    sweep = results.sweep("tuned")
    figure, (left, right) = figures.new_figure(columns=2)
    for name in sweep.variants:
        run = sweep.run(REGIMES[0], name)
        figures.curves_with_intervals(left, run.steps, run.curves["loss"], name)
    figures.label(left, x="step", y="loss above the optimum", title="learning curves", log="y")
    figures.lr_curve(right, sweep, REGIMES[0])
    figures.label(right, title="sensitivity")
    figures.legend_below(figure)
    return figure


def draw_effects(results: Results) -> Figure:
    """The findings."""
    figure, (axes,) = figures.new_figure()
    figures.effect_bars(axes, judge(results).findings[:-1])
    figures.legend_below(figure)
    return figure


def draw_paths(results: Results) -> Figure:
    """Two paths over a landscape."""
    figure, (axes,) = figures.new_figure(width=4.4, height=4.4)
    figures.landscape(axes, lambda x, y: x**2 + 10 * y**2, (-1.2, 1.2), (-1.2, 1.2))
    for factor, name in enumerate(("GDA", "Adam"), start=1):
        path = results.sweep("tuned").run(REGIMES[0], "Adam").path
        assert path is not None
        figures.phase_path(axes, path[0] / factor, name)
    figures.label(axes, x="first parameter", y="second parameter")
    figures.legend_below(figure)
    return figure


def draw_broken(_: Results) -> Figure:
    """A study's code may fail."""
    raise KeyError(EVIL)


def tables(results: Results) -> tuple[Table, ...]:
    """A table a regime, and a long one."""
    squares = tuple((str(i), str(i**2)) for i in range(40))
    return (
        *(sweep_table(results.sweep("tuned"), regime) for regime in REGIMES),
        Table("Squares", ("number", "square"), squares),
    )


STUDY = Study(
    id="synthetic",
    title=f"A synthetic canyon with {EVIL}",
    question=f"Does Adam go the direct way, and what of {EVIL}?",
    claim="In a valley much steeper across than along, Adam goes the direct way.\n\nAnd a second paragraph.",
    setup="Made-up curves. Nothing was trained.",
    criterion="Adam needs fewer steps than gradient descent in every regime: the ratio lies below 1.",
    plans={"tiny": dataclasses.replace(PLAN, name="tiny"), "quick": PLAN},
    experiments=lambda _: (),
    judge=judge,
    figures=(
        FigureSpec(
            "curves",
            "IQM over seeds with 95 % intervals.",
            f"Curves of six variants, {EVIL}.",
            draw_curves,
            "learning curves",
        ),
        FigureSpec("effects", "Effects against their thresholds.", "A row a regime.", draw_effects),
        FigureSpec("paths", "Paths in the plane.", "Two spirals.", draw_paths),
    ),
    tables=tables,
    sceptic=(("Is it the scaling or the momentum?", f"Look at the controls {EVIL}."),),
    source="Kingma and Ba 2015.",
    mathematics=((r"\hat v_t = \frac{v_t}{1 - \beta_2^t}", f"The hat undoes the start at zero, {EVIL}."),),
    would_change="A valley in which Adam takes a detour.",
)
DOMAIN = Domain("made-up", "Made up <b>", "The gradient of nothing in particular.", order=0)
OTHER = Domain("elsewhere", "Elsewhere", "The gradient of something else.", order=1)
PROVENANCE = Provenance(7, "ab" * 32, "cd" * 32, 12.5, 480, {"torch": "2.13.0", "numpy": "2.4.0"})


def entries() -> list[Entry]:
    """One study with results, one with too few seeds and a broken figure, one that was not run."""
    whole = results()
    found = judge(whole).findings
    few = verdict([dataclasses.replace(f, replicas=3) for f in found[:1]], "Adam wins.")
    broken = dataclasses.replace(
        STUDY,
        id="broken",
        title="A study whose figure fails",
        figures=(FigureSpec("bad", "It cannot be drawn.", "Nothing.", draw_broken), *STUDY.figures[1:]),
    )
    never = dataclasses.replace(STUDY, id="never", title="A study that was not run")
    return [
        Entry(DOMAIN, STUDY, "quick", whole, judge(whole), PROVENANCE),
        Entry(DOMAIN, broken, "quick", whole, few, PROVENANCE),
        Entry(OTHER, never, "quick"),
    ]
