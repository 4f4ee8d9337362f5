"""Does Adam carry a small GAN more steadily over the ring of eight Gaussians than gradient descent-ascent
does?
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab.experiment import Array, Experiment
from core.lab.films import FilmSpec
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import FigureSpec, Plan, Study
from core.lab.sweep import Objective, Sweep
from core.lab.train import Block, train
from core.lab.variant import Variant
from games.gan import mixture_gan
from games.studies.continued_sweep import ContinuedSweep
from games.studies.gan_figures import (
    draw_final,
    draw_frames,
    draw_longer,
    draw_mode_mass,
    draw_modes,
    draw_quality,
    draw_rates,
    draw_steadiness,
)
from games.studies.gan_films import film_samples
from games.studies.gan_settings import (
    BUDGETS,
    BY_NAME,
    CONTINUED,
    FRAME_SAMPLES,
    FRAME_TIMES,
    FRAMES,
    GRID,
    LINEAR,
    LINEAR_GRID,
    NETWORK,
    ONE_EVALUATION,
    REGIMES,
    TIMES,
    TWO_EVALUATIONS,
    ModesAtEnd,
)
from games.studies.gan_tables import tables
from games.studies.gan_verdict import judge


def measure_frames(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """Samples on held-out latents at the start and `FRAME_TIMES` times after it: `samples` `[S, T, n, 2]`,
    `step` `[S, T]`.
    """
    problem = mixture_gan(**NETWORK, device=device)
    block = Block(BY_NAME[cell["variant"]], slice(0, len(keys)), {"lr": cell["lr"]})
    recording = Recording(points=FRAME_TIMES, path=True)
    run = train(problem, [block], keys, steps=cell["steps"], recording=recording)
    assert run.path is not None
    frames = [problem.samples(torch.from_numpy(p).to(device), keys) for p in np.swapaxes(run.path, 0, 1)]
    samples = torch.stack(frames, dim=1)[:, :, :FRAME_SAMPLES]
    return {"samples": samples, "step": np.tile(run.steps, (len(keys), 1))}


def _parts(
    plan: Plan, name: str, evaluations: int, first: Callable[..., Sweep] = Sweep, **settings: Any
) -> list[Sweep]:
    """Two comparisons that belong together: one evaluation a step, and two in half the steps.

    Args:
        first: of which kind the comparison of one evaluation a step is.
    """
    shared = {
        "study": "gan",
        "tuning_seeds": plan.tuning_seeds,
        "reporting_seeds": plan.reporting_seeds,
        "recording": Recording(points=40, tuning_points=2),
        "widen": 3,
        **settings,
    }
    steps = max(1, evaluations // 2)
    return [
        first(name=f"{name}: one evaluation", variants=ONE_EVALUATION, steps=evaluations, **shared),
        Sweep(
            name=f"{name}: two evaluations",
            variants=TWO_EVALUATIONS[: plan.sizes["two evaluations"]],
            steps=steps,
            **shared,
        ),
    ]


def _continued(**settings: Any) -> Sweep:
    """A sweep of which the methods of `CONTINUED` go on."""
    return ContinuedSweep(continued=CONTINUED, times=TIMES, **settings)


def _on_one_grid(*, variants: tuple[Variant, ...], **settings: Any) -> Sweep:
    """A sweep in which no method has a grid of its own."""
    return Sweep(variants=tuple(dataclasses.replace(v, lr=None) for v in variants), **settings)


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """Tuned comparisons at each budget (all games in the full plan), the linear game, and frames."""
    found: list[Experiment] = []
    for name in list(BUDGETS)[: plan.sizes["budgets"]]:
        found += _parts(
            plan,
            name,
            BUDGETS[name] * plan.steps,
            _continued if BUDGETS[name] == 1 else Sweep,
            regimes=REGIMES[: plan.sizes["regimes"]],
            objective=ModesAtEnd(),
            grid=GRID,
            seeds_per_shard=8,
            cost=20.0,
        )
    found += _parts(
        plan,
        "linear",
        plan.steps,
        _on_one_grid,
        regimes=LINEAR,
        objective=Objective("distance", label="final distance from the equilibrium (start: 1)"),
        grid=LINEAR_GRID,
        cost=0.5,
    )
    frames = tuple({"variant": v, "lr": lr, "steps": plan.steps} for v, lr in FRAMES)
    found.append(Measurement("frames", "gan", measure_frames, frames, 2, cost=10.0 * plan.steps))
    return tuple(found)


STUDY = Study(
    id="gan",
    title="A small GAN on the ring of eight Gaussians",
    question="Does Adam keep a small GAN from losing what it has learned to draw?",
    claim=(
        "Training a generative adversarial network is a game of two players, in which simultaneous "
        "gradient descent-ascent oscillates; Adam's momentum and individual learning rates handle the game "
        "better and keep it on a more stable path."
    ),
    setup=(
        "Generator 2-32-32-2 and discriminator 2-32-32-1 with rectified linear units, batch 64, on eight "
        "Gaussians (standard deviation 0.1) on a circle of radius 2, non-saturating loss; the full plan adds "
        "the saturating and the Wasserstein loss, an R1 penalty of 0.1, the 5 x 5 grid and scikit-learn's "
        "8x8 digits (latent 16, width 64; a class is covered, and an image good, where a small classifier is "
        "sure). Both players take the same learning rate and step at once on the same sample, except under "
        "alternating play. All methods are compared at equal evaluations of the field: those of two "
        "evaluations a step (consensus: one and a product with the Jacobian) take half the steps. GDA and "
        "Adam then go on for seven times as many evaluations at the rate tuned for the short budget, which "
        "need not be the best for the long one; the full plan also tunes all methods again for that length. "
        "All methods of a seed share networks, latents and data. Learning rates: two points a decade "
        "(widened up to three times at an edge), tuned for the mean number of modes at the end on 8 or more "
        "seeds, reported on 16 or more others; a replica that diverged covers no mode, in tuning as in the "
        "report. Judged on 512 held-out latents: a mode is covered when at least a quarter of its fair share "
        "of samples (1 in 32 of all) lies within 3 standard deviations of its centre. Churn: the share of "
        "128 fixed latents whose sample is in another mode (or none) than at the record before. The same "
        "methods, tuned again, play xy and a 4 x 4 bilinear game of condition 10 with additive noise of 0.2. "
        "The cures of bilinear games for GDA (optimism, alternation, extragradient; in the full plan also "
        "negative momentum and consensus), the larger linear game and the churn of latents joined after "
        "first results; they enter no criterion."
    ),
    criterion=(
        "For each beta1 in {0.9, 0.5, 0} (and each game and budget of the plan): tuned Adam covers at the "
        "end more than half a mode more than tuned simultaneous GDA, as the mean over fresh seeds, paired, "
        "with the whole 95% bootstrap interval. A replica that diverged covers none. Supported if all hold, "
        "refuted if all fail, conditional if some hold and others fail. Shown beside: oscillation during "
        "training, what momentum, individual rates, memory, optimism, alternation and extragradient "
        "contribute, and whether the ranking of methods on noisy bilinear games carries over (rank "
        "correlation above 0)."
    ),
    mathematics=(
        (
            r"\min_\phi\ \mathrm{E}_x[s(-D_\phi(x))] + \mathrm{E}_z[s(D_\phi(G_\theta(z)))], "
            r"\qquad \min_\theta\ \mathrm{E}_z[s(-D_\phi(G_\theta(z)))]",
            "Goodfellow et al. 2014, with the generator's loss that does not saturate: D gives a "
            "logit, G makes samples of noise z, x is data, and s is the softplus. Two losses, so the "
            "field is the gradient of neither.",
        ),
    ),
    would_change=(
        "A larger GAN, or real images, on which the order of the methods is another. The ring is the "
        "smallest task on which modes can be counted; two-time-scale rates and penalties other than "
        "ours are not in it."
    ),
    plans={
        "tiny": Plan(
            "tiny",
            steps=40,
            tuning_seeds=2,
            reporting_seeds=2,
            sizes={"regimes": 1, "budgets": 1, "two evaluations": 4},
        ),
        "quick": Plan(
            "quick",
            steps=1200,
            tuning_seeds=8,
            reporting_seeds=16,
            sizes={"regimes": 1, "budgets": 1, "two evaluations": 4},
        ),
        "full": Plan(
            "full",
            steps=1500,
            tuning_seeds=16,
            reporting_seeds=32,
            sizes={"regimes": 6, "budgets": 2, "two evaluations": 6},
        ),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "modes",
            "Modes covered over training, each method at its tuned rate: mean over fresh seeds with 95% "
            "bootstrap intervals. Left: the claim's variants. Right: controls.",
            "Two panels of modes covered from 0 to 8 over evaluations of the field, one curve with a band a "
            "method.",
            draw_modes,
            part="learning curves",
        ),
        FigureSpec(
            "longer",
            "Slower, or less stable? The same paths going on for seven times as many evaluations at the rate "
            "that was tuned for the short budget, which ends at the dotted line. Mean over fresh seeds with "
            "95% bootstrap intervals.",
            "Two panels of modes covered and of the share of good samples over evaluations, one curve with a "
            "band a method.",
            draw_longer,
            part="regimes",
        ),
        FigureSpec(
            "frames",
            "Samples of the generator of one seed on held-out latents over training, a row a variant at "
            "the rate named. Circles: three standard deviations around each mode.",
            "A grid of scatter plots: rows are GDA and Adam with three values of beta1, columns are times in "
            "training; points gather on eight circles or on some of them.",
            draw_frames,
        ),
        FigureSpec(
            "mass",
            "Share of samples within three standard deviations of each mode over training, for the first "
            "fresh seed at the tuned rate: white is none, black twice a mode's fair share. A steady path has "
            "eight even grey bands; where a band breaks off, the mode was dropped.",
            "Six panels of eight bands over steps; in some the bands break off and come back.",
            draw_mode_mass,
        ),
        FigureSpec(
            "final",
            "Modes covered at the end, mean over fresh seeds with 95% bootstrap intervals.",
            "Dots with intervals of the modes covered by each method.",
            draw_final,
            part="controls",
        ),
        FigureSpec(
            "steadiness",
            "Oscillation in the second half of training, mean over fresh seeds with 95% bootstrap intervals: "
            "modes gained or lost from record to record, and the share of fixed latents whose sample changes "
            "its mode.",
            "Two panels of dots with intervals, one row a method.",
            draw_steadiness,
        ),
        FigureSpec(
            "quality",
            "Share of samples within three standard deviations of a mode (dotted: the data itself) and "
            "energy distance to held-out data over training, at tuned rates.",
            "Curves with bands of the share of high-quality samples and of the energy distance over steps.",
            draw_quality,
        ),
        FigureSpec(
            "rates",
            "Modes covered at the end over the learning rate, on the tuning seeds; the chosen rate is "
            "ringed.",
            "Curves of modes covered over the learning rate, one a method.",
            draw_rates,
            part="learning rates",
        ),
    ),
    films=(
        FilmSpec(
            "samples",
            "Generated points over training, one seed a variant, the same latents in every frame, over the "
            "modes of the data (grey, three standard deviations wide). Rates as in the figure of frames, "
            "fixed before the run.",
            "Four panels of points about eight grey circles, at the end of training. In the film a speck in "
            "the middle grows: by GDA and by Adam with beta1 = 0.9 it swings about as a streak for long, by "
            "Adam with beta1 = 0.5 and 0 it soon lies along the ring of circles.",
            film_samples,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is GDA merely run at a bad rate?",
            "It has its own grid, ten times higher than Adam's, widened where its best rate lies on an edge, "
            "and the same number of seeds to choose on; the verdict names who is still on an edge. Its whole "
            "curve over the rate is shown.",
        ),
        (
            "Which part of Adam helps?",
            "RMSProp and Adam with beta1 = 0 have no momentum; a v shared within each player has no "
            "individual rates; sign descent has no memory; normalised descent has a step of fixed length "
            "only.",
        ),
        (
            "Does a generator that covers eight modes make good samples?",
            "The share of good samples, the energy distance and the sliced Wasserstein distance stand beside "
            "the modes, on the same held-out latents.",
        ),
        (
            "Do games with a closed form say anything about a GAN?",
            "The same methods are tuned on two noisy bilinear games; the table of places shows where the "
            "ranking carries over and where it turns over.",
        ),
        (
            "Is the network too small, or the run too short?",
            "Both are small. Seven times the budget at the same rates tells whether a path gains or loses "
            "modes at the rate that was best for the short run, not how good a method is at the long one. "
            "The full plan tunes again for it, and adds losses, a penalty and a harder law.",
        ),
    ),
    source=(
        "Goodfellow et al. 2014; Srivastava et al. 2017 (modes, quality); Gidel et al. 2019 (momentum, "
        "extragradient); Daskalakis et al. 2018 (optimism); Szekely and Rizzo 2013; Rabin et al. 2012."
    ),
)
