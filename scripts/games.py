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

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from matplotlib.figure import Figure

# The root before this folder: `games` is the package, not this script.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.lab import figures
from core.lab.errors import VhatError
from core.lab.study import Table
from core.lab.tables import text_table
from core.lab.terminal import guarded
from core.lab.variant import Variant
from games.bilinear import BilinearGame
from games.digits_gan import digits_gan
from games.dirac import DiracGAN
from games.frames import animate, training_figure, training_samples
from games.gan import GAN, Loss, mixture_gan
from games.iterates import average_iterates
from games.mixtures import Mixture
from games.noise import Noise
from games.outcomes import cycle_of, cycle_rows, gan_rows, matrix_rows, orbit_rows
from games.playing import Played
from games.portrait import matrix_figure, orbit_figure
from games.rates import KNOWN
from games.samples import DrawSamples, draw_images, draw_points
from games.simplex import MatrixGame, Parametrisation, Payoff
from games.spectrum import Point
from games.theory import disk_figure, theory_table


@dataclass(frozen=True)
class _Orbiting(Played):
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
        exact = self.noise == "none" and self.decay == "none"
        variant, _, run = self.run(game, self.steps, min(self.steps, 5000))
        point = Point.of(game)
        is_xy = isinstance(game, BilinearGame) and game.size == 1 and game.regularization == 0.0
        cycle = cycle_of(variant) if is_xy and exact else None
        radius = math.nan if cycle is None else self.lr * cycle.radius()
        _save(orbit_figure(game, point, variant, run, self.lr, self.radius, radius), self.out)
        rows = orbit_rows(point, variant, run, self.lr, exact=exact) + cycle_rows(cycle, self.lr)
        print(text_table(Table("", self.head(variant, self.steps), tuple(rows))))
        print(f"\nFigure: {self.out}")


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
class Matrix(Played):
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
        both = torch.stack([game.strategies(torch.from_numpy(p)) for p in run.path]).numpy()
        averages = torch.from_numpy(average_iterates(both))
        of_average = 0.5 * torch.stack([game.gap(a) for a in averages]).numpy()
        _save(matrix_figure(game, variant.name, run, both[0], of_average), self.out)
        rows = tuple(matrix_rows(game, run, of_average))
        print(text_table(Table("", self.head(variant, self.steps), rows)))
        print(f"\nFigure: {self.out}")


@dataclass(frozen=True)
class Gan(Played):
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
        points, mass = training_samples(problem, run, keys)
        draw = self._drawer(problem, variant)
        shown = [round(i * (len(run.steps) - 1) / self.frames) for i in range(1, self.frames + 1)]
        _save(training_figure(run, points, mass, shown, draw, variant.name), self.out)
        if self.animation is not None:
            animate(self.animation, points[0], run.steps, draw, variant.name)
        names = {"modes": f"modes covered, of {mass.shape[1]}", "quality": "quality"}
        names |= {"frechet": "Fréchet distance"} if "frechet" in run.curves else {}
        head = (f"{variant.name}, lr {self.lr:g}: step", *names.values())
        print(text_table(Table("", head, tuple(gan_rows(run, shown, list(names))))))
        written = ", ".join(str(p) for p in (self.out, self.animation) if p is not None)
        print(f"\n{int(run.diverged.sum())} of {self.seeds} replicas diverged. Written: {written}")

    def _drawer(self, problem: GAN, variant: Variant) -> DrawSamples:
        data = problem.data
        if not isinstance(data, Mixture):
            return draw_images
        return lambda axes, samples: draw_points(axes, samples, data, variant.name)


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
