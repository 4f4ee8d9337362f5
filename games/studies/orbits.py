"""Does gradient descent-ascent circle the equilibrium of xy?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from core.lab.experiment import Array, Experiment
from core.lab.films import FilmSpec
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.study import FigureSpec, Plan, Study
from core.lab.variant import Grid, Variant
from games.bilinear import BilinearGame
from games.conditions import by_seed, train_conditions
from games.orbit import alternating_invariant, descent_growth, turning
from games.spectrum import Point, observed_rate, predicted_rates, remembered_points
from games.studies.orbit_figures import draw_disks, draw_growth, draw_portrait, draw_radius
from games.studies.orbit_films import film_orbits
from games.studies.orbit_settings import FILMED, FILMED_STEPS, LINEAR, PLAYED
from games.studies.orbit_verdict import judge, tables

RATES = Grid.between(1e-3, 1.0, per_decade=4).values()
"""Of the measurement of turning."""
EXACT_RATES = (0.01, 0.0316228, 0.1, 0.316228, 1.0)
THEORY_RATES = (0.05, 0.2, 0.5)
PLAYS = {"simultaneous": "GDA", "alternating": "GDA, alternating"}
PORTRAITS = (
    ("GDA", 0.1, 200),
    ("GDA, alternating", 0.1, 200),
    ("GDA, alternating", 0.5, 40),
    ("Optimistic GDA", 0.1, 600),
)


def _train_rates(variant: Variant, rates: tuple[float, ...], keys: Keys, steps: int, device: str) -> Run:
    """One variant at several rates, every step recorded with the path, rate by rate over the seeds."""
    return train_conditions(
        BilinearGame(device=device),
        variant,
        {"lr": rates},
        keys,
        conditions=len(rates),
        steps=steps,
        recording=Recording(points=steps, path=True),
    )


def measure_closed_form(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`deviation` `[S]`: the largest relative deviation of a path from its closed form, over all steps."""
    run = _train_rates(LINEAR[PLAYS[cell["play"]]], (cell["lr"],), keys, cell["steps"], device)
    if cell["play"] == "alternating":
        assert run.path is not None
        forms = torch.stack([alternating_invariant(z, cell["lr"]) for z in torch.from_numpy(run.path)])
        return {"deviation": (forms / forms[:, :1] - 1.0).abs().amax(dim=1)}
    radius = run.curves["distance"]
    steps = np.abs(radius[:, 1:] / radius[:, :-1] / descent_growth(cell["lr"]) - 1.0)
    return {"deviation": steps.max(axis=1)}


def measure_turning(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """At each rate `lr` `[S, L]`: `turns` a step, `growth` of log radius a turn, and `distance` `[S, L, T]`
    over the first 200 steps at `step` `[S, T]`.
    """
    seeds = len(keys)
    run = _train_rates(LINEAR[cell["variant"]], RATES, keys, cell["steps"], device)
    distance = run.curves["distance"]
    turns, growth = turning(distance, run.curves["angle"])
    lr = np.repeat(RATES, seeds)
    by_rate = {"lr": lr, "turns": turns, "growth": growth, "distance": distance[:, :201]}
    found = {name: by_seed(x, seeds) for name, x in by_rate.items()}
    return {**found, "step": np.tile(run.steps[:201], (seeds, 1))}


def measure_theory(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`predicted` and `observed` factor of the distance a round, `[S, L]`, at the rates of the cell."""
    rates, seeds = tuple(cell["rates"]), len(keys)
    variant = LINEAR[cell["variant"]]
    period, point = variant.scheme.period, Point.of(BilinearGame())
    run = _train_rates(variant, rates, keys, cell["steps"] * period, device)
    assert run.path is not None
    memory = remembered_points(point, variant)
    observed = np.array([observed_rate(path[None], memory, period) for path in run.path])
    return {
        "predicted": np.tile(predicted_rates(point, variant, rates), (seeds, 1)),
        "observed": by_seed(observed, seeds),
    }


def measure_portrait(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`path` `[S, T, 2]`, for phase portraits."""
    run = _train_rates(PLAYED[cell["variant"]], (cell["lr"],), keys, cell["steps"], device)
    assert run.path is not None
    return {"path": run.path}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Closed forms, linear theory, turning over the learning rate, and paths to look at."""
    seeds, steps = plan.reporting_seeds, plan.steps
    closed = tuple({"play": p, "lr": lr, "steps": steps} for p in PLAYS for lr in EXACT_RATES)
    theory = tuple({"variant": name, "rates": list(THEORY_RATES), "steps": 40} for name in LINEAR)
    turns = tuple({"variant": name, "steps": plan.sizes["turning_steps"]} for name in PLAYS.values())
    paths = tuple({"variant": v, "lr": lr, "steps": n} for v, lr, n in PORTRAITS)
    filmed = tuple({"variant": v, "lr": lr, "steps": FILMED_STEPS} for v, lr in FILMED)
    return (
        Measurement("closed form", "orbits", measure_closed_form, closed, seeds, cost=float(steps)),
        Measurement("theory", "orbits", measure_theory, theory, seeds, cost=200.0),
        Measurement(
            "turning", "orbits", measure_turning, turns, seeds, cost=float(plan.sizes["turning_steps"])
        ),
        Measurement("portrait", "orbits", measure_portrait, paths, 2, cost=400.0),
        Measurement("film", "orbits", measure_portrait, filmed, 2, cost=400.0),
    )


STUDY = Study(
    id="orbits",
    title="Orbits of the game xy",
    question="Does gradient descent go round in circles in the simplest game?",
    claim=(
        "Where two players pull against each other, gradient descent-ascent moves around the solution and "
        "never reaches it: on xy simultaneous play leaves by sqrt(1 + lr^2) a step, alternating play stays "
        "on an ellipse."
    ),
    setup=(
        "The game xy: one player descends in x, the other ascends in y, the equilibrium is the origin. The "
        "field is exact; starts at distance 1 in keyed directions, float64; learning rates from 0.001 to 1. "
        "Paths are compared with closed forms at every step. For all methods whose round has a closed form "
        "(games.rates), the factor a round is also observed on paths and compared with the spectrum of the "
        "step's Jacobian, taken by autograd through rule and play scheme."
    ),
    criterion=(
        "At each of five learning rates: no step of simultaneous GDA changes the radius by a factor that "
        "differs from sqrt(1 + lr^2) by more than 1e-12, and alternating GDA (x first) keeps x^2 + y^2 - lr "
        "x y to 1e-12, over all steps and starts. Supported if all ten hold, refuted if all fail, "
        "conditional otherwise. Shown beside: whether a path is back at its radius after a turn, to one per "
        "cent, and whether observed factors agree with linear theory to 1e-6. What other methods do with "
        "the oscillation is the matter of the studies damping and limit-cycle."
    ),
    mathematics=(
        (
            r"x_{t+1} = x_t - \eta\, y_t, \quad y_{t+1} = y_t + \eta\, x_t "
            r"\quad\Rightarrow\quad r_{t+1} = \sqrt{1 + \eta^2}\; r_t",
            "Simultaneous descent-ascent on f(x, y) = x y: a turn and a stretch, at every learning rate η.",
        ),
        (
            r"x_{t+1} = x_t - \eta\, y_t, \quad y_{t+1} = y_t + \eta\, x_{t+1} "
            r"\quad\Rightarrow\quad x^2 + y^2 - \eta\, x y = \text{const}",
            "Alternating: the second player answers the new move, and the path stays on an ellipse "
            "(Gidel et al. 2019).",
        ),
    ),
    would_change=(
        "Nothing in exact arithmetic: both are closed forms. A play scheme whose observed factors "
        "leave linear theory would show a fault in it or in ours."
    ),
    plans={
        "tiny": Plan("tiny", 50, tuning_seeds=0, reporting_seeds=2, sizes={"turning_steps": 210}),
        "quick": Plan("quick", 500, tuning_seeds=0, reporting_seeds=16, sizes={"turning_steps": 500}),
        "full": Plan("full", 2000, tuning_seeds=0, reporting_seeds=64, sizes={"turning_steps": 5000}),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "portrait",
            "Paths in the plane of the two players over the field that moves them. Open circle: start. GDA "
            "spirals out; alternating GDA stays on an ellipse, which is nearly a circle at a low rate and "
            "long at a high one; optimistic GDA comes in.",
            "Four panels with arrows that turn about the origin and a path each: an outward spiral, a "
            "circle, a slanted ellipse, an inward spiral.",
            draw_portrait,
        ),
        FigureSpec(
            "radius",
            "Distance over the steps at a low and at a high rate, with the closed form in black dots: "
            "interquartile mean over starts with 95% bootstrap intervals.",
            "Two panels: GDA grows exponentially along the dots, alternating GDA goes up and down about 1.",
            draw_radius,
            part="learning curves",
        ),
        FigureSpec(
            "growth",
            "Growth of the logarithm of the radius a turn over the learning rate: about pi lr for GDA, none "
            "for alternating GDA. Interquartile mean over starts with 95% bootstrap intervals.",
            "Two curves over the learning rate: one rises along black dots, one stays at zero.",
            draw_growth,
            part="learning rates",
        ),
        FigureSpec(
            "disks",
            "Eigenvalues of a round on xy as the learning rate grows from 0.01 to 1.5 (dots grow with it). "
            "Inside the unit circle the distance shrinks; above each panel, where all of them are inside.",
            "Panels of dots about a unit circle, one a method: GDA's leave it, alternating GDA's move along "
            "it, the cures' lie inside for moderate rates.",
            draw_disks,
        ),
    ),
    films=(
        FilmSpec(
            "orbits",
            "Five methods from one start, step by step, and their distance from the equilibrium. All but "
            "Adam at a learning rate of 0.1; Adam, whose rate is the length of a step, at 0.02.",
            "Five panels with arrows that turn about the origin, and curves of the distance. In the film "
            "GDA spirals out, alternating GDA goes around on one ellipse, Adam moves outward, optimistic GDA "
            "and extragradient spiral in.",
            film_orbits,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is circling not what GDA does?",
            "Only in the limit of small steps. At any rate the radius grows by exactly sqrt(1 + lr^2) a "
            "step, since a step is at right angles to the radius. Alternating GDA is the one that circles.",
        ),
        (
            "Why does alternating play stay?",
            "Its step is a linear map of determinant 1, so that the area spanned by a point and its image is "
            "kept; for lr < 2 that form is positive and its level lines are ellipses.",
        ),
    ),
    source="Gidel et al. 2019 (alternation, momentum); Korpelevich 1976; Daskalakis et al. 2018.",
)
