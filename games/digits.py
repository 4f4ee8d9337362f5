"""Handwritten digits as a law to learn, and a small classifier that judges generated ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor, nn

from core.lab.errors import VhatError
from core.lab.experiment import Array
from core.lab.modules import problem_from
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.schedules import Cosine
from core.problems.digits import digits


@dataclass(frozen=True)
class Digits:
    """scikit-learn's 8x8 digits, as points of 64 numbers in [-1, 1].

    A classifier with one hidden layer, trained on them once a seed, says what a generated image shows. Its
    hidden units are the features in which laws are compared.

    Attributes:
        width: hidden units of the classifier.
        steps: of its training, by Adam with cosine decay.
        seed: of its start and batches.
        sure: probability from which the classifier counts as sure of a class.

    Raises:
        VhatError: for a width or steps below 1, or `sure` outside (0, 1).
    """

    width: int = 32
    steps: int = 600
    seed: int = 0
    sure: float = 0.9

    dim = 64

    def __post_init__(self) -> None:
        if min(self.width, self.steps) < 1 or not 0.0 < self.sure < 1.0:
            raise VhatError(
                "the judge of digits needs width and steps >= 1 and sure between 0 and 1, got "
                f"{self.width}, {self.steps} and {self.sure}"
            )

    @cached_property
    def images(self) -> Tensor:
        """float32 `[1797, 64]`, in [-1, 1]."""
        return 2.0 * torch.from_numpy(digits()[0]) - 1.0

    @cached_property
    def labels(self) -> Tensor:
        """int64 `[1797]`."""
        return torch.from_numpy(digits()[1])

    def sample(self, keys: Keys, n: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """`[R, n, 64]`: n digits a row, drawn with replacement."""
        drawn = keys.distinct().fold("digit").integers(len(self.images), n)
        return keys.spread(self.images.to(keys.device, dtype)[drawn])

    @cached_property
    def _layers(self) -> tuple[Tensor, ...]:
        """The classifier: weight `[width, 64]`, bias, weight `[10, width]`, bias."""
        flat = torch.from_numpy(_classifier(self.width, self.steps, self.seed))
        shapes = ((self.width, 64), (self.width,), (10, self.width), (10,))
        parts = torch.split(flat, [int(np.prod(s)) for s in shapes])
        return tuple(p.view(s) for p, s in zip(parts, shapes, strict=True))

    def features(self, samples: Tensor) -> Tensor:
        """The classifier's hidden units, `[R, n, 64]` to `[R, n, width]`."""
        weight, bias = (p.to(samples) for p in self._layers[:2])
        # It was trained on numbers in [0, 1].
        inputs = 0.5 * (samples + 1.0)
        return torch.baddbmm(
            bias.expand(len(samples), 1, -1), inputs, weight.T.expand(len(samples), -1, -1)
        ).relu_()

    def probabilities(self, features: Tensor) -> Tensor:
        """The classifier's of the ten classes, `[R, n, width]` to `[R, n, 10]`."""
        weight, bias = (p.to(features) for p in self._layers[2:])
        rows = len(features)
        return torch.softmax(
            torch.baddbmm(bias.expand(rows, 1, -1), features, weight.T.expand(rows, -1, -1)), dim=2
        )

    def mass(self, samples: Tensor) -> Tensor:
        """`[R, 10]`: the share of samples of which the classifier is sure that they show each digit."""
        return self._mass(self.features(samples))

    def assigned(self, samples: Tensor) -> Tensor:
        """int64 `[R, n]`: the digit that the classifier is sure to see in each sample; 10 for none."""
        best = self.probabilities(self.features(samples)).max(dim=2)
        return torch.where(best.values >= self.sure, best.indices, 10)

    def _mass(self, features: Tensor) -> Tensor:
        return (self.probabilities(features) >= self.sure).to(features.dtype).mean(1)

    @cached_property
    def _real(self) -> tuple[Tensor, Tensor]:
        """Mean and root of the covariance of the real digits' features, float64."""
        features = self.features(self.images[None].expand(2, -1, -1))[0].double()
        mean, covariance = _moments(features[None])
        values, vectors = torch.linalg.eigh(covariance[0])
        return mean[0], vectors * values.clamp(min=0.0).sqrt() @ vectors.T

    def frechet(self, features: Tensor) -> Tensor:
        """`[R]`: Fréchet distance of the features of samples `[R, n, width]` to those of the real digits.

        Of the normal laws with the same means and covariances (Dowson and Landau 1982; on images, with
        another network's features, Heusel et al. 2017): |m - m'|^2 + tr(C + C' - 2 (C^1/2 C' C^1/2)^1/2).
        Samples that are not finite are infinitely far.
        """
        mean, root = (p.to(features.device) for p in self._real)
        finite = torch.isfinite(features).all((1, 2))
        own_mean, own = _moments(torch.where(finite[:, None, None], features, 0.0).double())
        roots = root.expand(len(own), -1, -1)
        cross = torch.linalg.eigvalsh(torch.bmm(torch.bmm(roots, own), roots)).clamp(min=0.0).sqrt()
        trace = own.diagonal(dim1=1, dim2=2).sum(1) + (root * root).sum() - 2.0 * cross.sum(1)
        distance = ((own_mean - mean).square().sum(1) + trace).clamp(min=0.0)
        return torch.where(finite, distance, torch.inf)

    def coverage(self, samples: Tensor) -> Mapping[str, Tensor]:
        """How samples `[R, n, 64]` cover the digits.

        Returns:
            `modes`: number of classes that hold, surely, at least a quarter of a tenth of the samples;
            `quality`: share of samples of which the classifier is sure (about 0.9 for real digits);
            `frechet`: see `frechet`.
        """
        features = self.features(samples)
        mass = self._mass(features)
        covered = mass >= 0.25 / mass.shape[1]
        return {
            "modes": covered.sum(1).to(samples.dtype),
            "quality": mass.sum(1),
            "frechet": self.frechet(features).to(samples.dtype),
        }


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Means `[R, k]` and covariances `[R, k, k]` of `[R, n, k]`."""
    mean = features.mean(1)
    centred = features - mean[:, None]
    return mean, torch.bmm(centred.transpose(1, 2), centred) / (features.shape[1] - 1)


TRAINING = 1300
"""Digits that the classifier is trained on; the rest says how good it is."""


@cache
def _classifier(width: int, steps: int, seed: int) -> Array:
    """The parameters of the trained classifier, flat."""
    inputs, labels = (torch.from_numpy(a) for a in digits())
    module = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
    data = (inputs[:TRAINING], labels[:TRAINING])
    problem = problem_from(module, nn.functional.cross_entropy, data, batch_size=64)
    variant = Variant("judge", "adam", schedule=Cosine(steps))
    # The lab trains two replicas or more.
    run = train(
        problem,
        [Block(variant, slice(0, 2), {"lr": 1e-2})],
        Keys.of((seed, seed + 1), study="judge of digits"),
        steps=steps,
        recording=Recording(points=1, params=True),
    )
    assert run.params is not None
    flat: Array = run.params[0]
    return flat
