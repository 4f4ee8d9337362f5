"""Does gradient descent-ascent circle the equilibrium of xy, and does Adam dampen that?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.study import FigureSpec, Plan, Study
from core.lab.sweep import Objective, Regime, Sweep
from core.lab.train import Block, train
from core.lab.variant import Grid, Variant
from core.optim.play import Alternating, Extragradient, Optimistic
from games.bilinear import BilinearGame
from games.joint import Joint
from games.orbit import alternating_invariant, descent_growth, turning
from games.studies.orbit_figures import draw_cycles, draw_growth, draw_portrait, draw_radius, draw_rates
from games.studies.orbit_verdict import judge, tables

REGIMES = (
    Regime("exact field", BilinearGame, {}, "no noise"),
    Regime(
        "additive noise",
        BilinearGame,
        {"noise": "additive", "noise_scale": 0.5},
        "half the field at radius 1",
    ),
    Regime(
        "multiplicative noise",
        BilinearGame,
        {"noise": "multiplicative", "noise_scale": 0.5},
        "half of each coordinate of the field, none at the equilibrium",
    ),
)
VARIANTS = (
    Variant("GDA", "sgd"),
    Variant("GDA, alternating", "sgd", play=Alternating()),
    Variant("Adam", "adam"),
    Variant("Adam, beta1 = 0.5", "adam", {"beta1": 0.5}),
    Variant("Adam, beta1 = 0", "adam", {"beta1": 0.0}, control=True, note="removes momentum"),
    Variant("Adam, alternating", "adam", play=Alternating()),
    Variant("RMSProp", "rmsprop", control=True, note="no momentum, shorter memory"),
    Variant("Adam, shared v", "adam_shared_v", play=Joint(), control=True, note="removes individual rates"),
    Variant("Sign descent", "signsgd", control=True, note="removes memory: only the field's signs"),
    Variant(
        "Normalised descent",
        "normalized_sgd",
        play=Joint(),
        control=True,
        note="removes the field's length only",
    ),
    Variant("Extragradient", "sgd", play=Extragradient(), control=True, note="a known cure"),
    Variant("Optimistic GDA", "sgd", play=Optimistic(), control=True, note="a known cure"),
)
GRID = Grid.between(1e-4, 1.0)
RATES = GRID.values()
"""Of the measurement of turning."""
EXACT_RATES = (0.01, 0.0316228, 0.1, 0.316228, 1.0)
CYCLE_RATE, CYCLE_STARTS = 0.01, {"inside": 5.0, "outside": 500.0}
"""Starting radii in units of the learning rate."""
CYCLES: tuple[dict[str, Any], ...] = (
    {"variant": "Adam", "beta1": 0.9, "beta2": 0.999},
    {"variant": "Adam, beta1 = 0.5", "beta1": 0.5, "beta2": 0.999},
    {"variant": "Adam, beta1 = 0", "beta1": 0.0, "beta2": 0.999},
    {"variant": "RMSProp", "beta1": 0.0, "beta2": 0.99},
)
"""Variants of the long runs, with the memories that the theory needs to know."""
PORTRAITS = (
    ("GDA", 0.1, 200),
    ("GDA, alternating", 0.1, 200),
    ("Optimistic GDA", 0.1, 600),
    ("Adam", 0.01, 4000),
    ("Adam", 0.001, 8000),
    ("RMSProp", 0.001, 4000),
)

_BY_NAME = {v.name: v for v in VARIANTS}
_REGIME = {r.name: r for r in REGIMES}


def _train_rates(
    regime: str, variant: Variant, rates: tuple[float, ...], keys: Keys, steps: int, device: str
) -> tuple[Run, int]:
    """One variant at several rates, the rows rate by rate over the seeds; and the number of seeds."""
    seeds = len(keys)
    rows = keys.rows(torch.arange(seeds, device=keys.device).repeat(len(rates)))
    lr = torch.tensor(rates, dtype=torch.float64, device=keys.device).repeat_interleave(seeds)
    block = Block(variant, slice(0, len(lr)), {"lr": lr})
    return train(
        _REGIME[regime].build(device), [block], rows, steps=steps, recording=Recording(points=steps)
    ), seeds


def measure_closed_form(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`deviation` `[S]`: the largest relative deviation of a path from its closed form, over all steps."""
    alternating = cell["play"] == "alternating"
    variant = _BY_NAME["GDA, alternating" if alternating else "GDA"]
    problem = BilinearGame(device=device)
    run = train(
        problem,
        [Block(variant, slice(0, len(keys)), {"lr": cell["lr"]})],
        keys,
        steps=cell["steps"],
        recording=Recording(points=cell["steps"], path=True),
    )
    assert run.path is not None
    if alternating:
        forms = torch.stack([alternating_invariant(z, cell["lr"]) for z in torch.from_numpy(run.path)])
        return {"deviation": (forms / forms[:, :1] - 1.0).abs().amax(dim=1)}
    radius = run.curves["distance"]
    return {
        "deviation": np.abs(radius[:, 1:] / radius[:, :-1] / descent_growth(cell["lr"]) - 1.0).max(axis=1)
    }


def measure_turning(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """At each rate `lr` `[S, L]`: `turns` a step, `growth` of log radius a turn, and `distance` `[S, L, P]`
    at `step` `[S, P]`.
    """
    run, seeds = _train_rates(cell["regime"], _BY_NAME[cell["variant"]], RATES, keys, cell["steps"], device)
    distance = run.curves["distance"]
    turns, growth = turning(distance, run.curves["angle"])
    every = max(1, cell["steps"] // 100)
    lr = np.repeat(RATES, seeds)
    by_rate = {"lr": lr, "turns": turns, "growth": growth, "distance": distance[:, ::every]}
    by_seed = {
        name: np.swapaxes(x.reshape(len(RATES), seeds, *x.shape[1:]), 0, 1) for name, x in by_rate.items()
    }
    return {**by_seed, "step": np.tile(run.steps[::every], (seeds, 1))}


def measure_cycle(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`start`, `radius` `[S]` in units of the learning rate: the latter averaged over the last tenth of a
    long run.
    """
    problem = BilinearGame(radius=cell["start"] * cell["lr"], device=device)
    block = Block(_BY_NAME[cell["variant"]], slice(0, len(keys)), {"lr": cell["lr"]})
    run = train(problem, [block], keys, steps=cell["steps"], recording=Recording(points=1000))
    distance = run.curves["distance"] / cell["lr"]
    return {"start": distance[:, 0], "radius": distance[:, -100:].mean(axis=1)}


def measure_portrait(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`path` `[S, T, 2]`, for the phase portrait."""
    block = Block(_BY_NAME[cell["variant"]], slice(0, len(keys)), {"lr": cell["lr"]})
    recording = Recording(points=800, path=True)
    run = train(BilinearGame(device=device), [block], keys, steps=cell["steps"], recording=recording)
    assert run.path is not None
    return {"path": run.path}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Closed forms, the tuned comparison, turning over the learning rate, long runs, and paths to look at."""
    seeds = plan.reporting_seeds
    closed = tuple(
        {"play": p, "lr": lr, "steps": plan.sizes["closed_form_steps"]}
        for p in ("simultaneous", "alternating")
        for lr in EXACT_RATES
    )
    turns = tuple(
        {"regime": r.name, "variant": v.name, "steps": plan.sizes["turning_steps"]}
        for r in REGIMES[:2]
        for v in VARIANTS
    )
    cycles = tuple(
        {**cycle, "side": side, "start": start, "lr": CYCLE_RATE, "steps": plan.sizes["cycle_steps"]}
        for cycle in CYCLES
        for side, start in CYCLE_STARTS.items()
    )
    paths = tuple({"variant": v, "lr": lr, "steps": steps} for v, lr, steps in PORTRAITS)
    return (
        Sweep(
            name="tuned",
            study="orbits",
            regimes=REGIMES,
            variants=VARIANTS,
            grid=GRID,
            objective=Objective("distance", label="final distance from the equilibrium (start: 1)"),
            steps=plan.steps,
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=seeds,
            recording=Recording(points=200, tuning_points=2),
            widen=1,
        ),
        Measurement(
            "closed form", "orbits", measure_closed_form, closed, seeds, cost=plan.sizes["closed_form_steps"]
        ),
        Measurement("turning", "orbits", measure_turning, turns, seeds, cost=9 * plan.sizes["turning_steps"]),
        Measurement("cycle", "orbits", measure_cycle, cycles, seeds, cost=plan.sizes["cycle_steps"]),
        Measurement("portrait", "orbits", measure_portrait, paths, 2, cost=1000),
    )


STUDY = Study(
    id="orbits",
    title="Orbits of the game xy",
    claim=(
        "Where two players pull against each other, simultaneous gradient descent-ascent circles the "
        "solution and never reaches it; Adam's momentum and individual learning rates dampen the "
        "oscillation and give a more stable path."
    ),
    setup=(
        "The game xy: one player descends in x, the other ascends in y, the equilibrium is the origin. "
        "Starts at distance 1 in keyed directions, float64; the field exact, with additive noise of 0.5, "
        "or with each coordinate multiplied by 1 + 0.5 times a normal number. Every variant is tuned in "
        "its learning rate (two points a decade from 1e-4 to 1, one widening) for the final distance, on "
        "its own seeds, and reported on fresh ones. Beside this: paths against closed forms; turns and the "
        "growth of the radius a turn over all rates; long runs of Adam from inside and outside its cycle."
    ),
    criterion=(
        "GDA does not converge where, tuned, its final distance is more than 0.9 of the start's (whole 95% "
        "bootstrap interval of the interquartile mean, fresh seeds); judged for the exact field and for "
        "both kinds of noise. Adam (0.9, 0.999, simultaneous) dampens where its final distance is below "
        "0.9 of the start's; judged in the same three regimes, and for a start inside the cycle that Adam "
        "itself settles on. Supported if all seven hold, refuted if all fail, conditional if some hold and "
        "others fail. Shown beside: whether paths follow the closed forms to 1e-12, which part of Adam "
        "does the damping, and whether any variant converges to a hundredth."
    ),
    plans={
        "tiny": Plan(
            "tiny",
            steps=200,
            tuning_seeds=2,
            reporting_seeds=2,
            sizes={"closed_form_steps": 50, "turning_steps": 100, "cycle_steps": 200},
        ),
        "quick": Plan(
            "quick",
            steps=3000,
            tuning_seeds=8,
            reporting_seeds=16,
            sizes={"closed_form_steps": 500, "turning_steps": 1000, "cycle_steps": 12000},
        ),
        "full": Plan(
            "full",
            steps=40000,
            tuning_seeds=20,
            reporting_seeds=64,
            sizes={"closed_form_steps": 500, "turning_steps": 10000, "cycle_steps": 200000},
        ),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "portrait",
            "Paths in the plane of the two players, each at the learning rate named above it, over the "
            "field that moves them. Open circle: start. GDA spirals out, alternating GDA stays on an "
            "ellipse, optimistic GDA comes in. Adam goes out at one rate and in at another: it is bound "
            "for a cycle whose radius is proportional to its rate.",
            "Six panels with arrows that turn about the origin and a path each: GDA spirals outwards, "
            "alternating GDA closes on itself, optimistic GDA spirals inwards, Adam outwards at rate 0.01 "
            "and inwards at 0.001, RMSProp inwards.",
            draw_portrait,
        ),
        FigureSpec(
            "radius",
            "Distance from the equilibrium over the steps, exact field. Left: all at learning rate 0.1, "
            "with GDA's closed form in black dots. Right: each at its tuned rate. Interquartile mean over "
            "fresh seeds with 95% bootstrap intervals.",
            "Two panels of distance over steps. At a common rate GDA grows exponentially along the closed "
            "form and Adam grows to a plateau; tuned, extragradient and optimistic GDA fall exponentially "
            "and Adam slowly.",
            draw_radius,
        ),
        FigureSpec(
            "rates",
            "Final distance over the learning rate, on the tuning seeds; the chosen rate is ringed, a "
            "square marks one on the edge of the widest grid: for GDA, the best rate is the smallest.",
            "Three panels of final distance over the learning rate, one a regime, one curve a variant.",
            draw_rates,
        ),
        FigureSpec(
            "growth",
            "Growth of the logarithm of the radius a turn, over the learning rate, from radius 1: above "
            "zero the path spirals out, below zero in. Black dots: GDA's closed form. Interquartile mean "
            "with 95% intervals.",
            "Two panels of growth a turn over the learning rate; GDA follows its closed form upwards.",
            draw_growth,
        ),
        FigureSpec(
            "cycle",
            "Radius after a long run in units of the learning rate, from inside and from outside, with the "
            "radius that averaging over a turn predicts. Where both starts end at one radius, there is a "
            "cycle that attracts. The way in is slow, about 8 / (1 - beta2) steps for a factor of e, so "
            "that a short run from outside may still be under way.",
            "Dots with intervals for Adam with three values of beta1 and RMSProp, from inside and outside, "
            "beside crosses for the prediction.",
            draw_cycles,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is circling not what GDA does?",
            "Only in the limit of small steps. At any rate the radius grows by exactly sqrt(1 + lr^2) a "
            "step; tuned for the final distance, GDA chooses the smallest rate there is, that is, it does "
            "not move. Alternating GDA is the one that circles.",
        ),
        (
            "Is it momentum that dampens, or the individual rates?",
            "Adam without momentum, Adam with one v for both players, RMSProp, sign descent and normalised "
            "descent stand beside Adam, each tuned.",
        ),
        (
            "Damped towards what?",
            "Not to the equilibrium: long runs from inside and outside end on a cycle around it, whose "
            "radius is in proportion to the learning rate. From inside, Adam drives the path out.",
        ),
        (
            "Are there methods that do converge?",
            "Extragradient and optimistic GDA do on the exact field, at the same cost or twice it.",
        ),
    ),
    source=(
        "Daskalakis et al. 2018 (optimistic); Korpelevich 1976 (extragradient); Gidel et al. 2019 "
        "(momentum and alternation); Mescheder et al. 2018."
    ),
)
