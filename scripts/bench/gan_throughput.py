"""Throughput of games: R games in one tensor program against ordinary torch loops, one game after the other.

Both sides train the same networks (or play the same bilinear game) with Adam on both players, on the same
number of points a step, on one thread; they take turns, and the ratio of each turn is taken, so that a
machine that slows down slows both. The loop is written as it commonly is: modules, one optimizer a player, a
backward pass of the discriminator's loss on detached samples, and one of the generator's.

Where the time goes. `share of the field` is what its evaluations take of a step. Of a GAN's step they take
most, three quarters and more; the floor is the time of the field's matrix products alone, and `field, times
its products` says how far it is: what lies between are activations and their derivatives, losses, the draw of
the sample, and the assembly of the gradient. At few replicas it is the launching of a hundred operations,
which more replicas share.

A linear game's field takes an eighth of a step of 30 microseconds at R = 100: two operations, where the rule
takes seven and the trainer three. There the floor is the launching of an operation, about a microsecond.
Alternating play moves one player after the other, so that it takes twice as many; the loop takes 1.3 times.
The field of a 10 x 10 game is a batched product of tiny matrices. One product for all replicas would take a
quarter of that time, but then the last bits of a replica would depend on how many others there are. At
R = 10,000 such games have 200,000 coordinates, and the goal would leave 1.5 nanoseconds for each: less than
the root and the two quotients of Adam's formula take.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
import tyro
from torch import Tensor, nn
from torch.nn.functional import softplus

# The root before this folder: `games` is the package, not a script.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.benchmark import Benchmark, Measured
from core.lab.errors import VhatError, nearest
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.terminal import guarded
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.adjustments import Consensus
from core.optim.play import Alternating
from games.bilinear import BilinearGame
from games.gan import GAN, mixture_gan
from scripts.bench.timing import Steps, command, finish, in_turns

LR = 1e-3
GOALS = {("16/64", 32): 15.0, ("32/128", 16): 5.0, ("64/128", 32): 2.5}
LINEAR_GOALS = {
    "xy": {100: 300.0, 10_000: 5000.0},
    "xy, alternating": {100: 300.0, 10_000: 5000.0},
    "10 x 10": {100: 300.0},
}
"""By game and number at once; no GAN at once is to be slower than the loop."""
LINEAR = {
    "xy": (BilinearGame(), Variant("Adam", "adam")),
    "xy, alternating": (BilinearGame(), Variant("Adam, alternating", "adam", play=Alternating())),
    "10 x 10": (BilinearGame(size=10, condition=10.0), Variant("Adam", "adam")),
    "10 x 10, consensus": (
        BilinearGame(size=10, condition=10.0),
        Variant("Adam, consensus", "adam", adjust=Consensus(0.1)),
    ),
}


@dataclass
class Args:
    """Game-steps a second, ours over a loop."""

    gans: tuple[str, ...] = ("16/64", "32/128", "64/128")
    """width of both networks / batch"""
    replicas: tuple[int, ...] = (1, 16, 32, 128)
    """GANs at once"""
    linear: tuple[str, ...] = ("xy", "xy, alternating", "10 x 10", "10 x 10, consensus")
    """bilinear games"""
    linear_replicas: tuple[int, ...] = (100, 10_000)
    """of them at once"""
    turns: int = 5
    """how often both sides take turns"""
    seconds: float = 0.5
    """about how long a turn of a side lasts"""
    out: Path = field(default_factory=lambda: Path("out"))
    """folder of the results and the report"""


def ours(problem: Problem, variant: Variant, replicas: int) -> Steps:
    """So many games at once, for a number of steps."""
    keys = Keys.of(range(replicas))
    block = Block(variant, slice(0, replicas), {"lr": LR})
    initial = problem.init(keys)

    def go(steps: int) -> None:
        train(problem, [block], keys, steps=steps, recording=Recording(1), initial=initial)

    return go


def network(sizes: tuple[int, ...]) -> nn.Sequential:
    """The ordinary module of an `MLP`."""
    parts: list[nn.Module] = []
    for i, o in pairwise(sizes):
        parts += [nn.Linear(i, o), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


def sizes_of(case: str) -> tuple[int, int]:
    """Width and batch, from `width/batch`.

    Raises:
        VhatError: for another text.
    """
    parts = case.split("/")
    if len(parts) != 2 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise VhatError(f"--gans takes width/batch, like 16/64; got {case!r}")
    return int(parts[0]), int(parts[1])


def gan_loop(gan: GAN) -> Steps:
    """One ordinary GAN, for a number of steps."""
    generator, discriminator = network(gan.generator.sizes), network(gan.discriminator.sizes)
    by_generator = torch.optim.Adam(generator.parameters(), lr=LR)
    by_discriminator = torch.optim.Adam(discriminator.parameters(), lr=LR)
    modes = gan.data.modes.float()

    def go(steps: int) -> None:
        for _ in range(steps):
            real = modes[torch.randint(len(modes), (gan.batch,))] + gan.data.std * torch.randn(gan.batch, 2)
            fake = generator(torch.randn(gan.batch, gan.latent))
            by_discriminator.zero_grad()
            (softplus(-discriminator(real)).mean() + softplus(discriminator(fake.detach())).mean()).backward()
            by_generator.zero_grad()
            loss = softplus(-discriminator(fake)).mean()
            for p, g in zip(
                generator.parameters(), torch.autograd.grad(loss, list(generator.parameters())), strict=True
            ):
                p.grad = g
            by_discriminator.step()
            by_generator.step()

    return go


def linear_loop(game: BilinearGame, variant: Variant) -> Steps:
    """One ordinary bilinear game, for a number of steps; gives the point reached."""
    payoff = game.payoff[0, 0] if game.size == 1 else game.payoff
    start = game.init(Keys.of(range(2)))[0]
    x, y = (start[p].clone().squeeze().requires_grad_() for p in game.players)
    by_x, by_y = torch.optim.Adam([x], lr=LR), torch.optim.Adam([y], lr=LR, maximize=True)

    def value() -> Tensor:
        return x * y * payoff if game.size == 1 else x @ payoff @ y

    def consensus(strength: float) -> None:
        by_x_own, by_y_own = torch.autograd.grad(value(), (x, y), create_graph=True)
        length = 0.5 * (by_x_own.square().sum() + by_y_own.square().sum())
        more_x, more_y = torch.autograd.grad(length, (x, y))
        x.grad, y.grad = (by_x_own + strength * more_x).detach(), (by_y_own - strength * more_y).detach()

    def go(steps: int) -> Tensor:
        for _ in range(steps):
            by_x.zero_grad()
            by_y.zero_grad()
            if isinstance(variant.adjust, Consensus):
                consensus(variant.adjust.strength)
                by_x.step()
            else:
                value().backward()
                by_x.step()
                if isinstance(variant.play, Alternating):
                    by_y.zero_grad()
                    value().backward()
            by_y.step()
        return torch.cat([x.detach().reshape(-1), y.detach().reshape(-1)])

    return go


def products(gan: GAN, replicas: int) -> Steps:
    """The field's matrix products alone: both networks forward and backward, the discriminator's on twice the
    batch.
    """
    work = []
    for sizes, rows, to_input in (
        (gan.generator.sizes, gan.batch, False),
        (gan.discriminator.sizes, 2 * gan.batch, True),
    ):
        for layer, (i, o) in enumerate(pairwise(sizes)):
            x, d, w = (
                torch.randn(replicas, rows, i),
                torch.randn(replicas, rows, o),
                torch.randn(replicas, i, o),
            )
            work += [(x, w), (x.mT, d)]
            if layer > 0:
                work.append((d, w.mT))
            elif to_input:
                work.append((d[:, : gan.batch], w.mT))

    def go(steps: int) -> None:
        for _ in range(steps):
            for a, b in work:
                torch.bmm(a, b)

    return go


def field_alone(problem: Problem, replicas: int) -> Steps:
    """The field without the rule."""
    keys = Keys.of(range(replicas))
    params = problem.init(keys)

    def go(steps: int) -> None:
        for step in range(steps):
            problem.field(params, keys, step)

    return go


def measure(
    name: str,
    replicas: int,
    loop: Steps,
    problem: Problem,
    variant: Variant,
    goal: float | None,
    args: Args,
) -> Measured:
    """A row: all sides measured in turns."""
    sides = {"ours": ours(problem, variant, replicas), "loop": loop, "field": field_alone(problem, replicas)}
    if isinstance(problem, GAN):
        sides["products"] = products(problem, replicas)
    times = in_turns(sides, args.turns, args.seconds, fewest=20)
    beside = {
        "game-steps a second": f"{replicas / times.median('ours'):,.0f}",
        "the loop's": f"{1 / times.median('loop'):,.0f}",
        "share of the field": f"{times.ratio('field', 'ours').median * evaluations(variant):.0%}",
    }
    if "products" in sides:
        beside["field, times its products"] = f"{times.ratio('field', 'products').median:.1f}"
    return Measured(name, f"R = {replicas:,}", times.ratio("loop", "ours", factor=replicas), goal, beside)


def evaluations(variant: Variant) -> int:
    """Of the field, a step of two players."""
    return variant.play.evaluations(2)


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    unknown = [name for name in args.linear if name not in LINEAR]
    if unknown:
        raise VhatError(f"--linear: {nearest(unknown[0], LINEAR, kind='game')}")
    rows = []
    for case in args.gans:
        width, batch = sizes_of(case)
        gan = mixture_gan(width=width, batch=batch)
        rows += [
            measure(
                f"GAN, width/batch {case}",
                r,
                gan_loop(gan),
                gan,
                Variant("Adam", "adam"),
                GOALS.get((case, r), 1.0),
                args,
            )
            for r in args.replicas
        ]
    for name in args.linear:
        game, variant = LINEAR[name]
        rows += [
            measure(
                name,
                r,
                linear_loop(game, variant),
                game,
                variant,
                LINEAR_GOALS.get(name, {}).get(r),
                args,
            )
            for r in args.linear_replicas
        ]
    benchmark = Benchmark(
        name="gan-throughput",
        title="Games at once",
        about=(
            "R games trained with Adam on both players in one tensor program, against an ordinary torch "
            "loop, one game after the other, on one thread. Counted are steps of a game. Beside the ratio: "
            "the share of a step that the evaluation of the field takes, and that evaluation over its matrix "
            "products alone."
        ),
        unit="game-steps a second, loop = 1",
        faster="up",
        rows=tuple(rows),
        turns=args.turns,
        command=command(),
    )
    finish(benchmark, args.out)


if __name__ == "__main__":
    args = tyro.cli(Args, description=__doc__)
    sys.exit(guarded(lambda: main(args)))
