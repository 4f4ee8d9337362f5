"""The digits as a law: the judge against labels it has not seen, coverage and distance on planted samples."""

import numpy as np
import pytest
import torch
from torch import Tensor

from core.lab.conformance import check_problem
from core.lab.errors import VhatError
from core.lab.random import Keys
from games.digits import TRAINING, Digits
from games.digits_gan import digits_gan

torch.set_num_threads(1)
LAW = Digits()


def of_classes(classes: list[int], rows: int = 2) -> Tensor:
    chosen = torch.isin(LAW.labels, torch.tensor(classes))
    return LAW.images[chosen][None].expand(rows, -1, -1).contiguous()


@pytest.mark.parametrize("loss", ["nonsaturating", "wasserstein"])
def test_gan_keeps_the_contract(loss: str) -> None:
    check_problem(digits_gan(width=12, batch=16, latent=5, held_out=60, loss=loss, r1=0.2), seeds=5)


def test_judge_knows_digits_it_has_not_seen() -> None:
    images, labels = LAW.images[TRAINING:], LAW.labels[TRAINING:]
    said = LAW.probabilities(LAW.features(images[None].expand(2, -1, -1)))[0]
    assert (said.argmax(1) == labels).double().mean() > 0.94
    torch.testing.assert_close(said.sum(1), torch.ones(len(said)), rtol=1e-5, atol=0)


def test_judge_depends_on_its_seed_alone() -> None:
    x = LAW.images[:5][None].expand(2, -1, -1)
    assert torch.equal(LAW.features(x), Digits().features(x))
    assert not torch.equal(LAW.features(x), Digits(seed=1).features(x))


def test_real_digits_cover_all_classes_and_lie_at_no_distance() -> None:
    whole = LAW.coverage(LAW.images[None].expand(2, -1, -1))
    assert whole["modes"].tolist() == [10, 10]
    assert bool((whole["quality"] > 0.8).all())
    assert bool((whole["frechet"] < 1e-3).all())


@pytest.mark.parametrize("classes", [[3], [0, 1, 4], [0, 2, 3, 5, 6, 7, 8]])
def test_planted_classes_are_counted(classes: list[int]) -> None:
    found = LAW.coverage(of_classes(classes))
    assert found["modes"].tolist() == [len(classes)] * 2
    whole = LAW.coverage(LAW.images[None].expand(2, -1, -1))
    assert bool((found["frechet"] > 10 * whole["frechet"] + 0.5).all())


def test_distance_is_that_of_normal_laws() -> None:
    """Moved features: the squared length of the way; of commuting covariances: the roots' difference."""
    features = LAW.features(LAW.images[None].expand(2, -1, -1))
    moved = features + torch.linspace(-1, 1, 32)
    torch.testing.assert_close(
        LAW.frechet(moved),
        torch.full((2,), float(torch.linspace(-1, 1, 32).square().sum())).double(),
        rtol=1e-4,
        atol=1e-3,
    )
    mean = features.mean(1, keepdim=True)
    spread = float((features - mean)[0].double().square().sum()) / (len(features[0]) - 1)
    doubled = LAW.frechet(mean + 2.0 * (features - mean))
    torch.testing.assert_close(doubled, torch.full((2,), spread).double(), rtol=1e-3, atol=0)


def test_noise_and_broken_samples_are_far() -> None:
    noise = Keys.of([0, 1]).normal(500, 64)
    assert bool((LAW.coverage(noise)["frechet"] > 1.0).all())
    noise[0, 3, 5] = torch.nan
    broken = LAW.coverage(noise)["frechet"]
    assert torch.isinf(broken).tolist() == [True, False]


def test_draws_are_digits_keyed_and_shared_by_variants_of_a_seed() -> None:
    keys = Keys.of(range(2), copies=2)
    drawn = LAW.sample(keys, 20)
    assert tuple(drawn.shape) == (4, 20, 64)
    assert torch.equal(drawn[:2], drawn[2:])
    assert not torch.equal(drawn[0], drawn[1])
    known = {image.numpy().tobytes() for image in LAW.images}
    assert all(image.numpy().tobytes() in known for image in drawn[0])
    assert np.abs(LAW.images.numpy()).max() == 1.0


def test_impossible_judges_are_refused() -> None:
    with pytest.raises(VhatError, match="sure between 0 and 1"):
        Digits(sure=1.0)
    with pytest.raises(VhatError, match="sizes of at least 1"):
        digits_gan(width=0)
