"""One optimizer step: ours against torch.optim (default, foreach, fused), TorchOpt, and the floor.

Contestants take turns; a ratio is to torch's default step in the same turn. Gradients stay fixed. The floors:
`kernels` is nothing but the kernels that Adam's formula needs on one flat tensor, with the gradients gathered
before and the parameters written back; `kernels, flat` is the same without those copies, as if the parameters
and gradients were views of flat tensors; `copy` reads the parameters once and writes them elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from torch import Tensor, nn

# The root before this folder: `core` is the package.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from core.lab.benchmark import Benchmark, Measured
from core.optim import RULES, torch_optim
from scripts.bench.timing import Steps, command, failure, finish, in_turns, missing_peer

Step = Callable[[], object]
Size = Literal["mlp", "1e3", "1e5", "1e7"]
SHAPES: dict[Size, tuple[tuple[int, ...], ...]] = {
    "mlp": ((64, 4), (64,), (64, 64), (64,), (2, 64), (2,)),
    "1e3": ((1_000,),),
    "1e5": ((100_000,),),
    "1e7": ((10_000_000,),),
}
TITLES = {"mlp": "MLP 4-64-64-2", "1e3": "1e3 floats", "1e5": "1e5 floats", "1e7": "1e7 floats"}
GOALS = {("Adam", "mlp"): 0.15, ("Adam", "1e7"): 0.2}
COPIES, MOST_COPIES = "floor: copy", 2.2
DEFAULT, OURS = "torch default", ("ours", "ours fused", "our rule, in place")


@dataclass
class Args:
    """Time of one optimizer step, as a part of torch's."""

    sizes: Annotated[tuple[Size, ...], tyro.conf.arg(metavar="SIZE ...")] = ("mlp", "1e3", "1e5", "1e7")
    """of the parameters: mlp, or so many floats in one tensor"""
    turns: int = 15
    """how often the contestants take turns"""
    seconds: float = 0.05
    """about how long a turn of a contestant lasts"""
    threads: int = 1
    """torch's CPU threads"""
    device: str = "cpu"
    """torch device"""
    out: Path = field(default_factory=lambda: Path("out"))
    """folder of the results and the report"""


def contestants(size: Size, name: str, device: str) -> dict[str, Step]:
    """Steps of optimizers over parameters of these shapes, each with its own copy."""
    torch.manual_seed(0)
    values = [torch.randn(shape, device=device) for shape in SHAPES[size]]
    gradients = [torch.randn(shape, device=device) for shape in SHAPES[size]]

    def parameters() -> list[nn.Parameter]:
        made = [nn.Parameter(v.clone()) for v in values]
        for parameter, gradient in zip(made, gradients, strict=True):
            parameter.grad = gradient.clone()
        return made

    theirs, ours = getattr(torch.optim, name), getattr(torch_optim, name)
    found: dict[str, Step] = {
        DEFAULT: theirs(parameters()).step,
        "torch foreach": theirs(parameters(), foreach=True).step,
        "ours": ours(parameters()).step,
    }
    if name == "Adam":
        flat, flat_gradient = (torch.cat([t.reshape(-1) for t in ts]) for ts in (values, gradients))
        found |= {
            "torch fused": theirs(parameters(), fused=True).step,
            "ours fused": ours(parameters(), fused=True).step,
            "our rule, in place": in_place(flat.clone(), flat_gradient),
            "our rule, pure": pure(flat.clone(), flat_gradient),
        }
        if not peer_lines():
            found["TorchOpt"] = torchopt_step(parameters())
        if size == "mlp":
            parts = [p.detach() for p in parameters()]
            found["floor: kernels"] = kernels(parts, gradients)
            found["floor: kernels, flat"] = kernels(parts, gradients, copies=False)
        found[COPIES] = copy_of(flat)
    return found


def torchopt_step(parameters: list[nn.Parameter]) -> Step:
    """TorchOpt's own Adam."""
    import torchopt

    step: Step = torchopt.Adam(parameters, lr=1e-3).step
    return step


@cache
def peer_lines() -> tuple[str, ...]:
    """A line if TorchOpt cannot take part."""

    def attempt() -> None:
        parameter = nn.Parameter(torch.ones(2))
        parameter.grad = torch.ones(2)
        torchopt_step([parameter])()

    line = missing_peer("torchopt") or failure("TorchOpt", attempt)
    return (line,) if line else ()


def in_place(params: Tensor, gradient: Tensor) -> Step:
    """The rule's in-place twin on a flat tensor."""
    rule = RULES["adam"]
    state = rule.init(params)

    def step() -> None:
        nonlocal state
        state = rule.step_(params, gradient, state, lr=1e-3)

    return step


def pure(params: Tensor, gradient: Tensor) -> Step:
    """The allocating rule on a flat tensor."""
    rule = RULES["adam"]
    state = rule.init(params)

    @torch.no_grad()
    def step() -> None:
        nonlocal params, state
        params, state = rule.step(params, gradient, state, lr=1e-3)

    return step


def kernels(params: list[Tensor], gradients: list[Tensor], *, copies: bool = True) -> Step:
    """Adam's formula with all its numbers ready, and nothing around it but the copies to and fro."""
    values = torch.cat([p.reshape(-1) for p in params])
    gathered, m, v, root = (torch.zeros_like(values) for _ in range(4))
    sizes = [p.numel() for p in params]
    views, inputs = (
        [part.view(p.shape) for part, p in zip(flat.split(sizes), params, strict=True)]
        for flat in (values, gathered)
    )
    beta2, correction, eps = (values.new_tensor(x) for x in (0.999, 0.5, 1e-8))

    @torch.no_grad()
    def step() -> None:
        if copies:
            torch._foreach_copy_(inputs, gradients)
        m.lerp_(gathered, 0.1)
        v.mul_(beta2).addcmul_(gathered, gathered, value=1e-3)
        torch.sqrt(v, out=root).div_(correction).add_(eps)
        values.addcdiv_(m, root, value=-1e-3)
        if copies:
            torch._foreach_copy_(params, views)

    return step


def copy_of(params: Tensor) -> Step:
    """Read the parameters and write them elsewhere."""
    target = torch.empty_like(params)
    return lambda: target.copy_(params)


def repeated(step: Step, device: str) -> Steps:
    """A step, so many times, until queued kernels are done."""

    def go(steps: int) -> None:
        for _ in range(steps):
            step()
        if device != "cpu":
            torch.accelerator.synchronize()

    return go


def measure(size: Size, name: str, args: Args) -> tuple[list[Measured], list[Measured]]:
    """The rows of one optimizer at one size: over torch's default step, and over a copy where bandwidth is
    what limits."""
    sides = {k: repeated(step, args.device) for k, step in contestants(size, name, args.device).items()}
    times = in_turns(sides, args.turns, args.seconds)
    case, rows, copies = f"{name}, {TITLES[size]}", [], []
    for side in sides:
        beside = {"µs a step": f"{1e6 * times.median(side):,.1f}"}
        goal = GOALS.get((name, size)) if side in OURS else None
        rows.append(Measured(case, side, times.ratio(side, DEFAULT), goal, beside))
        if size == "1e7" and side != COPIES:
            most = MOST_COPIES if side in OURS else None
            copies.append(Measured(case, side, times.ratio(side, COPIES), most, beside))
    return rows, copies


def main(args: Args) -> None:
    """Measure, print and store."""
    torch.set_num_threads(args.threads)
    rows, copies = [], []
    for size in args.sizes:
        for name in ("Adam", "SGD", "RMSprop") if size == "mlp" else ("Adam",):
            found = measure(size, name, args)
            rows += found[0]
            copies += found[1]
    finish(step_benchmark(rows, args.turns), args.out)
    if copies:
        finish(memory_benchmark(copies, args.turns), args.out)


def step_benchmark(rows: list[Measured], turns: int) -> Benchmark:
    """Against torch's default step."""
    return Benchmark(
        name="optim-step",
        title="One optimizer step",
        about=(
            "One step of an optimizer whose parameters hold fixed gradients. Ours steps all parameters as "
            "one flat tensor, with torch's bits; fused asks for torch's fused kernel, and gets its bits. "
            "The floor called kernels is nothing but the kernels that the formula needs on one flat tensor, "
            "with gradients gathered before and parameters written back: a step with torch's bits that is "
            "made of torch's operations takes at least that. The floor called flat is without these copies. "
            "To reach it parameters would have to be views of one tensor, which changes what their owner "
            "holds (saving or copying one of them takes all, one that is exchanged or shared falls out), so "
            "ours copies."
        ),
        unit="time, torch's default step = 1",
        faster="down",
        rows=tuple(rows),
        turns=turns,
        command=command(),
        missing=peer_lines(),
    )


def memory_benchmark(rows: list[Measured], turns: int) -> Benchmark:
    """Against the memory's bandwidth."""
    return Benchmark(
        name="optim-step-memory",
        title="One optimizer step against the memory floor",
        about=(
            "The steps of Adam on 10 million floats once more, over the time of one copy of the parameters, "
            "which reads and writes each of them once. A step reads parameters, gradients and both moments "
            "and writes all but the gradients: seven tensors to two, 3.5 copies by bytes, or 2.3 where a "
            "write to new memory first loads what it replaces (then a copy moves three)."
        ),
        unit="time, one copy of the parameters = 1",
        faster="down",
        rows=tuple(rows),
        turns=turns,
        command=command(),
        missing=peer_lines(),
    )


if __name__ == "__main__":
    main(tyro.cli(Args, description=__doc__))
