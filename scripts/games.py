"""Play one game with one method: bilinear, a matrix game, the Dirac-GAN, or a small GAN.

    python scripts/games.py bilinear --method adam --lr 0.01 --beta1 0.5
    python scripts/games.py bilinear --method sgd --play optimistic --lr 0.2 --size 4 --condition 10
    python scripts/games.py matrix --payoff random --method sgd --play extragradient --lr 0.3
    python scripts/games.py dirac --method sgd --adjust consensus --lr 0.1
    python scripts/games.py theory --lr 0.3 --size 3 --condition 4
    python scripts/games.py gan --data ring8 --method adam --lr 0.01 --beta1 0.5 --animation out/ring.gif

Each writes a figure and prints a small table; `--help` of each shows all that can be set. A game of your own
is fifteen lines: see `games/own.py`.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# The root before this folder: `games` is the package, not this script.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.lab import figures, stats
from core.lab.commands import check_device
from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.run import Recording, Run
from core.lab.study import Table
from core.lab.tables import number, text_table, with_interval
from core.lab.terminal import guarded
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.rules import RULES
from core.optim.schedules import Cosine, InverseSquareRoot
from games.bilinear import BilinearGame
from games.digits_gan import digits_gan
from games.dirac import DiracGAN
from games.frames import animate, draw_images, draw_points, training_figure
from games.gan import GAN, Loss, mixture_gan
from games.methods import Adjust, Average, Method, Play
from games.mixtures import Mixture
from games.noise import Noise
from games.orbit import turning
from games.portrait import matrix_figure, orbit_figure
from games.rates import KNOWN
from games.simplex import MatrixGame, Parametrisation, Payoff
from games.spectrum import Point
from games.theory import disk_figure, factor_rows, theory_table


@dataclass(frozen=True)
class _Played:
    """What all games share: the method, and how it is run."""

    method: str = "adam"
    """update rule: sgd (GDA), momentum, rmsprop, adam, amsgrad, signsgd, normalized_sgd, adam_shared_v, ...
    """
    play: Play = "simultaneous"
    """who steps when (past: extrapolation from the past; joint: one state of the rule for both players)"""
    adjust: Adjust = "none"
    """what is done to the field before the rule sees it"""
    strength: float | None = None
    """of the adjustment; default: its own (the learning rate for anticipating, lola and competitive)"""
    iterations: int = 0
    """of conjugate gradients for competitive; 0 solves with the full matrix, for small games"""
    average: Average = "none"
    """of the iterates"""
    lookahead: int = 0
    """rounds between two steps back of lookahead-minmax; 0 for none"""
    rates: tuple[float, ...] = ()
    """two time scales: a factor of the learning rate for each player"""
    lr: float = 0.01
    """learning rate of both players"""
    decay: Literal["none", "cosine", "inverse-sqrt"] = "none"
    """of the learning rate"""
    beta1: float | None = None
    """decay of Adam's first moment, may be negative; default: the rule's"""
    beta2: float | None = None
    """decay of Adam's second moment (alpha of rmsprop); default: the rule's"""
    momentum: float | None = None
    """of the rules that have one, may be negative; default: the rule's"""
    seeds: int = 8
    """replicas, at least two"""
    device: str = "cpu"
    """where it is computed"""
    threads: int = 1
    """of torch"""

    def variant(self, steps: int) -> Variant:
        """The method as a variant."""
        second = "alpha" if self.method in RULES and "alpha" in RULES[self.method].hyper else "beta2"
        asked = {"beta1": self.beta1, second: self.beta2, "momentum": self.momentum}
        hyper = {name: value for name, value in asked.items() if value is not None}
        found = Method(
            self.method,
            hyper,
            self.play,
            self.adjust,
            self.strength,
            self.iterations,
            self.average,
            self.lookahead,
            self.rates,
        ).variant()
        schedules = {"none": None, "cosine": Cosine(steps), "inverse-sqrt": InverseSquareRoot()}
        return dataclasses.replace(found, schedule=schedules[self.decay])

    def run(self, problem: Problem, steps: int, points: int) -> tuple[Variant, Keys, Run]:
        """Train all replicas, paths kept."""
        if self.seeds < 2 or steps < 1 or self.threads < 1 or not 0.0 < self.lr < np.inf:
            raise VhatError(
                "--seeds needs at least 2, --steps and --threads at least 1 and --lr a number above 0, "
                f"got {self.seeds}, {steps}, {self.threads} and {self.lr:g}"
            )
        check_device(self.device)
        torch.set_num_threads(self.threads)
        variant = self.variant(steps)
        keys = Keys.of(range(self.seeds), study="scripts/games", device=self.device)
        block = Block(variant, slice(0, self.seeds), {"lr": self.lr})
        try:
            run = train(problem, [block], keys, steps=steps, recording=Recording(points, path=True))
        except ValueError as error:
            raise VhatError(f"{variant.name}: {error}") from error
        return variant, keys, run

    def head(self, variant: Variant, steps: int) -> tuple[str, str]:
        """The table's."""
        return variant.name, f"lr {self.lr:g}, {steps} steps, {self.seeds} seeds"


@dataclass(frozen=True)
class _Orbiting(_Played):
    """Games whose equilibrium is known and inside: portrait, distance, and what linear theory says."""

    steps: int = 2000
    """training steps"""
    noise: Noise = "none"
    """of the field"""
    noise_scale: float = 0.5
    """standard deviation of the noise"""
    radius: float = 1.0
    """distance from the equilibrium at the start"""
    out: Path = Path("out/games.svg")
    """the figure"""

    def show(self, game: BilinearGame | DiracGAN) -> None:
        """Train, draw, print."""
        variant, _, run = self.run(game, self.steps, min(self.steps, 5000))
        point = Point(game.mean_field, game.equilibrium, game.players)
        _save(orbit_figure(game, point, variant, run, self.lr, self.radius), self.out)
        print(text_table(self._table(point, variant, run)))
        print(f"\nFigure: {self.out}")

    def _table(self, point: Point, variant: Variant, run: Run) -> Table:
        distance = run.curves["distance"]
        final = np.where(run.diverged, np.inf, distance[:, -1])
        rows = [
            ("distance at the start", number(float(distance[:, 0].mean()))),
            ("distance at the end", with_interval(stats.interval(final))),
            ("replicas that diverged", f"{int(run.diverged.sum())} of {self.seeds}"),
        ]
        exact = self.noise == "none" and self.decay == "none" and self.steps == len(run.steps) - 1
        rows += factor_rows(point, variant, self.lr, run.path if exact else None)
        if "angle" in run.curves and self.steps == len(run.steps) - 1:
            turns, growth = turning(distance, run.curves["angle"])
            rows.append(("turns in 1,000 steps", number(1000.0 * stats.centre(turns))))
            if not np.isnan(growth).any():
                rows.append(("growth of log distance a turn", with_interval(stats.interval(growth))))
        return Table("", self.head(variant, self.steps), tuple(rows))


@dataclass(frozen=True)
class Bilinear(_Orbiting):
    """The game xy, or x'Ay: portrait, distance, eigenvalues."""

    size: int = 1
    """dimension of each player; the portrait shows the first coordinate of each"""
    condition: float = 1.0
    """largest over smallest singular value of A"""
    regularization: float = 0.0
    """strength of the quadratic terms that make the game convex-concave"""
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
        self.show(game)


@dataclass(frozen=True)
class Dirac(_Orbiting):
    """The Dirac-GAN: portrait, distance, eigenvalues."""

    loss: Loss = "saturating"
    """of the two players"""
    penalty: float = 0.0
    """weight of the gradient penalty R1"""
    out: Path = Path("out/games-dirac.svg")
    """the figure"""

    def __call__(self) -> None:
        self.show(
            DiracGAN(self.loss, self.penalty, self.noise, self.noise_scale, self.radius, device=self.device)
        )


@dataclass(frozen=True)
class Matrix(_Played):
    """A matrix game on the simplex: strategies, exploitability of the last and of the average strategies."""

    payoff: Payoff = "rock-paper-scissors"
    """rock-paper-scissors, or random"""
    actions: tuple[int, int] = (3, 3)
    """of either player, for a random payoff"""
    parametrisation: Parametrisation = "projection"
    """steps that are projected onto the simplex, or logits"""
    game_seed: int = 0
    """of a random payoff"""
    noise: Noise = "none"
    """of the field"""
    noise_scale: float = 0.5
    """standard deviation of the noise"""
    steps: int = 2000
    """training steps"""
    out: Path = Path("out/games-matrix.svg")
    """the figure"""

    def __call__(self) -> None:
        game = MatrixGame(
            self.payoff,
            self.actions,
            self.parametrisation,
            self.noise,
            self.noise_scale,
            seed=self.game_seed,
            device=self.device,
        )
        variant, _, run = self.run(game, self.steps, min(self.steps, 4000))
        assert run.path is not None
        both = torch.stack([game.strategies(torch.from_numpy(p)) for p in run.path])
        counts = torch.arange(1, both.shape[1] + 1, dtype=both.dtype)[:, None]
        average = both.cumsum(1) / counts
        of_average = 0.5 * torch.stack([game.gap(a) for a in average]).numpy()
        figure = matrix_figure(game, variant.name, run, both[0].numpy(), of_average)
        _save(figure, self.out)
        last = np.where(run.diverged, np.inf, run.curves["exploitability"][:, -1])
        distance = np.where(run.diverged, np.inf, run.curves["distance"][:, -1])
        rows = (
            ("value of the game", number(game.equilibrium.value, 6)),
            ("exploitability at the start", number(float(run.curves["exploitability"][:, 0].mean()))),
            ("exploitability at the end", with_interval(stats.interval(last))),
            ("exploitability of the average", with_interval(stats.interval(of_average[:, -1]))),
            ("distance at the end", with_interval(stats.interval(distance))),
        )
        print(text_table(Table("", self.head(variant, self.steps), rows)))
        print(f"\nFigure: {self.out}")


@dataclass(frozen=True)
class Gan(_Played):
    """A small GAN: samples over training, modes covered, and mass a mode."""

    data: Literal["ring8", "grid25", "digits"] = "ring8"
    """eight Gaussians on a circle, 25 on a grid, or 8x8 digits"""
    radius: float = 2.0
    """of the circle; half the side of the grid"""
    std: float = 0.1
    """of each Gaussian"""
    loss: Loss = "nonsaturating"
    """of the two players"""
    r1: float = 0.0
    """weight of the gradient penalty R1"""
    latent: int = 2
    """dimension of the generator's input"""
    width: int = 32
    """units in each hidden layer of both networks"""
    depth: int = 2
    """hidden layers of both networks"""
    discriminator_width: int | None = None
    """where it differs"""
    discriminator_depth: int | None = None
    """where it differs"""
    batch: int = 64
    """real points and latents a step"""
    iterations: int = 5
    """of conjugate gradients for competitive"""
    steps: int = 2000
    """training steps"""
    frames: int = 6
    """frames of samples over training"""
    out: Path = Path("out/games-gan.svg")
    """the figure"""
    animation: Path | None = None
    """a GIF of the samples of one replica over training"""

    def problem(self) -> GAN:
        """The GAN."""
        sizes: dict[str, Any] = {
            name: getattr(self, name)
            for name in (
                "loss",
                "r1",
                "latent",
                "width",
                "depth",
                "discriminator_width",
                "discriminator_depth",
                "batch",
            )
        }
        if self.data == "digits":
            return digits_gan(device=self.device, **sizes)
        return mixture_gan(shape=self.data, radius=self.radius, std=self.std, device=self.device, **sizes)

    def __call__(self) -> None:
        if self.frames < 2:
            raise VhatError(f"--frames needs at least 2, got {self.frames}")
        problem = self.problem()
        variant, keys, run = self.run(problem, self.steps, self.frames * 8)
        assert run.path is not None
        with torch.no_grad():
            times = [torch.from_numpy(p).to(self.device) for p in np.swapaxes(run.path, 0, 1)]
            samples = [problem.samples(p, keys) for p in times]
            mass = torch.stack([problem.data.mass(s)[0] for s in samples]).cpu().numpy()
        points = np.stack([s[:2].cpu().numpy() for s in samples], axis=1)
        draw = self._drawer(problem, variant)
        shown = [round(i * (len(run.steps) - 1) / self.frames) for i in range(1, self.frames + 1)]
        _save(training_figure(run, points, mass, shown, draw, variant.name), self.out)
        if self.animation is not None:
            animate(self.animation, points[0], run.steps, draw, variant.name)
        print(text_table(self._table(variant, run, shown, mass.shape[1])))
        written = ", ".join(str(p) for p in (self.out, self.animation) if p is not None)
        print(f"\n{int(run.diverged.sum())} of {self.seeds} replicas diverged. Written: {written}")

    def _drawer(self, problem: GAN, variant: Variant) -> Callable[[Axes, Array], None]:
        data = problem.data
        if not isinstance(data, Mixture):
            return draw_images
        return lambda axes, samples: draw_points(axes, samples, data, variant.name)

    def _table(self, variant: Variant, run: Run, shown: list[int], modes: int) -> Table:
        measures = [m for m in ("modes", "quality", "frechet") if m in run.curves]
        names = {"modes": f"modes covered, of {modes}", "quality": "quality", "frechet": "Fréchet distance"}

        def at(measure: str, index: int) -> str:
            worst = np.inf if measure == "frechet" else 0.0
            return with_interval(
                stats.interval(np.nan_to_num(run.curves[measure][:, index], nan=worst), "mean")
            )

        rows = tuple((str(run.steps[i]), *(at(m, i) for m in measures)) for i in shown)
        return Table("", (f"{variant.name}, lr {self.lr:g}: step", *(names[m] for m in measures)), rows)


@dataclass(frozen=True)
class Theory:
    """All methods with a closed form on one bilinear game: factors, best rates, eigenvalues."""

    lr: float = 0.2
    """learning rate of the table"""
    size: int = 1
    """dimension of each player"""
    condition: float = 1.0
    """largest over smallest singular value of A"""
    regularization: float = 0.0
    """strength of the quadratic terms that make the game convex-concave"""
    out: Path = Path("out/games-theory.svg")
    """the figure"""

    def __call__(self) -> None:
        torch.set_num_threads(1)
        if not 0.0 < self.lr < np.inf:
            raise VhatError(f"--lr must be a number above 0, got {self.lr:g}")
        try:
            game = BilinearGame(self.size, self.condition, self.regularization)
        except ValueError as error:
            raise VhatError(str(error)) from error
        _save(disk_figure(game, list(KNOWN), np.geomspace(0.01, 2.0, 60).tolist()), self.out)
        print(text_table(theory_table(game, self.lr)))
        print(f"\nFigure: {self.out}")


def _save(figure: Figure, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figures.save_png(figure, path) if path.suffix == ".png" else figures.save_svg(figure, path)
    except OSError as error:
        raise VhatError(f"cannot write {path}: {error.strerror}; choose another --out") from error


Game = (
    Annotated[Bilinear, tyro.conf.subcommand("bilinear")]
    | Annotated[Matrix, tyro.conf.subcommand("matrix")]
    | Annotated[Dirac, tyro.conf.subcommand("dirac")]
    | Annotated[Theory, tyro.conf.subcommand("theory")]
    | Annotated[Gan, tyro.conf.subcommand("gan")]
)

if __name__ == "__main__":
    game = tyro.cli(Game, description=__doc__)
    sys.exit(guarded(game))
