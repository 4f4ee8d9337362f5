"""Is a whole training differentiable, and is it worth descending on lr, beta1 and beta2?"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from core.lab.experiment import Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.progress import Quiet
from core.lab.random import Keys
from core.lab.study import FigureSpec, Plan, Study
from core.lab.tuning.descent import descend, spread_starts
from core.lab.tuning.path import Path
from core.lab.tuning.points import grid_points, look_at, random_points
from core.lab.tuning.trials import Trials, price
from core.optim.hypergradient import Mode
from core.studies.hypergradient_figures import draw_search, draw_slopes, draw_transfer
from core.studies.hypergradient_settings import (
    ADAM,
    BETAS,
    CHECKED,
    DEFAULT,
    GRIDS,
    KNOWN,
    LONGER,
    MODES,
    NAME,
    OVER,
    PLANS,
    PROBLEMS,
    RATE,
    RATES,
    SEARCH_MODE,
    SHIFT,
    SPACE,
    STARTS,
    STEP,
    TELLS,
    TRIED,
    WIDTHS,
    budgets,
    cases,
    probed,
)
from core.studies.hypergradient_verdict import judge, tables


def own_seeds(keys: Keys, name: str, count: int) -> Keys:
    """`count` seeds of its own for each row, row by row."""
    return Keys(torch.stack([keys.fold(f"{name} {i}").words for i in range(count)], dim=1).flatten())


def trials(
    cell: Cell,
    keys: Keys,
    seeds: int,
    *,
    mode: Mode = SEARCH_MODE,
    fixed: Mapping[str, float] | None = None,
) -> Trials:
    """Adam on the cell's problem up to the cell's horizon."""
    make, measure, _ = PROBLEMS[cell["problem"]]
    problem = make(str(keys.device))
    return Trials(problem, ADAM, keys, seeds, cell["horizon"], measure, fixed=fixed or {}, mode=mode)


def points(settings: Mapping[str, float], rows: int) -> dict[str, Tensor]:
    """One setting for all rows, `[R, 1]` by name."""
    return {name: torch.full((rows, 1), value, dtype=torch.float64) for name, value in settings.items()}


def search(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:  # noqa: ARG001
    """One search a row, with tuning seeds, fresh seeds, random points and bounds of its own.

    Returns:
        `[R, budgets]` each: `tuning`, the loss of the best setting so far on the tuning seeds, `fresh` on
        fresh ones, and the setting itself by name.
    """
    tuning = trials(cell, own_seeds(keys, "tuning", cell["seeds"]), cell["seeds"])
    report = trials(cell, own_seeds(keys, "fresh", cell["fresh"]), cell["fresh"])
    found, losses = _bests(cell, keys, tuning)
    kept = {name: value.to(keys.device) for name, value in found.items()}
    return {"tuning": losses, "fresh": report.losses(kept), **kept}


def _bests(cell: Cell, keys: Keys, tuning: Trials) -> tuple[dict[str, Tensor], Tensor]:
    """The best setting after each budget `[R, budgets]` by name, and its loss on the tuning seeds."""
    rows, size, largest = len(keys), len(OVER), max(cell["budgets"])
    shift = SHIFT * (keys.fold("bounds").uniform(1, size, dtype=torch.float64) - 0.5)
    quiet, method = Quiet(), cell["method"]
    if method in ("default", KNOWN):
        known = (cell["problem"], cell["horizon"], cell["reference"], str(keys.device))
        one = points(DEFAULT if method == "default" else best_known(*known), rows)
        setting = {name: value.expand(-1, len(cell["budgets"])) for name, value in one.items()}
        return setting, tuning.losses(setting)
    paths: list[tuple[Path, int | None]]
    if method == "grid":
        grids = [grid_points(size, budget).to(keys.device) + shift for budget in cell["budgets"]]
        paths = [(look_at(tuning, SPACE, unit, quiet, label=method), None) for unit in grids]
    elif method == "random":
        unit = random_points(keys, size, largest) + shift
        path = look_at(tuning, SPACE, unit, quiet, label=method)
        paths = [(path, budget) for budget in cell["budgets"]]
    else:
        unit = spread_starts(size, STARTS).to(keys.device) + shift
        cost = STARTS * price(SEARCH_MODE, size)
        path = descend(tuning, SPACE, unit, quiet, rounds=largest // cost, rate=RATE)
        paths = [(path, budget // cost) for budget in cell["budgets"]]
    bests = [path.best(rounds) for path, rounds in paths]
    settings = {name: torch.stack([setting[name] for setting, _ in bests], dim=1) for name in OVER}
    return settings, torch.stack([loss for _, loss in bests], dim=1)


def agreement(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:  # noqa: ARG001
    """Hypergradients of single trainings in one mode, against central differences in float64.

    Returns:
        `error` `[R, 3]`, relative, by logarithm or logit of each hyperparameter: the differences are those of
        two widths, extrapolated (Richardson).
    """
    single = trials(cell, keys, 1, mode=cell["mode"])
    at = points(CHECKED, len(keys))
    _, gradients = single.hypergradients(at)
    slope = SPACE.slope(at, gradients)
    centre = torch.tensor([SPACE.coordinate(n, v) for n, v in CHECKED.items()], dtype=torch.float64)

    def difference(width: float) -> Tensor:
        """`[R, 3]`."""
        aside = width * torch.eye(len(OVER), dtype=torch.float64)
        both = torch.cat([centre + aside, centre - aside]).expand(len(keys), -1, -1)
        up, down = single.losses(SPACE.values(both)).chunk(2, dim=1)
        return (up - down) / (2.0 * width)

    wide, narrow = (difference(width) for width in WIDTHS)
    ratio = (WIDTHS[0] / WIDTHS[1]) ** 2
    exact = (ratio * narrow - wide) / (ratio - 1.0)
    return {"error": ((slope[:, 0] - exact) / exact).abs()}


def slopes(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:  # noqa: ARG001
    """The derivative of single trainings by the logarithm of the learning rate, over learning rates.

    Returns:
        `[R, rates]` each: `loss`; `slope`, its derivative; `lower` and `higher`, the loss at a rate divided
        and multiplied by `STEP`.
    """
    rates = torch.tensor(RATES, dtype=torch.float64).expand(len(keys), -1)
    single = trials(cell, keys, 1, fixed=BETAS)
    loss, gradients = single.hypergradients({"lr": rates})
    aside = single.losses({"lr": torch.cat([rates / STEP, rates * STEP], dim=1)})
    lower, higher = aside.chunk(2, dim=1)
    return {"loss": loss, "slope": gradients["lr"] * rates, "lower": lower, "higher": higher}


def transfer(cell: Cell, keys: Keys, *, device: str) -> dict[str, Tensor]:  # noqa: ARG001
    """`loss` `[R, settings]` of every setting of the grid over horizons after the cell's horizon."""
    return {"loss": trials(cell, keys, 1).losses(settings_of("transfer", len(keys)))}


def settings_of(grid: str, rows: int) -> dict[str, Tensor]:
    """A dense grid for each row, `[R, settings]` by name."""
    return {
        name: torch.tensor([s[name] for s in GRIDS[grid]], dtype=torch.float64).expand(rows, -1)
        for name in OVER
    }


@cache
def best_known(problem: str, horizon: int, seeds: int, device: str) -> dict[str, float]:
    """The setting of the reference's grid with the lowest mean loss, on seeds that nothing else sees."""
    own = Keys.of(range(seeds), study=f"{NAME} reference", device=device)
    losses = trials({"problem": problem, "horizon": horizon}, own, seeds).losses(settings_of("reference", 1))
    return GRIDS["reference"][int(losses[0].argmin())]


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Searches, their derivatives checked and probed, and the dense grid over horizons."""
    spec: dict[str, Any] = {name: plan.sizes[name] for name in ("fresh", "reference")}
    spec |= {"seeds": plan.tuning_seeds, "budgets": list(budgets(plan))}
    searched = [
        {"problem": p, "horizon": steps, "method": method, **spec}
        for p, steps in cases(plan)
        for method in TRIED
    ]
    checked = [{"problem": p, "horizon": plan.steps, "mode": mode} for p in PROBLEMS for mode in MODES]
    probes = [{"problem": p, "horizon": steps} for p in PROBLEMS for steps in probed(plan)]
    longer = [{"problem": p, "horizon": plan.steps * k} for p in PROBLEMS for k in LONGER]
    cost = 2.0 * plan.steps * plan.tuning_seeds * plan.sizes["large"]
    few = plan.sizes["probes"]
    return (
        Measurement("search", NAME, search, tuple(searched), plan.reporting_seeds, 8, cost),
        Measurement("agreement", NAME, agreement, tuple(checked), few, few, 20.0 * plan.steps),
        Measurement("slopes", NAME, slopes, tuple(probes), few, 12, 20.0 * plan.steps),
        Measurement("transfer", NAME, transfer, tuple(longer), plan.sizes["grid"], 12, 2000.0 * plan.steps),
    )


STUDY = Study(
    id=NAME,
    title="Descent on the hyperparameters",
    question="Can the learning rate and the memories be found by gradient descent too?",
    claim=(
        "A whole training is one differentiable function, so that gradient descent can find the "
        "optimizer's own learning rate and memory decay rates."
    ),
    setup=(
        "Adam on ridge regression (10 correlated features, 100 samples, batches of 10, each seed its own "
        "data) and on a network 1-8-8-1 that learns a noisy sine from 64 points in batches of 16, both in "
        "float64. Searched: lr in 1e-4 to 1, beta1 in 0.1 to 0.99, beta2 in 0.9 to 0.9999, in logarithms "
        f"and logits. Hypergradient descent from {STARTS} starts, against a grid and random search of the "
        "same cost, counted in plain trainings of one setting on all tuning seeds; a hypergradient counts "
        "as 3 (measured: 2.0 on ridge, 3.1 on this network). Every search has tuning seeds, fresh seeds "
        "and random points of its own, and its bounds are moved by up to an eighth of their range. "
        f"Controls: Adam's usual defaults, and the best of a dense grid of {len(GRIDS['reference'])} "
        "settings as reference (the tables flag a best point at its edge). The quick plan searches at 50 and "
        "200 steps on ridge and at 50 alone on the network; the full plan at 50 and 800, and at 50 and 200. "
        "Derivatives are checked against central differences, and their sign against what a change of 10% "
        "in the rate does, over learning rates and horizons, with the usual betas."
    ),
    criterion=(
        "Right: the largest relative error of the three derivatives lies below 1e-7 (the first runs asked "
        "for 1e-6), in each mode and problem. Useful: in each problem, horizon and budget (the smallest and "
        "the largest) the fresh loss of what descent found is lower than that of a grid, and than that of "
        "random search, of the same cost: the whole interval of the paired ratio's median below 1. Telling: "
        "at the longest "
        f"horizon probed and rates 0.003, 0.03 and 0.3 the derivative has the right sign in over {TELLS:g} "
        "of the trainings. Supported if all hold, refuted if none, conditional if some hold and some fail. "
        "Beside the verdict: whether a setting tuned for the shortest horizon is within 10% of the one "
        "tuned for 4 and 16 times as many steps; descent against the defaults and against the best of the "
        "dense grid; and its loss on the tuning seeds themselves. Starts, step length and clipping were "
        "settled on other seeds."
    ),
    mathematics=(
        (
            r"\frac{d L(\theta_T)}{d\eta} = \nabla L(\theta_T)^\top \frac{d\theta_T}{d\eta}, "
            r"\qquad \frac{d\theta_{t+1}}{d\eta} = "
            r"\frac{\partial\Phi_t}{\partial\theta_t}\,\frac{d\theta_t}{d\eta} + "
            r"\frac{\partial\Phi_t}{\partial\eta}",
            "Maclaurin, Duvenaud and Adams 2015: the derivative of the final loss by the learning "
            "rate η (or a beta), carried through T steps Φ, in which θ stands for parameters and "
            "moments together.",
        ),
    ),
    would_change=(
        "A problem on which descent reaches a clearly lower fresh loss than random search of the same "
        "cost. Many hyperparameters instead of three would favour descent, since the cost of a "
        "derivative does not grow with their number; we tried three."
    ),
    plans=PLANS,
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "search",
            "Loss on fresh seeds of the best setting so far, against the cost of the search: medians over "
            "searches with 95% bootstrap intervals. Grey: Adam's defaults, and the best of a dense grid.",
            "Four panels of loss over cost, one a problem and horizon, with three falling lines each: "
            "hypergradient descent, grid, random search.",
            draw_search,
        ),
        FigureSpec(
            "slopes",
            "Above: the derivative of the final loss by the logarithm of the rate, over the loss; line: "
            "median over trainings, band: up to the ninth decile. Below: share of trainings in which its "
            "sign says whether a rate 10% larger does better than one 10% smaller, with 95% Wilson "
            "intervals; dotted: a coin. Adam with the usual betas.",
            "Two columns, ridge and network. Above: sizes over the learning rate for four horizons. Below: "
            "the share with the right sign, between one half and one.",
            draw_slopes,
        ),
        FigureSpec(
            "transfer",
            "Left and middle: loss of the dense grid (best betas at each rate) after three horizons; "
            "circle: the setting chosen for that horizon, cross: the one chosen for the shortest. Right: "
            "what the latter costs at longer horizons, over the one tuned there; medians over seeds that "
            "did not choose, 95% bootstrap intervals.",
            "Left and middle: U-shaped curves of loss over learning rate, one a horizon. Right: four dots "
            "with intervals, ratios of losses.",
            draw_transfer,
            part="regimes",
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is a hypergradient's price of 3 trainings fair?",
            "It is what it takes in evaluations of the field (one forward, two to go back through a "
            "gradient), and what was measured on the network; on ridge it is charged more than it takes. "
            "On the clock a grid is faster still at equal cost: its trainings run in one batch, descent "
            "waits for each round.",
        ),
        (
            "Are the starts lucky, or the grid's points?",
            "Bounds are moved at random for each search, starts lie in the middle of their range in beta1 "
            "and beta2 and at two rates a hundredfold apart; the usual defaults are not known to any "
            "method.",
        ),
        (
            "Would a better search than plain descent do better?",
            "Scaling each hyperparameter by the size of its past derivatives, and clipping each seed's, were "
            "tried on other seeds and changed little.",
        ),
        (
            "Is this the short-horizon bias of Wu et al. 2018?",
            "It is their lesson with the other sign. They tune rates over a short window late in a noisy "
            "run, where small rates pay at once; here the training starts afresh, few steps must go far, "
            "and the best rate for few steps is too large for many. Either way: tune for the horizon you "
            "need.",
        ),
    ),
    source=(
        "Maclaurin, Duvenaud and Adams 2015; Franceschi et al. 2017; Bergstra and Bengio 2012 (random "
        "search); Wu, Ren, Liao and Grosse 2018 (short-horizon bias); Metz et al. 2021 (gradients of "
        "chaotic unrolls)."
    ),
)
