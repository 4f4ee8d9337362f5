"""Throughput of games: R games in one tensor program against ordinary torch loops, one game after the other.

Both sides train the same networks on the same kind of data with Adam on both players, batch 64, on one
thread; they take turns, and the ratio of each turn is taken, so that a machine that slows down slows both.
The loop is written as it commonly is: modules, one optimizer a player, a backward pass of the discriminator's
loss on detached samples, and one of the generator's. `field` is the share of a step that the evaluation of
the field takes; the floor is the time of the field's matrix products alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
import tyro
from torch import nn
from torch.nn.functional import softplus

# The root before this folder: `games` is the package, not a script.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import Table
from core.lab.tables import text_table
from core.lab.train import Block, train
from core.lab.variant import Variant
from games.bilinear import BilinearGame
from games.gan import GAN, mixture_gan

LR = 1e-3
Steps = Callable[[int], None]


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


def timed(go: Steps, steps: int) -> float:
    """Seconds a step."""
    start = time.perf_counter()
    go(steps)
    return (time.perf_counter() - start) / steps


def compare(name: str, replicas: int, loop: Steps, problem: Problem, args: Args) -> tuple[str, ...]:
    """A row of the table: all sides measured in turns."""
    sides = [ours(problem, replicas), loop, field_alone(problem, replicas)]
    if isinstance(problem, GAN):
        sides.append(products(problem, replicas))
    counts = []
    for go in sides:
        go(3)
        counts.append(max(20, int(args.seconds / timed(go, 10))))
    turns = [[timed(go, n) for go, n in zip(sides, counts, strict=True)] for _ in range(args.turns)]
    ratios = sorted(replicas * t[1] / t[0] for t in turns)
    field = median(t[2] / t[0] for t in turns)
    floor = f"{median(t[2] / t[3] for t in turns):.1f}" if isinstance(problem, GAN) else ""
    return (
        name,
        f"{replicas:,}",
        f"{median(replicas / t[0] for t in turns):,.0f}",
        f"{median(1 / t[1] for t in turns):,.0f}",
        f"{median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})",
        f"{field:.0%}",
        floor,
    )


def main(args: Args) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    rows = []
    for width in args.widths:
        gan = mixture_gan(width=width)
        rows += [compare(f"GAN, width {width}", r, gan_loop(gan), gan, args) for r in args.replicas]
    rows += [compare("game xy", r, linear_loop(), BilinearGame(), args) for r in args.linear_replicas]
    columns = (
        "game",
        "R",
        "ours, game-steps/s",
        "loop, steps/s",
        "ratio (range)",
        "field",
        "field over its floor",
    )
    print(text_table(Table("", columns, tuple(rows))))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
