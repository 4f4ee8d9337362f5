"""Few handwritten digits and a network with more weights than there is to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from core.lab.batched import batched_forward
from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.problem import Field
from core.lab.random import Keys

POOL, VALIDATION = 800, 400
"""The first digits are there to be drawn for training, the next for validation, the rest for the test."""
CLASSES = 10


@cache
def digits() -> tuple[Array, Array]:
    """scikit-learn's bundled 8x8 digits (Alpaydin and Kaynak 1998): `[1797, 64]` in [0, 1], and labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    # Shuffled once and for all: neighbours in the file were written by the same people.
    order = np.random.default_rng(0).permutation(len(found.target))
    return found.data[order].astype(np.float32) / 16.0, found.target[order].astype(np.int64)


class Digits:
    """Cross-entropy of a network with one hidden layer on few digits, in float32.

    Each seed draws its own training digits from a pool (with replacement), its own random labels, start and
    batches; validation and test digits are the same for all and are labelled rightly.

    Args:
        samples: training digits of a seed.
        wrong: share of training labels that are replaced by a class drawn at random, the true one among
            them.
        width: hidden units.
        batch: digits for each sample of the field.
        device: of the run.

    Raises:
        VhatError: for sizes below 1 or a share outside [0, 1].
    """

    def __init__(
        self,
        samples: int = 100,
        wrong: float = 0.0,
        width: int = 32,
        batch: int = 32,
        device: str = "cpu",
    ) -> None:
        if min(samples, width, batch) < 1 or not 0 <= wrong <= 1:
            raise VhatError(
                "digits need samples, width and batch >= 1 and a share of wrong labels between 0 and 1, got "
                f"{samples}, {width}, {batch} and {wrong}"
            )
        inputs, labels = (torch.from_numpy(a).to(device) for a in digits())
        self.inputs, self.labels = inputs, labels
        self.samples, self.wrong, self.width, self.batch, self.device = samples, wrong, width, batch, device
        module = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, CLASSES))
        forward = batched_forward(module)
        assert forward is not None
        self.forward = forward
        self.shapes = [p.shape for p in module.parameters()]
        self.dim = sum(p.numel() for p in module.parameters())

    def training_set(self, keys: Keys) -> tuple[Tensor, Tensor]:
        """Places in the pool `[S, n]` and labels `[S, n]` of the distinct seeds."""
        keys = keys.distinct().fold("training set")
        places = keys.fold("places").integers(POOL, self.samples)
        replaced = keys.fold("wrong").uniform(self.samples) < self.wrong
        return places, torch.where(
            replaced, keys.fold("classes").integers(CLASSES, self.samples), self.labels[places]
        )

    def init(self, keys: Keys) -> Tensor:
        """`[R, D]`: weights and biases uniform within 1 / sqrt(inputs), torch's own start."""
        parts = []
        for number, (shape, inputs) in enumerate(
            zip(self.shapes, (64, 64, self.width, self.width), strict=True)
        ):
            unit = keys.fold("init").fold(number).uniform(shape.numel(), dtype=torch.float32)
            parts.append((2.0 * unit - 1.0) / inputs**0.5)
        return torch.cat(parts, dim=1)

    def losses(self, params: Tensor, keys: Keys, step: int) -> Tensor:
        """The mean cross-entropy of the step's batch `[R]`, differentiable in the parameters `[R, D]`."""
        places, labels = self.training_set(keys)
        drawn = keys.distinct().fold("batch").at(step).integers(self.samples, self.batch)
        inputs = keys.spread(self.inputs[places.gather(1, drawn)])
        targets = keys.spread(labels.gather(1, drawn))
        return vmap(nn.functional.cross_entropy)(self.forward(params, inputs), targets)

    def field(self, params: Tensor, keys: Keys, step: int) -> Field:
        """The gradient of a batch's mean cross-entropy `[R, D]`, and its `loss`; derivatives of the gradient
        come through `losses`."""
        params = params.detach().requires_grad_()
        losses = self.losses(params, keys, step)
        (gradient,) = torch.autograd.grad(losses.sum(), params)
        return Field(gradient, {"loss": losses.detach()})

    def measure(self, params: Tensor, keys: Keys) -> Mapping[str, Tensor]:
        """`validation error` and `test error`, shares of digits taken for another; `training error` and
        `training loss` (mean cross-entropy) on the seed's own digits and labels; `weight norm`. The loss and
        the norm are differentiable, shares are not."""
        places, labels = self.training_set(keys)
        held_out = self.forward(params, self.inputs[POOL:]).argmax(dim=2) != self.labels[POOL:]
        seen, targets = self.forward(params, keys.spread(self.inputs[places])), keys.spread(labels)
        return {
            "validation error": held_out[:, :VALIDATION].float().mean(dim=1),
            "test error": held_out[:, VALIDATION:].float().mean(dim=1),
            "training error": (seen.argmax(dim=2) != targets).float().mean(dim=1),
            "training loss": vmap(nn.functional.cross_entropy)(seen, targets),
            "weight norm": (params**2).sum(dim=1).sqrt(),
        }
