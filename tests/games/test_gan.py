"""The batched GAN against ordinary torch modules and autograd, and its data and measures against planted
cases.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from core.lab.conformance import check_problem
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.adjustments import Consensus
from core.optim.linearized import Linearized
from core.optim.play import Alternating
from games.gan import GAN, Loss, mixture_gan
from games.mixtures import Mixture, energy_distance
from games.networks import MLP

torch.set_num_threads(1)
LOSSES: tuple[Loss, ...] = ("nonsaturating", "saturating", "wasserstein")


def _module(network: MLP, flat: Tensor) -> nn.Sequential:
    """An ordinary module with the parameters of one replica."""
    parts: list[nn.Module] = []
    start = 0
    for i, o in network.shapes:
        linear = nn.Linear(i, o, dtype=flat.dtype)
        with torch.no_grad():
            linear.weight.copy_(flat[start : start + i * o].view(i, o).T)
            linear.bias.copy_(flat[start + i * o : start + (i + 1) * o])
        parts += [linear, nn.ReLU()]
        start += (i + 1) * o
    return nn.Sequential(*parts[:-1])


def _flat(module: nn.Sequential, grads: tuple[Tensor, ...]) -> Tensor:
    """Gradients of a module's parameters in the order of `MLP`."""
    del module
    return torch.cat([g.T.reshape(-1) if g.ndim == 2 else g for g in grads])


def _losses(loss: Loss, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
    """The generator's and the discriminator's, as the papers write them."""
    if loss == "wasserstein":
        return -fake.mean(), fake.mean() - real.mean()
    judge = softplus(-real).mean() + softplus(fake).mean()
    return (softplus(-fake).mean() if loss == "nonsaturating" else -softplus(fake).mean()), judge


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(("depth", "latent"), [(1, 3), (2, 4), (3, 2)])
def test_field_is_autograd_of_both_players(loss: Loss, depth: int, latent: int) -> None:
    gan = GAN(latent=latent, width=8, depth=depth, batch=16, loss=loss)
    keys = Keys.of(range(3), study="autograd")
    params = 3.0 * gan.init(keys).double()
    latents, real = (x.double() for x in gan.draw(keys, 1))
    found = gan.field_on(params, latents, real)
    first, second = gan.players
    for row in range(3):
        generator, discriminator = (
            _module(gan.generator, params[row, first]),
            _module(gan.discriminator, params[row, second]),
        )
        fake = generator(latents[row])
        by_generator, by_discriminator = _losses(loss, discriminator(real[row]), discriminator(fake))
        g = torch.autograd.grad(by_generator, tuple(generator.parameters()), retain_graph=True)
        d = torch.autograd.grad(by_discriminator, tuple(discriminator.parameters()))
        expected = torch.cat([_flat(generator, g), _flat(discriminator, d)])
        torch.testing.assert_close(found.values[row], expected, rtol=1e-10, atol=1e-13)
        assert found.measures["loss_generator"][row].item() == pytest.approx(by_generator.item(), rel=1e-12)
        assert found.measures["loss_discriminator"][row].item() == pytest.approx(
            by_discriminator.item(), rel=1e-12
        )


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("depth", [1, 3])
def test_penalty_is_autograd_of_the_mean_squared_slope(loss: Loss, depth: int) -> None:
    """R1 (Mescheder et al. 2018): gamma / 2 times the mean over real points of |D'(x)|^2."""
    gan = GAN(width=8, batch=16, loss=loss, r1=0.7, discriminator_width=6, discriminator_depth=depth)
    keys = Keys.of(range(3), study="r1")
    params = 3.0 * gan.init(keys).double()
    latents, real = (x.double() for x in gan.draw(keys, 1))
    plain = dataclasses.replace(gan, r1=0.0).field_on(params, latents, real)
    found = gan.field_on(params, latents, real)
    for row in range(3):
        judge = _module(gan.discriminator, params[row, gan.players[1]])
        x = real[row].clone().requires_grad_()
        (slope,) = torch.autograd.grad(judge(x).sum(), x, create_graph=True)
        penalty = 0.35 * slope.square().sum(1).mean()
        parameters = tuple(judge.parameters())
        by_penalty = torch.autograd.grad(penalty, parameters, allow_unused=True, materialize_grads=True)
        added = found.values[row] - plain.values[row]
        assert not added[gan.players[0]].any()
        torch.testing.assert_close(added[gan.players[1]], _flat(judge, by_penalty), rtol=1e-9, atol=1e-12)
        assert found.measures["penalty"][row].item() == pytest.approx(penalty.item(), rel=1e-12)
    expected = plain.measures["loss_discriminator"] + found.measures["penalty"]
    torch.testing.assert_close(found.measures["loss_discriminator"], expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("r1", [0.0, 0.7])
def test_field_is_differentiable_itself(r1: float) -> None:
    """Adjustments ask for products with its Jacobian: against central differences along a direction."""
    gan = GAN(width=6, batch=8, latent=3, r1=r1)
    keys = Keys.of(range(2), study="second order")
    params = 2.0 * gan.init(keys).double()
    latents, real = (x.double() for x in gan.draw(keys, 0))

    def field(at: Tensor) -> Tensor:
        return gan.field_on(at, latents, real).values

    v, h = keys.fold("direction").normal(gan.dim, dtype=torch.float64), 1e-7
    at = Linearized(field, params)
    numeric = (field(params + h * v) - field(params - h * v)) / (2 * h)
    torch.testing.assert_close(at.forward(v), numeric, rtol=1e-5, atol=1e-6)
    w = keys.fold("other").normal(gan.dim, dtype=torch.float64)
    torch.testing.assert_close((at.transposed(w) * v).sum(1), (at.forward(v) * w).sum(1), rtol=1e-10, atol=0)


def test_an_adjusted_gan_trains() -> None:
    gan = GAN(width=8, batch=16, latent=3)
    variant = Variant("consensus", "rmsprop", adjust=Consensus(0.1))
    keys = Keys.of(range(3), study="adjusted")
    kept = Recording(points=1, params=True)
    run = train(gan, [Block(variant, slice(0, 3), {"lr": 1e-3})], keys, steps=5, recording=kept)
    pair = train(gan, [Block(variant, slice(0, 2), {"lr": 1e-3})], keys.rows([0, 2]), steps=5, recording=kept)
    assert run.params is not None
    assert pair.params is not None
    assert np.isfinite(run.params).all()
    np.testing.assert_array_equal(run.params[[0, 2]], pair.params)


@pytest.mark.parametrize("loss", LOSSES)
def test_each_player_lowers_its_own_loss(loss: Loss) -> None:
    gan = GAN(width=16, batch=32, loss=loss)
    keys = Keys.of(range(4), study="signs")
    params = gan.init(keys).double()
    latents, real = (x.double() for x in gan.draw(keys, 0))
    before = gan.field_on(params, latents, real)
    for player, name in zip(gan.players, ("loss_generator", "loss_discriminator"), strict=True):
        moved = params.clone()
        moved[:, player] -= 1e-4 * before.values[:, player]
        after = gan.field_on(moved, latents, real).measures[name]
        expected = -1e-4 * before.values[:, player].square().sum(1)
        torch.testing.assert_close(after - before.measures[name], expected, rtol=2e-2, atol=1e-12)


def test_extreme_logits_give_finite_gradients() -> None:
    gan = GAN(width=8, batch=8)
    keys = Keys.of(range(2), study="extreme")
    for scale in (1e2, 1e4):
        assert torch.isfinite(gan.field(scale * gan.init(keys), keys, 0).values).all()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("width", [5, 16, 32])
def test_problem_keeps_the_contract(loss: Loss, width: int) -> None:
    check_problem(GAN(width=width, batch=24, latent=3, loss=loss, held_out=40), seeds=6)
    more = {"r1": 0.5, "discriminator_width": 9, "discriminator_depth": 3}
    check_problem(GAN(width=width, batch=24, latent=3, loss=loss, held_out=40, **more), seeds=6)  # type: ignore[arg-type]


def test_rows_are_the_same_in_batches_that_are_taken_in_parts() -> None:
    gan = GAN(width=8, batch=8)
    keys = Keys.of(range(150), study="parts")
    params = gan.init(keys)
    whole = gan.field(params, keys, 2).values
    for rows in (slice(0, 2), slice(37, 41), slice(148, 150), slice(1, 130)):
        assert torch.equal(gan.field(params[rows], keys.rows(rows), 2).values, whole[rows])


def test_variants_of_a_seed_share_networks_latents_and_data() -> None:
    gan = GAN(width=8, batch=8)
    keys = Keys.of(range(3), copies=2)
    assert torch.equal(gan.init(keys)[:3], gan.init(keys)[3:])
    for drawn in gan.draw(keys, 4):
        assert torch.equal(drawn[:3], drawn[3:])
        assert not torch.equal(drawn[0], drawn[1])


def test_start_follows_the_law_of_torch_linear() -> None:
    network = MLP((4, 9, 2))
    flat = network.init(Keys.of(range(4000), study="init"), torch.float32)
    for i, layer in zip((4, 9), network.layers(flat), strict=True):
        for part in layer:
            assert part.abs().max() <= 1 / math.sqrt(i)
            assert part.std().item() == pytest.approx(1 / math.sqrt(3 * i), rel=0.02)


def test_trained_gan_is_the_loop_of_torch_optim() -> None:
    gan = GAN(width=8, batch=16, latent=3)
    keys = Keys.of(range(2), study="loop")
    steps, lr = 25, 3e-3
    run = train(
        gan,
        [Block(Variant("Adam", "adam", {"beta1": 0.5}), slice(0, 2), {"lr": lr})],
        keys,
        steps=steps,
        recording=Recording(points=1, params=True),
    )
    start, (first, second) = gan.init(keys), gan.players
    generator, discriminator = (
        _module(gan.generator, start[0, first]),
        _module(gan.discriminator, start[0, second]),
    )
    optimizers = [
        torch.optim.Adam(m.parameters(), lr=lr, betas=(0.5, 0.999)) for m in (generator, discriminator)
    ]
    for step in range(steps):
        latents, real = (x[0] for x in gan.draw(keys, step))
        losses = _losses("nonsaturating", discriminator(real), discriminator(generator(latents)))
        for module, loss in zip((generator, discriminator), losses, strict=True):
            for p, g in zip(
                module.parameters(),
                torch.autograd.grad(loss, tuple(module.parameters()), retain_graph=True),
                strict=True,
            ):
                p.grad = g
        for optimizer in optimizers:
            optimizer.step()
    expected = torch.cat(
        [_flat(m, tuple(p.detach() for p in m.parameters())) for m in (generator, discriminator)]
    )
    assert run.params is not None
    torch.testing.assert_close(torch.from_numpy(run.params[0]), expected, rtol=1e-3, atol=2e-5)


def test_alternating_discriminator_answers_the_moved_generator() -> None:
    gan = GAN(width=8, batch=16)
    keys = Keys.of(range(2), study="alternate")
    lr = 0.1
    run = train(
        gan,
        [Block(Variant("GDA", "sgd", play=Alternating()), slice(0, 2), {"lr": lr})],
        keys,
        steps=1,
        recording=Recording(points=1, params=True),
    )
    expected = gan.init(keys)
    for player in gan.players:
        expected[:, player] -= lr * gan.field(expected, keys, 0).values[:, player]
    assert run.params is not None
    torch.testing.assert_close(torch.from_numpy(run.params), expected)


@pytest.mark.parametrize("shape", ["ring8", "grid25"])
def test_coverage_of_planted_samples(shape: str) -> None:
    data = Mixture(shape, radius=2.0, std=0.05)  # type: ignore[arg-type]
    k, n = len(data.modes), 1600
    fair = n // k
    threshold = fair // 4
    centres = data.modes.float()
    # Row 0: all modes at their share. Row 1: one mode alone. Row 2: the second mode holds just a quarter of
    # its share, the third one sample less. Row 3: everything four standard deviations away.
    rows = [
        centres.repeat_interleave(fair, 0),
        centres[:1].expand(n, 2),
        torch.cat(
            [
                centres[:1].expand(n - 2 * threshold + 1, 2),
                centres[1:2].expand(threshold, 2),
                centres[2:3].expand(threshold - 1, 2),
            ]
        ),
        centres.repeat_interleave(fair, 0) + torch.tensor([0.2, 0.0]),
    ]
    found = data.coverage(torch.stack(rows))
    assert found["modes"].tolist() == [k, 1, 2, 0]
    assert found["quality"].tolist() == pytest.approx([1.0, 1.0, 1.0, 0.0])


def test_the_data_itself_is_covered() -> None:
    data = Mixture("ring8", radius=2.0, std=0.1)
    samples = data.sample(Keys.of(range(20), study="data"), 2000)
    found = data.coverage(samples)
    assert (found["modes"] == 8).all()
    expected = 1 - math.exp(-4.5)  # within three standard deviations in the plane
    assert abs(found["quality"].mean().item() - expected) < 4 * math.sqrt(expected * (1 - expected) / 40_000)
    mass = data.mass(samples).mean(0)
    assert (mass - expected / 8).abs().max() < 4.5 * math.sqrt(1 / 8 * 7 / 8 / 40_000)


def test_energy_distance_against_a_known_shift() -> None:
    keys = Keys.of(range(30), study="energy")
    x, y = keys.fold("x").normal(300, 2), keys.fold("y").normal(300, 2)
    zero = energy_distance(x, y)
    assert abs(zero.mean().item()) < 4 * zero.std().item() / math.sqrt(30)
    # Two points a and b, all samples there: 2 |a - b|.
    a, b = torch.zeros(1, 10, 2), torch.full((1, 12, 2), 3.0)
    assert energy_distance(a, b).item() == pytest.approx(2 * 3 * math.sqrt(2), rel=1e-6)


def test_a_gan_from_plain_data() -> None:
    gan = mixture_gan(shape="grid25", radius=4.0, std=0.05, width=16, loss="wasserstein")
    assert (len(gan.data.modes), gan.width, gan.loss) == (25, 16, "wasserstein")
