"""Hypergradients of lr, beta1 and beta2 through a whole training with Adam: the three modes side by side.

Time is of a hypergradient, loss and all three derivatives, beside a plain training without derivatives; the
modes take turns, and a ratio is taken within its turn, so that a machine that slows down slows all. Memory is
the peak of what torch's allocator hands out during one call, above what was there before. The error is the
largest relative distance to float64 central differences on two rows.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor, nn
from torch.autograd.profiler import profile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.batched import batched_forward
from core.lab.random import Keys
from core.lab.study import Table
from core.lab.tables import text_table
from core.optim import RULES
from core.optim.hypergradient import Hypergradients, Mode, hypergradients
from core.optim.objective import LossObjective
from core.optim.unroll import unroll

BATCH = 64
OVER = ("lr", "beta1", "beta2")
MODES: tuple[Mode, ...] = ("reverse", "segments", "forward")
HYPER = {"lr": 3e-3, "beta1": 0.9, "beta2": 0.99}
ADAM = RULES["adam"]


@dataclass
class Args:
    """Time, peak memory and error of hypergradients through an MLP 1-32-32-1 at batch 64."""

    replicas: Annotated[tuple[int, ...], tyro.conf.arg(metavar="R ...")] = (1, 16)
    """hypergradients at once"""
    steps: int = 100
    """steps of the training"""
    turns: int = 5
    """how often the modes take turns"""


@dataclass(frozen=True)
class Case:
    """R trainings of the network, on batches of their own."""

    objective: LossObjective
    start: Tensor
    steps: int

    def plain(self) -> Tensor:
        """The final loss, without derivatives."""
        with torch.no_grad():
            return unroll(self.objective, ADAM, self.start, HYPER, steps=self.steps).loss

    def differentiated(self, mode: Mode) -> Hypergradients:
        """The final loss with its derivatives."""
        return hypergradients(self.objective, ADAM, self.start, HYPER, steps=self.steps, over=OVER, mode=mode)


def case(replicas: int, steps: int, dtype: torch.dtype) -> Case:
    """Regression of a sine; the batches are drawn beforehand."""
    module = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1))
    forward = batched_forward(module)
    assert forward is not None
    keys = Keys.of(range(replicas))
    draws = keys.uniform(steps, BATCH, 1, dtype=dtype) * 2 - 1
    everything = torch.linspace(-1, 1, 256, dtype=dtype)[:, None].expand(replicas, -1, 1)
    scale = torch.cat([torch.full((p.numel(),), p.shape[-1] ** -0.5) for p in module.parameters()])
    start = keys.fold("start").normal(len(scale), dtype=dtype) * scale.to(dtype)

    def loss(params: Tensor, x: Tensor) -> Tensor:
        return ((forward(params, x) - torch.sin(6 * x)) ** 2).mean(dim=(1, 2))

    objective = LossObjective(
        lambda params, step: loss(params, draws[:, step]), lambda params: loss(params, everything)
    )
    return Case(objective, start, steps)


def seconds(call: Callable[[], object]) -> float:
    """Of one call."""
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def peak_megabytes(call: Callable[[], object]) -> float:
    """The most memory that torch's CPU allocator had handed out during a call, above the start."""
    with profile(profile_memory=True) as profiler:
        call()
    results = profiler.kineto_results
    assert results is not None
    memory = [(e.start_ns(), e.nbytes()) for e in results.events() if e.name() == "[memory]"]
    now = peak = 0
    for _, size in sorted(memory, key=lambda event: event[0]):
        now += size
        peak = max(peak, now)
    return peak / 2**20


def errors(steps: int) -> dict[str, float]:
    """The largest relative distance of each mode to central differences (Richardson), float64, two rows."""
    small = case(2, steps, torch.float64)

    def loss(name: str, value: float) -> Tensor:
        with torch.no_grad():
            return unroll(small.objective, ADAM, small.start, {**HYPER, name: value}, steps=steps).loss

    def slope(name: str, width: float) -> Tensor:
        at = HYPER[name]
        return (loss(name, at * (1 + width)) - loss(name, at * (1 - width))) / (2 * width * at)

    exact = {name: (4 * slope(name, 5e-5) - slope(name, 1e-4)) / 3 for name in OVER}
    found = {mode: small.differentiated(mode).gradients for mode in MODES}
    return {
        mode: max(float((own[name] / exact[name] - 1).abs().max()) for name in OVER)
        for mode, own in found.items()
    }


def main(args: Args) -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    error = errors(args.steps)
    rows = []
    for replicas in args.replicas:
        own = case(replicas, args.steps, torch.float32)
        calls: dict[str, Callable[[], object]] = {"plain training": own.plain}
        calls |= {mode: partial(own.differentiated, mode) for mode in MODES}
        memory = {name: peak_megabytes(call) for name, call in calls.items()}
        times = [{name: seconds(call) for name, call in calls.items()} for _ in range(args.turns)]
        for name in calls:
            ratios = sorted(turn[name] / turn["reverse"] for turn in times)
            rows.append(
                (
                    str(replicas),
                    name,
                    f"{1e3 * statistics.median(turn[name] for turn in times):,.0f}",
                    f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
                    f"{memory[name]:,.2f}",
                    f"1/{memory['reverse'] / memory[name]:,.0f}",
                    f"{error[name]:.0e}" if name in error else "",
                )
            )
    columns = ("R", "mode", "ms", "time to reverse (range)", "peak MiB", "memory to reverse", "error")
    print(text_table(Table(f"{args.steps} steps", columns, tuple(rows))))


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
