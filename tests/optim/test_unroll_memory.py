"""What the modes of a hypergradient keep, over the number of steps."""

import math

import pytest
import torch
from torch import Tensor

from core.optim import RULES
from core.optim.hypergradient import Mode, hypergradients
from core.optim.objective import LossObjective
from core.optim.unroll import root_segment
from tests.optim.trainings import CASES, MODES, START, STEPS, bowl, normal


@pytest.mark.parametrize("segment", [1, 2, 5, STEPS, 100])
def test_segments_of_any_length_give_the_same_derivatives(segment: int) -> None:
    plain = hypergradients(bowl(), RULES["adam"], START, CASES["adam"], steps=STEPS)
    found = hypergradients(
        bowl(), RULES["adam"], START, CASES["adam"], steps=STEPS, mode="segments", segment=segment
    )
    torch.testing.assert_close(found.gradients["lr"], plain.gradients["lr"], rtol=1e-12, atol=0.0)


class Ledger:
    """Counts the numbers that graphs keep alive, and their peak."""

    def __init__(self) -> None:
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> "Entry":
        return Entry(self, tensor)


class Entry:
    def __init__(self, ledger: Ledger, tensor: Tensor) -> None:
        # Detached, since a graph that holds its own result through a hook would be a cycle.
        self.ledger, self.tensor = ledger, tensor.detach()
        ledger.now += tensor.numel()
        ledger.peak = max(ledger.peak, ledger.now)

    def __del__(self) -> None:
        self.ledger.now -= self.tensor.numel()


def peak(mode: Mode, steps: int) -> int:
    """The most numbers that graphs kept at once during a hypergradient by lr, beta1 and beta2."""
    ledger = Ledger()

    def training(params: Tensor, step: int) -> Tensor:
        return (params**4).sum(dim=1) / 4

    objective = LossObjective(training, lambda params: training(params, 0))
    with torch.autograd.graph.saved_tensors_hooks(ledger.pack, lambda entry: entry.tensor):
        hypergradients(
            objective,
            RULES["adam"],
            normal(2, 100),
            {"lr": 0.01},
            steps=steps,
            over=("lr", "beta1", "beta2"),
            mode=mode,
        )
    return ledger.peak


def test_memory_over_the_number_of_steps() -> None:
    """Sixteen times the steps: the graph grows by 16, the segments by 4, forward mode not at all (but for the
    powers of beta, numbers a row)."""
    few, many = ({mode: peak(mode, steps) for mode in MODES} for steps in (16, 256))
    assert many["reverse"] == pytest.approx(16 * few["reverse"], rel=0.1)
    assert many["segments"] == pytest.approx(4 * few["segments"], rel=0.1)
    assert many["forward"] == pytest.approx(few["forward"], rel=0.05)
    assert few["forward"] < few["segments"] < few["reverse"]


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 100])
def test_root_segment_is_the_ceiling_of_the_root(steps: int) -> None:
    assert root_segment(steps) == math.ceil(math.sqrt(steps))
