"""Play one game with one method: a bilinear game, or a small GAN on a mixture of Gaussians.

    python scripts/games.py bilinear --method adam --lr 0.01 --beta1 0.5
    python scripts/games.py gan --data ring8 --method adam --lr 0.01 --beta1 0.5

Each writes a figure and prints a small table; `--help` of each shows all that can be set.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure

# The root before this folder: `games` is the package, not this script.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.lab import figures, stats
from core.lab.errors import VhatError, nearest
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.study import Table
from core.lab.tables import number, text_table, with_interval
from core.lab.terminal import guarded
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.play import Alternating, Extragradient, Optimistic, PlayScheme, Simultaneous
from core.optim.rules import RULES
from games.bilinear import BilinearGame, Noise
from games.gan import Loss, mixture_gan
from games.joint import Joint
from games.mixtures import Shape
from games.orbit import descent_growth, turning
from games.studies.gan_figures import draw_samples
from games.studies.orbit_figures import field_arrows

_SCHEMES: dict[str, PlayScheme] = {
    "simultaneous": Simultaneous(),
    "alternating": Alternating(),
    "extragradient": Extragradient(),
    "optimistic": Optimistic(),
    "joint": Joint(),
}


@dataclass(frozen=True)
class _Method:
    """What both games share."""

    method: str = "adam"
    """update rule: sgd (GDA), momentum, rmsprop, adam, amsgrad, signsgd, normalized_sgd, adam_shared_v, ...
    """
    play: Literal["simultaneous", "alternating", "extragradient", "optimistic", "joint"] = "simultaneous"
    """who steps when (joint: simultaneous, with one state of the rule for both players)"""
    lr: float = 0.01
    """learning rate of both players"""
    beta1: float | None = None
    """decay of Adam's first moment; default: the rule's"""
    beta2: float | None = None
    """decay of Adam's second moment (alpha of rmsprop); default: the rule's"""
    momentum: float | None = None
    """of the rules that have one; default: the rule's"""
    seeds: int = 8
    """replicas, at least two"""
    device: str = "cpu"
    """where it is computed"""
    threads: int = 1
    """of torch"""

    def variant(self) -> Variant:
        """The method as a variant.

        Raises:
            VhatError: for an unknown rule, or a setting that the rule does not have or allow.
        """
        if self.method not in RULES:
            raise VhatError(f"--method: {nearest(self.method, RULES, kind='update rule')}")
        rule = RULES[self.method]
        second = "alpha" if "alpha" in rule.hyper else "beta2"
        asked = {"beta1": self.beta1, second: self.beta2, "momentum": self.momentum}
        hyper = {name: value for name, value in asked.items() if value is not None}
        try:
            rule.validate(lr=self.lr, **hyper)
        except ValueError as error:
            raise VhatError(str(error)) from error
        names = {"sgd": "GDA", "adam": "Adam", "rmsprop": "RMSProp"}
        said = [names.get(self.method, self.method), *(f"{k} = {v:g}" for k, v in hyper.items())]
        said += [] if self.play == "simultaneous" else [self.play]
        return Variant(", ".join(said), rule, hyper, play=_SCHEMES[self.play])

    def run(self, problem: Problem, steps: int, points: int) -> tuple[Variant, Keys, Run]:
        """Train all replicas, paths kept."""
        if self.seeds < 2 or steps < 1:
            raise VhatError(f"--seeds needs at least 2 and --steps at least 1, got {self.seeds} and {steps}")
        torch.set_num_threads(self.threads)
        variant = self.variant()
        keys = Keys.of(range(self.seeds), study="scripts/games", device=self.device)
        block = Block(variant, slice(0, self.seeds), {"lr": self.lr})
        return (
            variant,
            keys,
            train(problem, [block], keys, steps=steps, recording=Recording(points, path=True)),
        )


@dataclass(frozen=True)
class Bilinear(_Method):
    """The game xy, or x'Ay: a phase portrait and the radius over time."""

    steps: int = 2000
    """training steps"""
    size: int = 1
    """dimension of each player; the portrait shows the first coordinate of each"""
    condition: float = 1.0
    """largest over smallest singular value of A"""
    regularization: float = 0.0
    """strength of the quadratic terms that make the game convex-concave"""
    noise: Noise = "none"
    """of the field"""
    noise_scale: float = 0.5
    """standard deviation of the noise"""
    radius: float = 1.0
    """distance from the equilibrium at the start"""
    out: Path = Path("out/games-bilinear.svg")
    """the figure"""

    def __call__(self) -> None:
        try:
            game = BilinearGame(
                self.size,
                self.condition,
                self.regularization,
                self.noise,
                self.noise_scale,
                self.radius,
                device=self.device,
            )
        except ValueError as error:
            raise VhatError(str(error)) from error
        variant, _, run = self.run(game, self.steps, min(self.steps, 5000))
        self._draw(variant, run)
        print(text_table(self._table(variant, run)))
        print(f"\nFigure: {self.out}")

    def _draw(self, variant: Variant, run: Run) -> None:
        assert run.path is not None
        figure, (left, right) = figures.new_figure(columns=2, width=9.6, height=4.4)
        path = run.path[0][:, [0, self.size]]
        finite = np.abs(path[np.isfinite(path).all(axis=1)])
        if self.size == 1 and self.regularization == 0.0:
            field_arrows(left, float(min(finite.max(), 1e12)))
        figures.phase_path(left, path, variant.name)
        figures.label(left, x="x (descends)", y="y (ascends)", title=f"one replica, lr {self.lr:g}")
        figures.curves_with_intervals(right, run.steps, run.curves["distance"], variant.name)
        plain = self.method == "sgd" and self.play == "simultaneous" and self.momentum is None
        if plain and self.size == 1 and self.noise == "none" and self.regularization == 0.0:
            known = self.radius * descent_growth(self.lr) ** run.steps.astype(np.float64)
            right.plot(run.steps, known, color="#000000", linestyle=":", label="closed form")
        figures.label(right, x="step", y="distance from the equilibrium", log="y")
        figures.legend_below(figure)
        _save(figure, self.out)

    def _table(self, variant: Variant, run: Run) -> Table:
        distance = run.curves["distance"]
        final = np.where(run.diverged, np.inf, distance[:, -1])
        rows = [
            ("distance at the start", number(float(distance[:, 0].mean()))),
            ("distance at the end", with_interval(stats.interval(final))),
            ("replicas that diverged", f"{int(run.diverged.sum())} of {self.seeds}"),
        ]
        if "angle" in run.curves and self.steps == len(run.steps) - 1:
            turns, growth = turning(distance, run.curves["angle"])
            rows.append(("turns in 1,000 steps", number(1000.0 * stats.centre(turns))))
            if not np.isnan(growth).any():
                rows.append(("growth of log distance a turn", with_interval(stats.interval(growth))))
        return Table(
            "", (variant.name, f"lr {self.lr:g}, {self.steps} steps, {self.seeds} seeds"), tuple(rows)
        )


@dataclass(frozen=True)
class Gan(_Method):
    """A small GAN on a mixture of Gaussians: samples over training, and modes covered."""

    data: Shape = "ring8"
    """eight Gaussians on a circle, or 25 on a grid"""
    radius: float = 2.0
    """of the circle; half the side of the grid"""
    std: float = 0.1
    """of each Gaussian"""
    loss: Loss = "nonsaturating"
    """of the two players"""
    latent: int = 2
    """dimension of the generator's input"""
    width: int = 32
    """units in each of the two hidden layers of both networks"""
    batch: int = 64
    """real points and latents a step"""
    steps: int = 2000
    """training steps"""
    frames: int = 6
    """frames of samples over training"""
    out: Path = Path("out/games-gan.svg")
    """the figure"""

    def __call__(self) -> None:
        if self.frames < 2:
            raise VhatError(f"--frames needs at least 2, got {self.frames}")
        problem = mixture_gan(
            shape=self.data,
            radius=self.radius,
            std=self.std,
            device=self.device,
            loss=self.loss,
            latent=self.latent,
            width=self.width,
            batch=self.batch,
        )
        variant, keys, run = self.run(problem, self.steps, self.frames * 5)
        assert run.path is not None
        figure, panels = figures.new_figure(rows=2, columns=self.frames, width=1.9 * self.frames, height=4.2)
        shown = [round(i * (len(run.steps) - 1) / self.frames) for i in range(1, self.frames + 1)]
        for column, index in enumerate(shown):
            samples = (
                problem.samples(torch.from_numpy(run.path[:, index]).to(self.device), keys).cpu().numpy()
            )
            for row in range(2):
                draw_samples(
                    panels[row * self.frames + column], samples[row], problem.data, name=variant.name
                )
            figures.label(panels[column], title=f"step {run.steps[index]}")
        for row in range(2):
            figures.label(panels[row * self.frames], y=f"seed {row}")
        _save(figure, self.out)
        print(text_table(self._table(variant, run, shown, len(problem.data.modes))))
        print(f"\n{int(run.diverged.sum())} of {self.seeds} replicas diverged. Figure: {self.out}")

    def _table(self, variant: Variant, run: Run, shown: list[int], modes: int) -> Table:
        def at(measure: str, index: int) -> str:
            return with_interval(stats.interval(np.nan_to_num(run.curves[measure][:, index]), "mean"))

        rows = tuple((str(run.steps[i]), at("modes", i), at("quality", i)) for i in shown)
        head = (
            f"{variant.name}, lr {self.lr:g}: step",
            f"modes covered, of {modes}",
            "share within 3 std of a mode",
        )
        return Table("", head, rows)


def _save(figure: Figure, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figures.save_png(figure, path) if path.suffix == ".png" else figures.save_svg(figure, path)
    except OSError as error:
        raise VhatError(f"cannot write {path}: {error.strerror}; choose another --out") from error


Game = Annotated[Bilinear, tyro.conf.subcommand("bilinear")] | Annotated[Gan, tyro.conf.subcommand("gan")]

if __name__ == "__main__":
    game = tyro.cli(Game, description=__doc__)
    sys.exit(guarded(game))
