"""Time one Adam step: ours against torch.optim.Adam (default, foreach, fused), and against one copy of the
parameters; SGD and RMSprop on the network too.

Contestants take turns within a round, so that a change in the machine's load falls on all of them; a ratio is
taken within its round against torch's default. Run from the checkout: python scripts/bench/optim_step.py
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[2]))

from core.optim import RULES, torch_optim

Step = Callable[[], object]
MLP = ((64, 4), (64,), (64, 64), (64,), (2, 64), (2,))
SIZES: dict[str, tuple[tuple[int, ...], ...]] = {
    "MLP 4-64-64-2": MLP,
    "1e3 floats": ((1_000,),),
    "1e5 floats": ((100_000,),),
    "1e7 floats": ((10_000_000,),),
}


def model_contestants(shapes: tuple[tuple[int, ...], ...], device: str, name: str) -> dict[str, Step]:
    """Optimizers over parameters of these shapes, each with its own copy; gradients stay fixed.

    Of Adam there are more: the fused kernels, and the rule on one flat tensor.
    """
    torch.manual_seed(0)
    values = [torch.randn(shape, device=device) for shape in shapes]
    gradients = [torch.randn(shape, device=device) for shape in shapes]

    def parameters() -> list[nn.Parameter]:
        made = [nn.Parameter(v.clone()) for v in values]
        for parameter, gradient in zip(made, gradients, strict=True):
            parameter.grad = gradient.clone()
        return made

    flat, flat_gradient = (torch.cat([t.reshape(-1) for t in ts]) for ts in (values, gradients))
    theirs, ours = getattr(torch.optim, name), getattr(torch_optim, name)
    contestants: dict[str, Step] = {
        "torch default": theirs(parameters()).step,
        "torch foreach": theirs(parameters(), foreach=True).step,
        "ours": ours(parameters()).step,
        "copy": copy_of(flat),
    }
    if name == "Adam":
        contestants |= {
            "torch fused": theirs(parameters(), fused=True).step,
            "ours fused": ours(parameters(), fused=True).step,
            "rule, in place, flat": in_place(flat.clone(), flat_gradient.clone()),
            "rule, pure, flat": pure(flat.clone(), flat_gradient.clone()),
        }
    return contestants


def in_place(params: Tensor, gradient: Tensor) -> Step:
    """The rule's in-place twin."""
    rule = RULES["adam"]
    state = rule.init(params)

    def step() -> None:
        nonlocal state
        state = rule.step_(params, gradient, state, lr=1e-3)

    return step


def pure(params: Tensor, gradient: Tensor) -> Step:
    """The allocating rule."""
    rule = RULES["adam"]
    state = rule.init(params)

    @torch.no_grad()
    def step() -> None:
        nonlocal params, state
        params, state = rule.step(params, gradient, state, lr=1e-3)

    return step


def copy_of(params: Tensor) -> Step:
    """The floor: read the parameters and write them elsewhere."""
    target = torch.empty_like(params)
    return lambda: target.copy_(params)


def measure(contestants: dict[str, Step], rounds: int, seconds: float, device: str) -> dict[str, list[float]]:
    """Seconds a step, by contestant and round."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    repeats = {name: calibrate(step, seconds, device) for name, step in contestants.items()}
    for _ in range(rounds):
        for name, step in contestants.items():
            times[name].append(timed(step, repeats[name], device))
    return times


def calibrate(step: Step, seconds: float, device: str) -> int:
    """How often to repeat a step to fill the time."""
    step()
    return max(1, int(seconds / timed(step, 3, device)))


def timed(step: Step, repeats: int, device: str) -> float:
    """Seconds a step."""
    finish(device)
    begin = time.perf_counter()
    for _ in range(repeats):
        step()
    finish(device)
    return (time.perf_counter() - begin) / repeats


def finish(device: str) -> None:
    """Wait for queued kernels."""
    if device != "cpu":
        torch.accelerator.synchronize()


def report(title: str, times: dict[str, list[float]]) -> None:
    """A line a contestant: microseconds, the ratio to torch's default with its spread, and to one copy."""
    print(f"\n{title}\n{'':22}{'us/step':>10}{'of default':>12}{'min-max':>16}{'copies':>9}")
    default, copy = times["torch default"], times["copy"]
    for name, own in times.items():
        ratios = [a / b for a, b in zip(own, default, strict=True)]
        spread = f"{min(ratios):.2f}-{max(ratios):.2f}"
        copies = statistics.median(a / b for a, b in zip(own, copy, strict=True))
        median = statistics.median(own) * 1e6
        print(f"{name:22}{median:10.1f}{statistics.median(ratios):11.2f}x{spread:>16}{copies:9.1f}")


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="interleaved rounds")
    parser.add_argument("--seconds", type=float, default=0.05, help="time for a contestant in a round")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's CPU threads")
    parser.add_argument("--device", default="cpu", help="torch device")
    parser.add_argument("--only", choices=sorted(SIZES), help="one size")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads, {options.rounds} rounds")
    for title, shapes in SIZES.items():
        if options.only in (None, title):
            for name in ("Adam", "SGD", "RMSprop") if shapes is MLP else ("Adam",):
                contestants = model_contestants(shapes, options.device, name)
                times = measure(contestants, options.rounds, options.seconds, options.device)
                report(f"{name}, {title}", times)


if __name__ == "__main__":
    main()
