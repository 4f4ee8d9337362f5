"""How near do methods come to the equilibrium of a matrix game, by last and by average iterate?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Study
from games.conditions import by_seed, condition_rows, train_conditions
from games.iterates import average_iterates
from games.simplex import MatrixGame
from games.studies.equilibrium_figures import draw_curves, draw_map, draw_rates, draw_triangles
from games.studies.equilibrium_settings import BY_NAME, ITERATES, METHODS, RATES, REGIME, REGIMES
from games.studies.equilibrium_verdict import judge, tables

RECORDS = 40
PORTRAITS = (
    ("GDA", 0.1),
    ("Adam", 0.01),
    ("Adam, beta1 = 0", 0.01),
    ("Optimistic GDA", 0.1),
)
"""Methods and rates of the paths in the triangle."""


def _train(problem: MatrixGame, method: str, rates: tuple[float, ...], keys: Keys, steps: int) -> Array:
    """Strategies `[rates * S, steps + 1, D]` of a method, rate by rate over the seeds."""
    run = train_conditions(
        problem,
        BY_NAME[method],
        {"lr": rates},
        keys,
        conditions=len(rates),
        steps=steps,
        recording=Recording(points=steps, path=True),
    )
    assert run.path is not None
    path = torch.from_numpy(run.path).to(keys.device)
    strategies = problem.strategies(path.flatten(0, 1)).view(path.shape)
    dead = (run.diverged_at >= 0)[:, None] & (np.arange(steps + 1) > run.diverged_at[:, None])
    return np.where(dead[:, :, None], np.nan, strategies.cpu().numpy())


def measure_exploitability(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """At every rate, `<iterate> exploitability` and `<iterate> distance` `[S, L, T]` at `step` `[S, T]`."""
    problem = REGIME[cell["regime"]].build(device)
    assert isinstance(problem, MatrixGame)
    seeds, steps = len(keys), cell["steps"]
    strategies = _train(problem, cell["method"], RATES, keys, steps)
    at = np.unique(np.round(np.concatenate([[0], np.geomspace(1, steps, RECORDS)])).astype(int))
    # Strategies are judged as they are, whatever the parameters were.
    judge_problem = MatrixGame(
        problem.payoff, problem.actions, "projection", seed=problem.seed, device=device
    )
    found: dict[str, Array | Tensor] = {"step": np.tile(at, (seeds, 1))}
    for iterate in ITERATES:
        points = strategies if iterate == "last" else average_iterates(strategies)
        chosen = torch.from_numpy(points[:, at]).to(device)
        measures = judge_problem.measure(chosen.flatten(0, 1), condition_rows(keys, len(RATES)))
        for name in ("exploitability", "distance"):
            of_row = measures[name].view(len(chosen), len(at)).cpu().numpy()
            found[f"{iterate} {name}"] = by_seed(of_row, seeds)
    return found


def measure_triangle(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`last`, `average` `[S, T, 3]`: the first player's strategies in rock-paper-scissors."""
    problem = REGIMES[0].build(device)
    assert isinstance(problem, MatrixGame)
    strategies = _train(problem, cell["method"], (cell["lr"],), keys, cell["steps"])
    every = max(1, cell["steps"] // 400)
    averages = average_iterates(strategies)
    return {"last": strategies[:, ::every, :3], "average": averages[:, ::every, :3]}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """All methods at all rates in all games, and paths to look at."""
    cells = tuple({"regime": r.name, "method": m.name, "steps": plan.steps} for r in REGIMES for m in METHODS)
    paths = tuple({"method": m, "lr": lr, "steps": plan.steps} for m, lr in PORTRAITS)
    seeds = plan.tuning_seeds + plan.reporting_seeds
    return (
        Measurement(
            "exploitability",
            "equilibrium",
            measure_exploitability,
            cells,
            seeds,
            seeds_per_shard=24,
            cost=3.0 * plan.steps,
        ),
        Measurement("triangle", "equilibrium", measure_triangle, paths, 2, cost=float(plan.steps)),
    )


STUDY = Study(
    id="equilibrium",
    title="Equilibria of matrix games",
    question="Does Adam come nearer to the equilibrium of a game than gradient descent?",
    claim=(
        "In a two-player game gradient descent-ascent moves around the equilibrium; Adam handles the game "
        "better and comes nearer to it."
    ),
    setup=(
        "Rock-paper-scissors and a random 5 x 5 game, scaled to a largest singular value of 1, equilibrium "
        "by linear programming. The players hold their strategies (each step ends with the Euclidean "
        "projection onto the simplex) or logits (softmax); one game also with additive noise of 0.3. Starts "
        "at softmax(z), z normal and keyed, float64. Judged by exploitability, the mean gain of a player by "
        "a best response, of the last iterate and of the average of all strategies so far. Each method is "
        "tuned in its learning rate (two points a decade from 3e-4 to 32) for each of the two by itself, "
        "on the first seeds, and reported on the seeds after them."
    ),
    criterion=(
        "In each game, for the last and for the average iterate: tuned Adam ends at less than 0.9 of the "
        "exploitability of tuned GDA (paired ratio, whole 95% bootstrap interval of the interquartile mean "
        "over fresh seeds). Supported if all hold, refuted if all fail, conditional if some hold and others "
        "fail. Shown beside, over all games: what momentum, scaling (at equal momentum), decay, alternation "
        "and optimism do, and whether averaging helps GDA and Adam."
    ),
    mathematics=(
        (
            r"e(p, q) = \frac{1}{2}\left(\max_{p'} p'^\top A\, q - \min_{q'} p^\top A\, "
            r"q'\right)",
            "Exploitability of mixed strategies p and q in the zero-sum game A (Lanctot et al. 2019): "
            "what a player gains on average by answering best. Zero at an equilibrium, and nowhere "
            "else.",
        ),
    ),
    would_change=(
        "Games larger than ours, or with many equilibria, in which the order of last and average "
        "iterates is another; or a schedule of Adam's rate that we did not try."
    ),
    plans={
        "tiny": Plan("tiny", steps=20, tuning_seeds=2, reporting_seeds=2),
        "quick": Plan("quick", steps=1000, tuning_seeds=8, reporting_seeds=16),
        "full": Plan("full", steps=10_000, tuning_seeds=20, reporting_seeds=64),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "triangle",
            "The first player's mixed strategy in rock-paper-scissors, in the triangle of the three actions, "
            "by projection, each at the learning rate named; black: the average of all strategies so far; "
            "cross: the equilibrium; open circle: start.",
            "Four triangles with a path each: GDA runs into the border and along it, Adam circles, "
            "optimistic GDA spirals into the middle; the averages lie near the middle.",
            draw_triangles,
        ),
        FigureSpec(
            "map",
            "Exploitability at the end of every method in every game, last iterate on the left and average "
            "iterate on the right, each at the rate tuned for it: interquartile mean over fresh seeds.",
            "Two tables of colours with numbers: methods in rows, games in columns.",
            draw_map,
            part="regimes",
        ),
        FigureSpec(
            "curves",
            "Exploitability over the steps, at the rate tuned for the end: last iterates above, average "
            "iterates below; interquartile mean over fresh seeds with 95% bootstrap intervals. At its best "
            "rate for the average GDA runs from corner to corner in rock-paper-scissors; whenever a round of "
            "three is complete its average is the equilibrium.",
            "Two rows of panels of exploitability over steps on logarithmic axes, one column a game.",
            draw_curves,
            part="learning curves",
        ),
        FigureSpec(
            "rates",
            "Exploitability at the end over the learning rate, on the tuning seeds: last iterates above, "
            "average iterates below; interquartile means with 95% bootstrap intervals. Rings: chosen for "
            "that iterate; a square: on the edge of the grid; crosses: diverged.",
            "Two rows of panels of exploitability over the learning rate on logarithmic axes, one column a "
            "game, one curve a method; the best rates of an iterate lie decades apart between methods.",
            draw_rates,
            part="learning rates",
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "GDA's average is known to converge.",
            "That is why both iterates are judged, each at a rate of its own.",
        ),
        (
            "Is Adam with a projection a sound method?",
            "The projection is Euclidean, not in Adam's own metric, so that an individual scaling can pull "
            "towards other points. The softmax games have no projection.",
        ),
        (
            "How many games are behind an interval?",
            "One: each matrix is drawn once. Intervals cover starts and noise, not the draw of the game.",
        ),
        (
            "Are logits averaged?",
            "No: strategies are, whatever the parameters are.",
        ),
    ),
    source=(
        "von Neumann 1928; Freund and Schapire 1999 (averages); Daskalakis and Panageas 2019, Bailey and "
        "Piliouras 2018 (last iterates); Lanctot et al. 2019 (exploitability)."
    ),
)
