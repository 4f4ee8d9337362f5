"""Throughput of games: R games in one tensor program against ordinary torch loops, one game after the other.

Both sides train the same networks on the same kind of data with Adam on both players, batch 64, on one
thread; they take turns, and the ratio of each turn is taken, so that a machine that slows down slows both.
The loop is written as it commonly is: modules, one optimizer a player, a backward pass of the discriminator's
loss on detached samples, and one of the generator's. `field` is the share of a step that the evaluation of
the field takes; the floor is the time of the field's matrix products alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import torch
import tyro
from torch import nn
from torch.nn.functional import softplus

# The root before this folder: `games` is the package, not a script.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.benchmark import Benchmark, Measured
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from games.bilinear import BilinearGame
from games.gan import GAN, mixture_gan
from scripts.bench.timing import Steps, command, finish, in_turns

LR = 1e-3


@dataclass
class Args:
    """Game-steps a second, ours over a loop."""

    widths: tuple[int, ...] = (16, 32, 64)
    """hidden units of both networks"""
    replicas: tuple[int, ...] = (16, 32, 128)
    """GANs at once"""
    linear_replicas: tuple[int, ...] = (100, 10_000)
    """games xy at once"""
    turns: int = 5
    """how often both sides take turns"""
    seconds: float = 0.5
    """about how long a turn of a side lasts"""
    out: Path = field(default_factory=lambda: Path("out"))
    """folder of the results and the report"""


def ours(problem: Problem, replicas: int) -> Steps:
    """So many games at once, for a number of steps."""
    keys = Keys.of(range(replicas))
    block = Block(Variant("Adam", "adam"), slice(0, replicas), {"lr": LR})
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


def linear_loop() -> Steps:
    """One ordinary game xy, for a number of steps."""
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.6, 0.8))
    by_x, by_y = torch.optim.Adam([x], lr=LR), torch.optim.Adam([y], lr=LR, maximize=True)

    def go(steps: int) -> None:
        for _ in range(steps):
            by_x.zero_grad()
            by_y.zero_grad()
            (x * y).backward()
            by_x.step()
            by_y.step()

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


def measure(name: str, replicas: int, loop: Steps, problem: Problem, args: Args) -> Measured:
    """A row: all sides measured in turns."""
    sides = {"ours": ours(problem, replicas), "loop": loop, "field": field_alone(problem, replicas)}
    if isinstance(problem, GAN):
        sides["products"] = products(problem, replicas)
    times = in_turns(sides, args.turns, args.seconds, fewest=20)
    beside = {
        "game-steps a second": f"{replicas / times.median('ours'):,.0f}",
        "the loop's": f"{1 / times.median('loop'):,.0f}",
        "share of the field": f"{times.ratio('field', 'ours').median:.0%}",
    }
    if "products" in sides:
        beside["field, times its products"] = f"{times.ratio('field', 'products').median:.1f}"
    return Measured(name, f"R = {replicas:,}", times.ratio("loop", "ours", factor=replicas), None, beside)


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    rows = []
    for width in args.widths:
        gan = mixture_gan(width=width)
        rows += [measure(f"GAN, width {width}", r, gan_loop(gan), gan, args) for r in args.replicas]
    rows += [measure("game xy", r, linear_loop(), BilinearGame(), args) for r in args.linear_replicas]
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
    main(tyro.cli(Args, description=__doc__))
