"""Throughput of a sweep: R replicas in one tensor program against a Python loop of torch.optim runs.

Both sides train the same problem with Adam on one thread; they take turns, and the ratio of each turn is
taken, so that a machine that slows down slows both. The floor for the MLP is the time that its matrix
products alone take in batched form.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.benchmark import Benchmark, Measured
from core.lab.modules import ModuleProblem, problem_from
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.problems.quadratic import Canyon
from scripts.bench.timing import Steps, command, finish, in_turns

BATCH = 64


@dataclass
class Args:
    """Replica-steps per second, ours over a loop of torch.optim.Adam runs."""

    replicas: Annotated[tuple[int, ...], tyro.conf.arg(metavar="R ...")] = (1, 16, 64, 256, 1024)
    """sweep sizes"""
    turns: int = 5
    """how often both sides take turns"""
    seconds: float = 0.5
    """about how long a turn of a side lasts"""
    out: Path = field(default_factory=lambda: Path("out"))
    """folder of the results and the report"""


def mlp() -> nn.Module:
    """The 1-32-32-1 network."""
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


def ours(problem: Problem, replicas: int) -> Steps:
    """A sweep of so many replicas, for a number of steps."""
    keys = Keys.of(range(replicas))
    lr = torch.full((replicas,), 1e-3, dtype=torch.float64)
    block = Block(Variant("Adam", "adam"), slice(0, replicas), {"lr": lr})
    initial = problem.init(keys)

    def go(steps: int) -> None:
        train(problem, [block], keys, steps=steps, recording=Recording(1), initial=initial)

    return go


def mlp_loop(x: Tensor, y: Tensor) -> Steps:
    """One ordinary torch run of the MLP, for a number of steps."""
    model, loss = mlp(), nn.functional.mse_loss
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def go(steps: int) -> None:
        for _ in range(steps):
            index = torch.randint(len(x), (BATCH,))
            optimizer.zero_grad()
            loss(model(x[index]), y[index]).backward()
            optimizer.step()

    return go


def canyon_loop() -> Steps:
    """One ordinary torch run in the canyon, for a number of steps."""
    point = torch.tensor([0.6, 0.8], dtype=torch.float64, requires_grad=True)
    curvature = torch.tensor([100.0, 1.0], dtype=torch.float64)
    optimizer = torch.optim.Adam([point], lr=1e-3)

    def go(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            (0.5 * curvature * point**2).sum().backward()
            optimizer.step()

    return go


def products(replicas: int) -> Steps:
    """The MLP's matrix products alone: three forward, five backward."""
    h, w = torch.randn(replicas, BATCH, 32), torch.randn(replicas, 32, 32)
    thin, row = torch.randn(replicas, BATCH, 1), torch.randn(replicas, 1, 32)

    def go(count: int) -> None:
        for _ in range(count):
            thin @ row, h @ w, h @ row.mT
            h.mT @ thin, thin @ row, h.mT @ h, h @ w.mT, thin.mT @ h

    return go


def measure(name: str, problem: Problem, loop: Steps, args: Args) -> list[Measured]:
    """A row for each number of replicas."""
    rows = []
    is_mlp = isinstance(problem, ModuleProblem)
    for replicas in args.replicas:
        sides = {"ours": ours(problem, replicas), "loop": loop}
        if is_mlp:
            sides["products"] = products(replicas)
        # Enough steps, so that the evaluations at both ends do not count.
        times = in_turns(sides, args.turns, args.seconds, fewest=100)
        beside = {
            "replica-steps a second": f"{replicas / times.median('ours'):,.0f}",
            "the loop's": f"{1 / times.median('loop'):,.0f}",
        }
        if is_mlp:
            beside["times its matrix products"] = f"{times.ratio('ours', 'products').median:.1f}"
        goal = 1.0 if replicas == 1 else 12.0 if is_mlp and replicas >= 64 else None
        if not is_mlp and replicas >= 1024:
            goal = 500.0
        ratio = times.ratio("loop", "ours", factor=replicas)
        rows.append(Measured(name, f"R = {replicas:,}", ratio, goal, beside))
    return rows


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    x = torch.linspace(-1, 1, 512)[:, None]
    y = torch.sin(6 * x)
    regression = problem_from(mlp(), nn.functional.mse_loss, (x, y), batch_size=BATCH)
    rows = [
        *measure("MLP 1-32-32-1, batch 64", regression, mlp_loop(x, y), args),
        *measure("quadratic, D = 2", Canyon(), canyon_loop(), args),
    ]
    benchmark = Benchmark(
        name="sweep",
        title="A sweep of R replicas",
        about=(
            "R replicas with learning rates of their own, trained with Adam in one tensor program, against "
            "a Python loop of torch.optim.Adam runs, one replica after the other; both on one thread. "
            "Counted are steps of a replica. The last column is our time over that of the network's matrix "
            "products alone, in batched form."
        ),
        unit="replica-steps a second, loop = 1",
        faster="up",
        rows=tuple(rows),
        turns=args.turns,
        command=command(),
    )
    finish(benchmark, args.out)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
