"""Throughput of a sweep: R replicas in one tensor program against a Python loop of torch.optim runs.

Both sides train the same problem with Adam on one thread; they take turns, and the ratio of each turn is
taken, so that a machine that slows down slows both. Ours takes gradients in closed form where the lab has
them: the hand-written backward pass of a chain of layers, the formulas of the small problems. The loop is
timed twice: as it is usually written, with autograd, and like for like, with those same gradients. The floor
for the MLP is the time that its matrix products alone take in batched form.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.backward import batched_gradient
from core.lab.benchmark import Benchmark, Measured
from core.lab.modules import ModuleProblem, problem_from
from core.lab.problem import Problem
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.problems.quadratic import Canyon
from core.problems.valleys import Valley, rosenbrock_slope
from scripts.bench.timing import Steps, command, finish, in_turns

BATCH = 64
AUTOGRAD, ALIKE = "loop with autograd", "loop like for like"
AGAINST = (AUTOGRAD, ALIKE)
Loops = tuple[Steps, Steps]
"""In the order of `AGAINST`."""


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


def mlp_loops(x: Tensor, y: Tensor) -> Loops:
    """One ordinary torch run of the MLP, with autograd and with the lab's own gradient."""
    model, loss = mlp(), nn.functional.mse_loss
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def usual(steps: int) -> None:
        for _ in range(steps):
            index = torch.randint(len(x), (BATCH,))
            optimizer.zero_grad()
            loss(model(x[index]), y[index]).backward()
            optimizer.step()

    gradient = batched_gradient(model, loss)
    assert gradient is not None
    flat = nn.utils.parameters_to_vector(model.parameters()).detach()[None].requires_grad_()
    alike = torch.optim.Adam([flat], lr=1e-3)

    def like_for_like(steps: int) -> None:
        for _ in range(steps):
            index = torch.randint(len(x), (BATCH,))
            flat.grad = gradient(flat, x[index][None], y[index][None])[1]
            alike.step()

    return usual, like_for_like


def formula_loops(
    start: Tensor, height: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor]
) -> Loops:
    """One ordinary torch run of a formula from `start` `[D]`: by autograd of `height`, and by its `slope`."""
    points = [start.clone().requires_grad_() for _ in range(2)]
    optimizers = [torch.optim.Adam([point], lr=1e-3) for point in points]

    def usual(steps: int) -> None:
        for _ in range(steps):
            optimizers[0].zero_grad()
            height(points[0]).backward()
            optimizers[0].step()

    def like_for_like(steps: int) -> None:
        for _ in range(steps):
            with torch.no_grad():
                points[1].grad = slope(points[1])
            optimizers[1].step()

    return usual, like_for_like


def canyon_loops() -> Loops:
    """In the canyon."""
    curvature = torch.tensor([100.0, 1.0], dtype=torch.float64)
    return formula_loops(
        torch.tensor([0.6, 0.8], dtype=torch.float64),
        lambda x: (0.5 * curvature * x**2).sum(),
        lambda x: curvature * x,
    )


def valley_loops(dim: int) -> Loops:
    """In Rosenbrock's valley."""

    def height(x: Tensor) -> Tensor:
        return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()

    return formula_loops(
        torch.full((dim,), 0.5, dtype=torch.float64), height, lambda x: rosenbrock_slope(x[None])[0]
    )


def products(replicas: int) -> Steps:
    """The MLP's matrix products alone: three forward, five backward."""
    h, w = torch.randn(replicas, BATCH, 32), torch.randn(replicas, 32, 32)
    thin, row = torch.randn(replicas, BATCH, 1), torch.randn(replicas, 1, 32)

    def go(count: int) -> None:
        for _ in range(count):
            thin @ row, h @ w, h @ row.mT
            h.mT @ thin, thin @ row, h.mT @ h, h @ w.mT, thin.mT @ h

    return go


def measure(name: str, problem: Problem, loops: Loops, args: Args) -> list[Measured]:
    """For each number of replicas a row against the usual loop and one against the loop like for like."""
    rows = []
    is_mlp = isinstance(problem, ModuleProblem)
    for replicas in args.replicas:
        sides = {"ours": ours(problem, replicas), **dict(zip(AGAINST, loops, strict=True))}
        if is_mlp:
            sides["products"] = products(replicas)
        # Enough steps, so that the evaluations at both ends do not count.
        times = in_turns(sides, args.turns, args.seconds, fewest=100)
        for against in AGAINST:
            beside = {
                "replica-steps a second": f"{replicas / times.median('ours'):,.0f}",
                "the loop's": f"{1 / times.median(against):,.0f}",
            }
            if is_mlp:
                beside["times its matrix products"] = f"{times.ratio('ours', 'products').median:.1f}"
            ratio = times.ratio(against, "ours", factor=replicas)
            goal = goal_of(replicas, is_mlp=is_mlp) if against == AUTOGRAD else None
            rows.append(Measured(name, f"R = {replicas:,}, {against}", ratio, goal, beside))
    return rows


def goal_of(replicas: int, *, is_mlp: bool) -> float | None:
    """Never slower than the usual loop at one replica; 12 times as fast from 64 on, and 500 times where a
    problem has at most 50 dimensions."""
    if replicas == 1:
        return 1.0
    if replicas < 64:
        return None
    return 12.0 if is_mlp else 500.0


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    x = torch.linspace(-1, 1, 512)[:, None]
    y = torch.sin(6 * x)
    regression = problem_from(mlp(), nn.functional.mse_loss, (x, y), batch_size=BATCH)
    rows = [
        *measure("MLP 1-32-32-1, batch 64", regression, mlp_loops(x, y), args),
        *measure("quadratic, D = 2", Canyon(), canyon_loops(), args),
        *(
            row
            for dim in (10, 50)
            for row in measure(f"Rosenbrock, D = {dim}", Valley(dim=dim), valley_loops(dim), args)
        ),
    ]
    benchmark = Benchmark(
        name="sweep",
        title="A sweep of R replicas",
        about=(
            "R replicas with learning rates of their own, trained with Adam in one tensor program, against "
            "a Python loop of torch.optim.Adam runs, one replica after the other; both on one thread. "
            "Counted are steps of a replica. Ours takes gradients in closed form; the usual loop takes them "
            "by autograd, and the loop like for like in the same closed form. Goals are against the usual "
            "loop, from R = 64 on. The last column is our time over that of the network's matrix products "
            "alone, in batched form."
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
