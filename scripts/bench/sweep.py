"""Throughput of a sweep: R replicas in one tensor program against a Python loop of torch.optim runs.

Both sides train the same problem with Adam on one thread; they take turns, and the ratio of each turn is
taken, so that a machine that slows down slows both. The floor for the MLP is the time that its matrix
products alone take in batched form.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.modules import problem_from
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.study import Table
from core.lab.tables import text_table
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.problems.quadratic import Canyon

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


def mlp() -> nn.Module:
    """The 1-32-32-1 network."""
    return nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))


def ours(problem: Problem, replicas: int) -> Callable[[int], None]:
    """A sweep of so many replicas, for a number of steps."""
    keys = Keys.of(range(replicas))
    lr = torch.full((replicas,), 1e-3, dtype=torch.float64)
    block = Block(Variant("Adam", "adam"), slice(0, replicas), {"lr": lr})
    initial = problem.init(keys)

    def go(steps: int) -> None:
        train(problem, [block], keys, steps=steps, recording=Recording(1), initial=initial)

    return go


def mlp_loop(x: Tensor, y: Tensor) -> Callable[[int], None]:
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


def canyon_loop() -> Callable[[int], None]:
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


def timed(go: Callable[[int], None], steps: int) -> float:
    """Seconds a step."""
    start = time.perf_counter()
    go(steps)
    return (time.perf_counter() - start) / steps


def steps_for(go: Callable[[int], None], seconds: float) -> int:
    """How many steps take about so long; enough that the evaluations at both ends do not count."""
    go(3)
    return max(50, int(seconds / timed(go, 20)))


def products(replicas: int, steps: int) -> float:
    """Seconds a step of the MLP's matrix products alone: three forward, five backward."""
    h, w = torch.randn(replicas, BATCH, 32), torch.randn(replicas, 32, 32)
    thin, row = torch.randn(replicas, BATCH, 1), torch.randn(replicas, 1, 32)

    def go(count: int) -> None:
        for _ in range(count):
            thin @ row, h @ w, h @ row.mT
            h.mT @ thin, thin @ row, h.mT @ h, h @ w.mT, thin.mT @ h

    return timed(go, steps)


def main(args: Args) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    x = torch.linspace(-1, 1, 512)[:, None]
    y = torch.sin(6 * x)
    cases: list[tuple[str, Problem, Callable[[int], None]]] = [
        (
            "MLP 1-32-32-1, batch 64",
            problem_from(mlp(), nn.functional.mse_loss, (x, y), batch_size=BATCH),
            mlp_loop(x, y),
        ),
        ("quadratic, D = 2", Canyon(), canyon_loop()),
    ]
    rows = []
    for name, problem, loop in cases:
        loop_steps = steps_for(loop, args.seconds)
        for replicas in args.replicas:
            go = ours(problem, replicas)
            steps = steps_for(go, args.seconds)
            pairs = [(timed(go, steps), timed(loop, loop_steps)) for _ in range(args.turns)]
            ratios = sorted(replicas * b / a for a, b in pairs)
            middle = sorted(a for a, _ in pairs)[len(pairs) // 2]
            floor = f"{middle / products(replicas, 20):.1f}" if name.startswith("MLP") else ""
            rate = sorted(replicas / a for a, _ in pairs)[len(pairs) // 2]
            loop_rate = sorted(1 / b for _, b in pairs)[len(pairs) // 2]
            rows.append(
                (
                    name,
                    str(replicas),
                    f"{rate:,.0f}",
                    f"{loop_rate:,.0f}",
                    f"{ratios[len(ratios) // 2]:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})",
                    floor,
                )
            )
    columns = ("problem", "R", "ours, replica-steps/s", "loop, steps/s", "ratio (range)", "times the floor")
    print(text_table(Table("", columns, tuple(rows))))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
