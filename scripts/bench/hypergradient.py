"""Hypergradients of lr, beta1 and beta2 through a whole training with Adam: our three modes, TorchOpt,
`higher` and torch's own `differentiable=True`.

Time is of a hypergradient, loss and all three derivatives, beside a plain training without derivatives; a
ratio is to our reverse mode in the same turn. Memory is the peak of what torch's allocator hands out during
one call, above what was there before. The error is the largest relative distance to central differences, in
float64.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor, nn
from torch.autograd.profiler import profile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.batched import batched_forward
from core.lab.benchmark import Benchmark, Measured
from core.lab.random import Keys
from core.optim import RULES
from core.optim.hypergradient import Hypergradients, Mode, hypergradients
from core.optim.objective import LossObjective
from core.optim.unroll import unroll
from scripts.bench.hypergradient_peers import Peer, Training, peers
from scripts.bench.timing import Steps, command, finish, in_turns

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
    """how often the contestants take turns"""
    seconds: float = 0.5
    """about how long a turn of a contestant lasts, at least one call"""
    out: Path = field(default_factory=lambda: Path("out"))
    """folder of the results and the report"""


@dataclass(frozen=True)
class Case:
    """R trainings of the network, on batches of their own; `first` is the first row as a run of its own."""

    objective: LossObjective
    start: Tensor
    steps: int
    first: Training

    def plain(self) -> Tensor:
        """The final loss, without derivatives."""
        with torch.no_grad():
            return unroll(self.objective, ADAM, self.start, HYPER, steps=self.steps).loss

    def differentiated(self, mode: Mode) -> Hypergradients:
        """The final loss with its derivatives."""
        return hypergradients(self.objective, ADAM, self.start, HYPER, steps=self.steps, over=OVER, mode=mode)


def wave(x: Tensor) -> Tensor:
    """What is regressed."""
    return torch.sin(6 * x)


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
        return ((forward(params, x) - wave(x)) ** 2).mean(dim=(1, 2))

    objective = LossObjective(
        lambda params, step: loss(params, draws[:, step]), lambda params: loss(params, everything)
    )
    first = Training(module.to(dtype), start[0], draws[0], everything[0], wave)
    return Case(objective, start, steps, first)


def peak_megabytes(call: Callable[[], object]) -> float:
    """The most memory that torch's CPU allocator had handed out during a call, above the start."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or the profiler writes a line for each start and stop
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


def errors(steps: int, others: Mapping[str, Peer]) -> dict[str, float]:
    """The largest relative distance to central differences (Richardson), float64: ours on two rows, others on
    the first."""
    small = case(2, steps, torch.float64)

    def loss(name: str, value: float) -> Tensor:
        with torch.no_grad():
            return unroll(small.objective, ADAM, small.start, {**HYPER, name: value}, steps=steps).loss

    def slope(name: str, width: float) -> Tensor:
        at = HYPER[name]
        return (loss(name, at * (1 + width)) - loss(name, at * (1 - width))) / (2 * width * at)

    exact = {name: (4 * slope(name, 5e-5) - slope(name, 1e-4)) / 3 for name in OVER}
    found = {}
    for mode in MODES:
        own = small.differentiated(mode).gradients
        found[f"ours, {mode}"] = max(float((own[name] / exact[name] - 1).abs().max()) for name in OVER)
    for peer, differentiate in others.items():
        theirs = differentiate(small.first, HYPER)
        found[peer] = max(abs(value / float(exact[name][0]) - 1) for name, value in theirs.items())
    return found


def repeated(call: Callable[[], object]) -> Steps:
    """A call, so many times."""

    def go(steps: int) -> None:
        for _ in range(steps):
            call()

    return go


def measure(
    replicas: int, error: Mapping[str, float], others: Mapping[str, Peer], args: Args
) -> list[Measured]:
    """The rows of one number of hypergradients."""
    own = case(replicas, args.steps, torch.float32)
    calls: dict[str, Callable[[], object]] = {"plain training": own.plain}
    calls |= {f"ours, {mode}": partial(own.differentiated, mode) for mode in MODES}
    if replicas == 1:
        calls |= {name: partial(peer, own.first, HYPER) for name, peer in others.items()}
    memory = {name: peak_megabytes(call) for name, call in calls.items()}
    times = in_turns({name: repeated(call) for name, call in calls.items()}, args.turns, args.seconds)
    reverse = "ours, reverse"
    return [
        Measured(
            f"R = {replicas}",
            name,
            times.ratio(name, reverse),
            None,
            {
                "ms": f"{1e3 * times.median(name):,.0f}",
                "peak MiB": f"{memory[name]:,.2f}",
                "memory, reverse = 1": f"{memory[name] / memory[reverse]:.3g}",
                "error": f"{error[name]:.0e}" if name in error else "",
            },
        )
        for name in calls
    ]


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(1)
    others, missing = peers(case(2, 3, torch.float32).first, HYPER)
    error = errors(args.steps, others)
    benchmark = Benchmark(
        name="hypergradient",
        title="Hypergradients",
        about=(
            f"The derivatives of the final loss by lr, beta1 and beta2 through {args.steps} steps of Adam on "
            "an MLP 1-32-32-1 at batch 64, for R trainings at once; the other libraries train one. Memory is "
            "the peak of what torch's allocator hands out during a call. The error is the largest relative "
            "distance to central differences, in float64; TorchOpt differentiates lr alone."
        ),
        unit="time, our reverse mode = 1",
        faster="down",
        rows=tuple(row for replicas in args.replicas for row in measure(replicas, error, others, args)),
        turns=args.turns,
        command=command(),
        missing=missing,
    )
    finish(benchmark, args.out)


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
