"""Where does Adam end on xy? On a cycle whose radius one formula gives; which part of Adam damps, and which
drives?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from core.lab.experiment import Array, Experiment
from core.lab.films import FilmSpec
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.study import FigureSpec, Plan, Study
from core.lab.variant import Variant
from games.bilinear import BilinearGame
from games.conditions import by_row, by_seed, condition_rows, train_conditions
from games.studies.limit_cycle_figures import (
    draw_disturbed,
    draw_drive,
    draw_law,
    draw_parts,
    draw_portrait,
    draw_time,
)
from games.studies.limit_cycle_films import film_cycle
from games.studies.limit_cycle_formulas import FORMULAS
from games.studies.limit_cycle_settings import (
    PARTS,
    PORTRAITS,
    SCHEMES,
    SIDES,
    TIMES,
    beyond_cells,
    disturbed_cells,
    law_cells,
    predicted,
    scheme_cells,
    strength_cells,
)
from games.studies.limit_cycle_verdict import judge, tables


def _run(
    variant: Variant,
    keys: Keys,
    *,
    lr: float,
    radii: tuple[float, ...],
    steps: int,
    recording: Recording,
    hyper: Mapping[str, tuple[float, ...]] | None = None,
    noise: float = 0.0,
    device: str,
) -> Run:
    """One variant from several radii (in units of lr), condition by condition over the seeds.

    Args:
        hyper: values that change from condition to condition, as many as there are radii.
        noise: additive, in units of lr.
    """
    problem = BilinearGame(noise="additive" if noise else "none", noise_scale=noise * lr, device=device)
    start = problem.init(condition_rows(keys, len(radii))) * (lr * by_row(radii, keys))[:, None]
    return train_conditions(
        problem,
        variant,
        {"lr": lr, **(hyper or {})},
        keys,
        conditions=len(radii),
        steps=steps,
        recording=recording,
        initial=start,
    )


def measure_settled(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`radius` `[S, B, 2]` in units of lr, for each beta1 from inside and outside: root mean square over the
    last sixth of a run.
    """
    betas, expected = cell["beta1"], predicted(cell)
    starts = tuple(r * side for r in expected["start"] for side in SIDES.values())
    run = _run(
        Variant(
            "method",
            "adam",
            {"beta2": cell["beta2"], "eps": cell["eps"] * cell["lr"]},
            play=SCHEMES[cell["scheme"]],
        ),
        keys,
        lr=cell["lr"],
        radii=starts,
        steps=cell["steps"],
        recording=Recording(points=600),
        hyper={"beta1": tuple(b for b in betas for _ in SIDES)},
        noise=cell["noise"],
        device=device,
    )
    late = run.curves["distance"][:, -100:] / cell["lr"]
    settled = ((late**2).mean(axis=1) ** 0.5) if not cell["noise"] else late.mean(axis=1)
    return {"radius": by_seed(settled, len(keys)).reshape(len(keys), len(betas), len(SIDES))}


def measure_parts(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`radius` `[S, 2, T]` in units of lr over `step` `[S, T]`, from two radii."""
    run = _run(
        PARTS[cell["variant"]],
        keys,
        lr=cell["lr"],
        radii=tuple(cell["starts"]),
        steps=cell["steps"],
        recording=Recording(points=200),
        device=device,
    )
    steps = torch.from_numpy(run.steps).expand(len(keys), -1)
    return {"radius": by_seed(run.curves["distance"] / cell["lr"], len(keys)), "step": steps}


def measure_portrait(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """`path` `[S, 2, T, 2]` in units of lr, from inside and outside."""
    run = _run(
        PARTS[cell["variant"]],
        keys,
        lr=cell["lr"],
        radii=tuple(cell["starts"]),
        steps=cell["steps"],
        recording=Recording(points=500, path=True),
        device=device,
    )
    assert run.path is not None
    return {"path": by_seed(run.path / cell["lr"], len(keys))}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """The law on a fresh grid, schemes, strengths of optimism, noise and eps, parts, and paths to look at."""
    seeds = plan.reporting_seeds

    def settled(name: str, cells: tuple[dict[str, Any], ...]) -> Measurement:
        longest = max(c["steps"] for c in cells)
        return Measurement(name, "limit-cycle", measure_settled, cells, seeds, cost=float(longest))

    parts = tuple(
        {"variant": name, "lr": 0.01, "starts": [60.0, 240.0], "steps": plan.sizes["parts_steps"]}
        for name in PARTS
    )
    times = tuple({**cell, "steps": plan.sizes["time_steps"]} for cell in TIMES)
    portraits = tuple({**cell, "steps": plan.sizes["portrait_steps"]} for cell in PORTRAITS)
    return (
        settled("law", law_cells(plan)),
        settled("schemes", scheme_cells(plan)),
        settled("strengths", strength_cells(plan)),
        settled("disturbed", disturbed_cells(plan)),
        settled("beyond", beyond_cells(plan)),
        Measurement("parts", "limit-cycle", measure_parts, parts, seeds, cost=plan.sizes["parts_steps"]),
        Measurement("time", "limit-cycle", measure_parts, times, seeds, cost=plan.sizes["time_steps"]),
        Measurement("portrait", "limit-cycle", measure_portrait, portraits, 2, cost=1000.0),
    )


STUDY = Study(
    id="limit-cycle",
    title="Where Adam ends on xy",
    question="When Adam plays the simplest game for ever, where does it end?",
    claim=(
        "In the long run Adam on the game xy, with a small learning rate, the exact field and 0 < k c << 1, "
        "neither converges nor diverges. It settles on a cycle around the equilibrium, of radius lr sqrt(8c "
        "/ (k (1 - k c))) with k = 1 - beta2 and c = 1 + 2 x the mean age, in steps, of the gradients that a "
        "step goes along; where c <= 0 the cycle collapses. From k c = 1 on the law itself has none."
    ),
    setup=(
        "Adam on xy from half and from twice the predicted radius, in keyed directions, float64, long "
        "enough (22 / (1 - beta2) steps) for five factors of e; the radius is the root mean square over the "
        "last sixth. A grid of beta1 (also negative), beta2 and learning rates none of which was used to "
        "find the law; alternating play, optimism, extragradient (its state copied or shared) and "
        "extrapolation from the past; optimism of growing strength; noise and eps. Beside this, Adam with "
        "one part taken away at a time, from 60 and 240 learning rates away.\n\n"
        "The law in short (in full, with eps, noise and the approach: docs/limit-cycle.md). Count lengths in "
        "learning rates, and let k = 1 - beta2. Driving: a step is straight, and it goes along gradients "
        "whose mean age is t steps, which point outwards. Damping: a player's second moment swings twice a "
        "turn and lags behind its gradient; so the player whose gradient has grown divides by too little, "
        "and that one steps inwards. Inside the balance the damping is weaker; outside, it is stronger: the "
        "cycle attracts."
    ),
    criterion=(
        "The largest deviation of a measured radius from the law, over all settings with k c <= 0.05, is "
        "below 5% (whole 95% bootstrap interval of the mean over seeds): for Adam, for Adam under other "
        "play schemes, and for optimism below its threshold, each from inside and from outside. Where c <= "
        "0 the radius that is left is below 10 learning rates: for play schemes and for optimism above its "
        "threshold. Supported if all eight hold, refuted if all fail, conditional otherwise. Beside it: "
        "deviations at larger k c, with eps and with noise (10%); whether the path leaves at k c >= 1, where "
        "the law has no cycle; and which parts of Adam damp, that is, bring the path in from 240 "
        "learning rates."
    ),
    mathematics=FORMULAS,
    would_change=(
        "A setting with small k c whose radius leaves the law by more than five per cent, from inside "
        "or from outside; or a way to take Adam's second moment apart that keeps the cycle, which "
        "would put its cause elsewhere."
    ),
    plans={
        "tiny": Plan(
            "tiny",
            steps=0,
            tuning_seeds=0,
            reporting_seeds=2,
            sizes={
                "memories": 1,
                "most_steps": 60,
                "parts_steps": 60,
                "time_steps": 60,
                "portrait_steps": 60,
            },
        ),
        "quick": Plan(
            "quick",
            steps=0,
            tuning_seeds=0,
            reporting_seeds=16,
            sizes={
                "memories": 3,
                "most_steps": 100_000,
                "parts_steps": 4000,
                "time_steps": 4000,
                "portrait_steps": 1500,
            },
        ),
        "full": Plan(
            "full",
            steps=0,
            tuning_seeds=0,
            reporting_seeds=64,
            sizes={
                "memories": 4,
                "most_steps": 100_000,
                "parts_steps": 20_000,
                "time_steps": 8000,
                "portrait_steps": 1500,
            },
        ),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "portrait",
            "Paths in the plane of the two players, in learning rates, over the field that moves them; open "
            "circles: starts, inside and outside. Adam without momentum is drawn to the cycle that the law "
            "gives (dashed). Alternating play takes the drive away, and the path falls in. One second moment "
            "for both players, else the same, takes the damping away, and the path leaves.",
            "Three panels of two paths each over arrows that turn about the origin: both paths end on a "
            "dashed circle; both fall into the middle; both spiral out.",
            draw_portrait,
        ),
        FigureSpec(
            "law",
            "Left: radius measured after a long run over the radius by the law, every setting from inside "
            "and from outside. Right: the deviation over k c, the small number of the derivation; grey: 5%.",
            "Scatter of measured over predicted radii on the diagonal, and their deviation in per cent, "
            "which grows with k c.",
            draw_law,
        ),
        FigureSpec(
            "drive",
            "Momentum and play schemes enter by one number, the mean age of the gradient in a step: all "
            "radii, scaled by the memory, lie on sqrt(1 + 2 age). A gradient that is half a step ahead on "
            "average takes the drive away.",
            "Points of seven schemes on one curve that starts at an age of minus one half; to the left of it "
            "the points lie near zero.",
            draw_drive,
        ),
        FigureSpec(
            "time",
            "Radius over time from four starts: interquartile mean over starting directions with 95% "
            "bootstrap intervals, the averaged equations (dotted), and the law's cycle (dashed). From far "
            "outside the second moments need a turn to settle, which the average does not see.",
            "Two panels of four curves each that approach one dashed line, with dotted curves close to them.",
            draw_time,
            part="learning curves",
        ),
        FigureSpec(
            "parts",
            "Adam with a part taken away, from 60 and from 240 learning rates. What comes in from 240 has "
            "damping: a second moment of each player that swings with its gradient and lags behind it. "
            "Momentum only makes the cycle wider.",
            "Two panels of radius over steps: Adam and RMSProp variants approach levels, AMSGrad, shared v, "
            "sign and normalised descent grow.",
            draw_parts,
            part="controls",
        ),
        FigureSpec(
            "disturbed",
            "Radius over the size of additive noise and over eps, beside the law. Noise widens the cycle, "
            "and leaves a radius of its own where optimism has made the cycle collapse (squares); eps "
            "narrows it. From outside a large eps approaches slowly.",
            "Two panels of measured radii beside curves of the law for two values of beta1.",
            draw_disturbed,
            part="regimes",
        ),
    ),
    films=(
        FilmSpec(
            "cycle",
            "The paths of figure 1 step by step, in learning rates, each panel with its own scale. Dashed: "
            "the cycle that the law gives.",
            "Three panels of two paths each over arrows that turn about the origin. In the film both paths "
            "of Adam without momentum close in on the dashed circle, from inside and from outside; under "
            "alternating play both fall into the middle; with one second moment for both players both "
            "spiral out.",
            film_cycle,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is a formula with five constants not easily fitted?",
            "None is fitted. The law is derived, and it is tested on values of beta1, beta2 and lr that were "
            "not looked at while it was derived, and on play schemes whose age of the gradient is counted, "
            "not measured.",
        ),
        (
            "What damps, then?",
            "By the derivation, that each player's second moment swings with its own gradient and lags "
            "behind it. The controls take away the swing (one v for both, a v that cannot fall, the length "
            "of the field alone) or the lag (sign descent, whose v = g^2 does swing), with momentum and "
            "without; the verdict says which of them leave.",
        ),
        (
            "Does Adam then never diverge?",
            "By the law it does from k c = 1 on, which beta1 = 0.9 reaches at beta2 = 0.947: the damping is "
            "at most 1 / k, and a larger drive wins at every radius. The law keeps the lowest order in k c "
            "and so does not know where exactly; the verdict says at which k c the path was seen to leave.",
        ),
        (
            "What does momentum do?",
            "It drives: its gradients are old, hence point outwards. Negative momentum makes the cycle "
            "smaller and cannot remove it in simultaneous play; alternating play with momentum of at most "
            "zero does.",
        ),
        (
            "When does optimism, extrapolation or alternation make the cycle collapse?",
            "When the gradients of a step come, on average, from half a step ahead or more: c <= 0. Momentum "
            "makes them beta1 / (1 - beta1) steps old. Optimism of strength s takes s steps off that, and "
            "has to exceed 1/2 + beta1 / (1 - beta1), which is 9.5 for beta1 = 0.9; strength 1 does for "
            "beta1 < 1/3. Extragradient with a copied state, or from the past, takes one step off as well: "
            "beta1 < 1/3; with a shared state beta1 < sqrt(2) - 1. Alternation takes half a step off: beta1 "
            "<= 0.",
        ),
        (
            "Does Adam then converge?",
            "Not on the exact field: v shrinks with the path until a step is no longer small, a few "
            "learning rates from the equilibrium. With noise a radius is left that the noise gives.",
        ),
    ),
    source=(
        "Kingma and Ba 2015; Daskalakis et al. 2018 and Gidel et al. 2019 for the play schemes; averaging: "
        "Sanders, Verhulst and Murdock 2007."
    ),
)
