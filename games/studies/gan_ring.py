"""Does Adam carry a small GAN more steadily over the ring of eight Gaussians than gradient descent-ascent
does?
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.lab import stats
from core.lab.experiment import Array, Experiment
from core.lab.measurement import Cell, Measurement
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.study import FigureSpec, Plan, Results, Study, Table
from core.lab.sweep import Objective, Regime, Sweep, SweepResult
from core.lab.tables import sweep_table, with_interval
from core.lab.train import Block, train
from core.lab.variant import Grid, Variant
from core.lab.verdict import Finding, Outcome, Verdict, finding, verdict
from core.optim.play import Alternating
from games.gan import mixture_gan
from games.studies.gan_figures import draw_final, draw_frames, draw_modes, draw_quality, draw_rates

NETWORK: dict[str, Any] = {
    "shape": "ring8",
    "radius": 2.0,
    "std": 0.1,
    "latent": 2,
    "width": 32,
    "batch": 64,
}
REGIMES = (Regime("non-saturating loss", mixture_gan, NETWORK),)
LOSSES = (
    *REGIMES,
    Regime("saturating loss", mixture_gan, {**NETWORK, "loss": "saturating"}),
    Regime("Wasserstein loss, no penalty", mixture_gan, {**NETWORK, "loss": "wasserstein"}),
)
ADAMS = ("Adam", "Adam, beta1 = 0.5", "Adam, beta1 = 0")
VARIANTS = (
    Variant("GDA", "sgd", lr=Grid.between(0.01, 1.0)),
    Variant("Adam", "adam"),
    Variant("Adam, beta1 = 0.5", "adam", {"beta1": 0.5}),
    Variant("Adam, beta1 = 0", "adam", {"beta1": 0.0}),
    Variant("Adam, beta1 = 0.5, alternating", "adam", {"beta1": 0.5}, play=Alternating()),
    Variant("RMSProp", "rmsprop", control=True, note="no momentum, shorter memory"),
    Variant(
        "Adam, beta1 = 0.5, shared v",
        "adam_shared_v",
        {"beta1": 0.5},
        control=True,
        note="one second moment a player: removes individual rates",
    ),
    Variant("Sign descent", "signsgd", control=True, note="removes memory: only the field's signs"),
    Variant(
        "Normalised descent",
        "normalized_sgd",
        lr=Grid.between(0.003, 0.3),
        control=True,
        note="a player's step has the length lr",
    ),
)
GRID = Grid.between(1e-3, 0.05)
FRAMES = (("GDA", 0.1), ("Adam", 0.00316228), ("Adam, beta1 = 0.5", 0.01), ("Adam, beta1 = 0", 0.01))
"""Rates of the frames of samples: fixed beforehand, since tuned rates are known only after tuning."""
FRAME_TIMES = 5
LEAST_EFFECT = 0.5
"""Half a mode, on average over seeds."""

_BY_NAME = {v.name: v for v in VARIANTS}


def measure_frames(cell: Cell, keys: Keys, /, *, device: str) -> Mapping[str, Tensor | Array]:
    """Samples on held-out latents at `FRAME_TIMES` times: `samples` `[S, T, n, 2]`, `step` `[S, T]`."""
    problem = mixture_gan(**NETWORK, device=device)
    block = Block(_BY_NAME[cell["variant"]], slice(0, len(keys)), {"lr": cell["lr"]})
    recording = Recording(points=FRAME_TIMES, path=True)
    run = train(problem, [block], keys, steps=cell["steps"], recording=recording)
    assert run.path is not None
    frames = [problem.samples(torch.from_numpy(p).to(device), keys) for p in np.swapaxes(run.path, 0, 1)[1:]]
    return {"samples": torch.stack(frames, dim=1), "step": np.tile(run.steps[1:], (len(keys), 1))}


def experiments(plan: Plan) -> tuple[Experiment, ...]:
    """The tuned comparison (all losses in the full plan), and frames of samples."""
    frames = tuple({"variant": v, "lr": lr, "steps": plan.steps} for v, lr in FRAMES)
    return (
        Sweep(
            name="tuned",
            study="gan",
            regimes=LOSSES if plan.sizes["losses"] > 1 else REGIMES,
            variants=VARIANTS,
            grid=GRID,
            objective=Objective("modes", higher=True, across="mean", label="modes covered at the end, of 8"),
            steps=plan.steps,
            tuning_seeds=plan.tuning_seeds,
            reporting_seeds=plan.reporting_seeds,
            recording=Recording(points=40, tuning_points=2),
            seeds_per_shard=4,
            widen=1,
        ),
        Measurement("frames", "gan", measure_frames, frames, 2, cost=float(plan.steps)),
    )


def churn(run: Run) -> Array:
    """`[R]`: modes gained or lost from record to record, on average over the second half of training."""
    modes = run.curves["modes"]
    return np.asarray(np.abs(np.diff(modes[:, modes.shape[1] // 2 :], axis=1)).mean(axis=1))


def _modes(sweep: SweepResult, regime: str, a: str, b: str, *, decisive: bool) -> Finding:
    """Modes at the end of `a` less those of `b`; a replica that diverged covers none."""
    final = [np.maximum(sweep.values(regime, v), 0.0) for v in (a, b)]
    return finding(
        f"{regime}: {a} against {b}",
        stats.paired_difference(final[0], final[1], "mean"),
        above=LEAST_EFFECT if decisive else 0.0,
        replicas=len(final[0]),
        text=f"{a} covers more modes than {b} at the end, both tuned",
        unit="modes",
        decisive=decisive,
    )


def _steadier(sweep: SweepResult, regime: str, a: str, b: str) -> Finding:
    """Churn of `a` less that of `b`; a replica that diverged counts as the worst."""
    turnover = [np.nan_to_num(churn(sweep.run(regime, v)), nan=np.inf) for v in (a, b)]
    return finding(
        f"{regime}: churn, {a} against {b}",
        stats.paired_difference(turnover[0], turnover[1], "mean"),
        below=0.0,
        replicas=len(turnover[0]),
        text=f"{a} gains and drops fewer modes from record to record than {b}, second half of training",
        unit="modes a record",
        decisive=False,
    )


def judge(results: Results) -> Verdict:
    """The criterion, for every beta1 and every loss of the plan."""
    sweep = results.sweep("tuned")
    decisive = [_modes(sweep, r, a, "GDA", decisive=True) for r in sweep.regimes for a in ADAMS]
    beside = []
    for regime in sweep.regimes:
        beside += [_steadier(sweep, regime, a, "GDA") for a in ADAMS]
        beside += [
            _modes(sweep, regime, a, b, decisive=False)
            for a, b in (
                ("Adam, beta1 = 0", "Adam"),
                ("Adam, beta1 = 0.5", "RMSProp"),
                ("Adam, beta1 = 0.5", "Adam, beta1 = 0.5, shared v"),
                ("Adam, beta1 = 0.5", "Sign descent"),
                ("Adam, beta1 = 0.5", "Normalised descent"),
                ("Adam, beta1 = 0.5, alternating", "Adam, beta1 = 0.5"),
            )
        ]
    return verdict([*decisive, *beside], _sentence(sweep, decisive, beside))


def _sentence(sweep: SweepResult, decisive: list[Finding], beside: list[Finding]) -> str:
    regime = sweep.regimes[0]
    counts = {v: np.maximum(sweep.values(regime, v), 0.0).mean() for v in ("GDA", *ADAMS)}
    values = ", ".join(f"{name}: {count:.1f}" for name, count in counts.items())
    held = sum(f.outcome is Outcome.HOLDS for f in decisive)
    parts = {f.regime: f.outcome for f in beside}
    momentum = parts[f"{regime}: Adam, beta1 = 0 against Adam"]
    said = {
        Outcome.HOLDS: "momentum of 0.9 costs modes",
        Outcome.FAILS: "momentum of 0.9 costs no modes",
        Outcome.UNCLEAR: "whether momentum of 0.9 costs modes is open",
    }
    return (
        f"Of 8 modes, tuned and at the end ({regime}): {values}; Adam covers at least half a mode more than "
        f"GDA in {held} of {len(decisive)} settings, and {said[momentum]}."
    )


def tables(results: Results) -> tuple[Table, ...]:
    """Tuned modes, and quality and churn."""
    sweep = results.sweep("tuned")
    found = []
    for regime in sweep.regimes:
        found.append(sweep_table(sweep, regime))
        rows = []
        for name in sweep.variants:
            run = sweep.run(regime, name)
            quality = np.nan_to_num(run.curves["quality"][:, -1])
            turnover = np.nan_to_num(churn(run), nan=np.inf)
            rows.append(
                (name, with_interval(stats.interval(quality)), with_interval(stats.interval(turnover)))
            )
        found.append(
            Table(
                f"{regime}: quality is the share of samples within 3 standard deviations of a mode (0.989 "
                "for the data itself); churn is the number of modes gained or lost from one record to the "
                "next, in the second half (who covers few modes has few to lose).",
                ("variant", "quality at the end", "churn"),
                tuple(rows),
            )
        )
    return tuple(found)


STUDY = Study(
    id="gan",
    title="A small GAN on the ring of eight Gaussians",
    claim=(
        "Training a generative adversarial network is a game of two players, in which simultaneous "
        "gradient descent-ascent oscillates; Adam's momentum and individual learning rates handle the game "
        "better and keep it on a more stable path."
    ),
    setup=(
        "Generator 2-32-32-2 and discriminator 2-32-32-1 with rectified linear units, batch 64, on eight "
        "Gaussians (standard deviation 0.1) on a circle of radius 2; non-saturating loss (the full plan "
        "adds the saturating and the Wasserstein loss). Both players take the same learning rate and step "
        "at once on the same sample, except under alternating play. All variants of a seed share networks, "
        "latents and data. Learning rates: two points a decade, tuned for the mean number of modes at the "
        "end on 8 or more seeds, reported on 16 or more others. Judged on 512 held-out latents: a mode is "
        "covered when at least a quarter of its fair share of samples (1 in 32 of all) lies within 3 "
        "standard deviations of its centre."
    ),
    criterion=(
        "For each beta1 in {0.9, 0.5, 0} (and each loss of the plan): tuned Adam covers at the end more "
        "than half a mode more than tuned simultaneous GDA, as the mean over fresh seeds, paired, with the "
        "whole 95% bootstrap interval. A replica that diverged covers none. Supported if all hold, refuted "
        "if all fail, conditional if some hold and others fail. Shown beside: churn of modes in the second "
        "half of training as the measure of a stable path, and what momentum, individual rates, memory and "
        "alternation contribute."
    ),
    plans={
        "tiny": Plan("tiny", steps=40, tuning_seeds=2, reporting_seeds=2, sizes={"losses": 1}),
        "quick": Plan("quick", steps=1500, tuning_seeds=8, reporting_seeds=16, sizes={"losses": 1}),
        "full": Plan("full", steps=10500, tuning_seeds=16, reporting_seeds=64, sizes={"losses": 3}),
    },
    experiments=experiments,
    judge=judge,
    figures=(
        FigureSpec(
            "modes",
            "Modes covered over training, each variant at its tuned rate: mean over fresh seeds with 95% "
            "bootstrap intervals. Left: the claim's variants. Right: controls.",
            "Two panels of modes covered from 0 to 8 over training steps, one curve with a band a variant.",
            draw_modes,
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
            "final",
            "Modes covered at the end, mean over fresh seeds with 95% bootstrap intervals.",
            "Dots with intervals of the modes covered by each variant.",
            draw_final,
        ),
        FigureSpec(
            "quality",
            "Share of samples within three standard deviations of a mode over training, at tuned rates; "
            "dotted: the data itself.",
            "Curves with bands of the share of high-quality samples over training steps, one a variant.",
            draw_quality,
        ),
        FigureSpec(
            "rates",
            "Modes covered at the end over the learning rate, on the tuning seeds; the chosen rate is "
            "ringed.",
            "Curves of modes covered over the learning rate, one a variant.",
            draw_rates,
        ),
    ),
    tables=tables,
    sceptic=(
        (
            "Is GDA merely run at a bad rate?",
            "It has its own grid, ten times higher than Adam's, widened where its best rate lies on an "
            "edge, and the same number of seeds to choose on. Its whole curve over the rate is shown.",
        ),
        (
            "Which part of Adam helps?",
            "RMSProp and Adam with beta1 = 0 have no momentum; a v shared within each player has no "
            "individual rates; sign descent has no memory; normalised descent has a step of fixed length "
            "only.",
        ),
        (
            "Does a generator that covers eight modes make good samples?",
            "Quality is shown beside the modes, on the same held-out latents.",
        ),
        (
            "Is the network too small, or the run too short?",
            "Both are small. The full plan is seven times as long and adds two more losses.",
        ),
    ),
    source="Goodfellow et al. 2014; Srivastava et al. 2017 (modes, quality); Gidel et al. 2019 (momentum).",
)
