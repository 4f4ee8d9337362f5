"""Field adjustments: against their papers' formulas by hand and by autograd, and what they do to rotation."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from core.optim import (
    LOLA,
    RULES,
    Adjusted,
    Adjustment,
    Alternating,
    Anticipating,
    Competitive,
    Consensus,
    Extragradient,
    Lookahead,
    Moves,
    Simultaneous,
    SymplecticGradient,
)
from core.optim.linearized import Linearized

torch.set_num_threads(1)
PLAYERS = (slice(0, 2), slice(2, 5))
A = torch.tensor([[0.9, -0.4, 0.3], [0.2, 0.7, -1.1]], dtype=torch.float64)
ALL: tuple[Adjustment, ...] = (
    Consensus(0.3),
    SymplecticGradient(0.7),
    SymplecticGradient(0.7, align=False),
    Anticipating(),
    LOLA(),
    Competitive(),
    Competitive(iterations=20, tolerance=1e-13),
)


def losses(z: Tensor) -> tuple[Tensor, Tensor]:
    """Two losses of one row that add up to nothing simple."""
    x, y = z[:2], z[2:]
    coupling = x @ A @ y
    f = coupling + 0.3 * (x**2).sum() * y[0] + 0.2 * (x**4).sum()
    g = -1.3 * coupling + x[0] * (y**2).sum() + 0.5 * (y**2).sum()
    return f, g


def zero_sum(z: Tensor) -> tuple[Tensor, Tensor]:
    f = losses(z)[0] - 0.4 * (z[2:] ** 2).sum()
    return f, -f


def field_of(both: Callable[[Tensor], tuple[Tensor, Tensor]]) -> Callable[[Tensor], Tensor]:
    def single(z: Tensor) -> Tensor:
        by_f = torch.func.grad(lambda p: both(p)[0])(z)
        by_g = torch.func.grad(lambda p: both(p)[1])(z)
        return torch.cat([by_f[:2], by_g[2:]])

    return torch.func.vmap(single)


def points(rows: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(rows, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def jacobian(field: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    return torch.func.jacrev(lambda p: field(p[None])[0])(z)


def test_products_are_those_of_the_jacobian() -> None:
    field, z, v = field_of(losses), points(), points(seed=1)
    at = Linearized(field, z)
    full = at.jacobian()
    for row in range(len(z)):
        expected = jacobian(field, z[row])
        torch.testing.assert_close(full[row], expected, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(at.forward(v)[row], expected @ v[row], rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(at.transposed(v)[row], expected.T @ v[row], rtol=1e-12, atol=1e-13)
    assert not at.values.requires_grad
    assert not full.requires_grad


def test_a_field_without_derivatives_is_named() -> None:
    with pytest.raises(ValueError, match="the field does not depend differentiably on the parameters"):
        Consensus()(lambda z: z.detach(), points(), PLAYERS, 0.1)


def test_consensus_adds_the_gradient_of_the_squared_field() -> None:
    field, z = field_of(losses), points()
    found = Consensus(0.3)(field, z, PLAYERS, 0.1)
    added = torch.func.grad(lambda p: 0.5 * field(p).square().sum())(z)
    torch.testing.assert_close(found, field(z) + 0.3 * added, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("align", [False, True])
def test_symplectic_gradient_is_the_published_formula(align: bool) -> None:
    field, z = field_of(losses), points(40)
    found = SymplecticGradient(0.7, align=align)(field, z, PLAYERS, 0.1)
    signs = set()
    for row, point in enumerate(z):
        xi, j = field(z)[row], jacobian(field, point)
        antisymmetric = (j - j.T) / 2
        sign = 1.0
        if align:
            hamiltonian = j.T @ xi
            product = (xi @ hamiltonian) * (antisymmetric.T @ xi @ hamiltonian) / len(xi)
            sign = math.copysign(1.0, float(product) + 0.1)
        signs.add(sign)
        torch.testing.assert_close(found[row], xi + sign * 0.7 * antisymmetric.T @ xi, rtol=1e-11, atol=1e-12)
    assert signs == ({1.0, -1.0} if align else {1.0})


def test_alignment_leaves_an_unstable_point() -> None:
    """Balduzzi et al. 2018, section 3: around an unstable fixed point the aligned adjustment points away."""

    def field(z: Tensor) -> Tensor:  # eigenvalues -1 +- 2i: unstable under descent
        return torch.stack([-z[:, 0] + 2 * z[:, 1], -2 * z[:, 0] - z[:, 1]], dim=1)

    z = torch.tensor([[3.0, 1.0], [-2.0, 4.0]], dtype=torch.float64)
    players = (slice(0, 1), slice(1, 2))
    # <adjusted, z> > 0 pulls a descent towards the fixed point at zero.
    assert bool(((SymplecticGradient(align=False)(field, z, players, 0.1) * z).sum(1) > 0).all())
    assert bool(((SymplecticGradient(align=True)(field, z, players, 0.1) * z).sum(1) < 0).all())


def test_anticipating_descends_at_the_others_next_point() -> None:
    """To first order in alpha: a player's gradient with the other moved by its gradient step."""
    field, alpha = field_of(losses), 1e-5
    z = points()
    found = Anticipating(alpha)(field, z, PLAYERS, 0.1)
    xi = field(z)
    for player, other in (PLAYERS, PLAYERS[::-1]):
        moved = z.clone()
        moved[:, other] -= alpha * xi[:, other]
        torch.testing.assert_close(found[:, player], field(moved)[:, player], rtol=0.0, atol=1e-8)
    at_rate = Anticipating()(field, z, PLAYERS, torch.full((3,), alpha, dtype=torch.float64))
    assert torch.equal(at_rate, found)


def test_lola_differentiates_through_the_others_step() -> None:
    """Foerster et al. 2018: the gradient of L1(x, y - alpha dL2/dy) by x, to first order in alpha."""
    field, alpha = field_of(zero_sum), 1e-5
    z = points()
    found = LOLA(alpha)(field, z, PLAYERS, 0.1)
    for row, point in enumerate(z):
        for number, (player, other) in enumerate((PLAYERS, PLAYERS[::-1])):

            def shaped(p: Tensor, number: int = number, other: slice = other) -> Tensor:
                step = torch.func.grad(lambda q: zero_sum(q)[1 - number])(p)
                mask = torch.zeros_like(p)
                mask[other] = alpha
                return zero_sum(p - mask * step)[number]

            expected = torch.func.grad(shaped)(point)[player]
            torch.testing.assert_close(found[row, player], expected, rtol=0.0, atol=1e-7)


@pytest.mark.parametrize("iterations", [None, 60])
@pytest.mark.parametrize("eta", [0.1, 0.5])
def test_competitive_gradient_is_the_published_formula(iterations: int | None, eta: float) -> None:
    """Schäfer and Anandkumar 2019, equation (4), with losses that do not add up to zero."""
    field, z = field_of(losses), points()
    found = Competitive(eta, iterations=iterations, tolerance=1e-13)(field, z, PLAYERS, 99.0)
    for row, point in enumerate(z):
        xi, j = field(z)[row], jacobian(field, point)
        xy, yx = j[:2, 2:], j[2:, :2]
        by_x = torch.linalg.solve(torch.eye(2).double() - eta**2 * xy @ yx, xi[:2] - eta * xy @ xi[2:])
        by_y = torch.linalg.solve(torch.eye(3).double() - eta**2 * yx @ xy, xi[2:] - eta * yx @ xi[:2])
        torch.testing.assert_close(found[row], torch.cat([by_x, by_y]), rtol=1e-9, atol=1e-11)


def test_conjugate_gradients_stop_row_by_row() -> None:
    """A row takes what it needs, whatever stands beside it."""
    z = points(6)

    def field(z: Tensor) -> Tensor:  # by products of single numbers, which round alike in any batch
        x, y = z[:, :2], z[:, 2:]
        by_x = (A * y[:, None]).sum(2) + x**3
        return torch.cat([by_x, -(A * x[:, :, None]).sum(1) + y**3], dim=1)

    adjust = Competitive(0.4, iterations=4, tolerance=1e-3)
    whole = adjust(field, z, PLAYERS, 0.1)
    for order in ([0, 1], [5, 2, 0], [4, 3, 1, 0]):
        assert torch.equal(adjust(field, z[order], PLAYERS, 0.1), whole[order])
    with pytest.raises(ValueError, match="need the full matrix"):
        adjust(field, z.requires_grad_(), PLAYERS, 0.1)


@pytest.mark.parametrize("adjust", ALL, ids=repr)
@pytest.mark.parametrize("play", [Simultaneous(), Alternating(), Extragradient(), Lookahead(2)], ids=repr)
def test_a_scheme_sees_the_adjusted_field_and_nothing_else(
    adjust: Adjustment, play: Simultaneous | Alternating | Extragradient | Lookahead
) -> None:
    field, rule = field_of(losses), RULES["adam"]
    directly, through = points(), points()
    scheme = Adjusted(adjust, play)
    states = [s.init(points(), rule, {}, PLAYERS) for s in (play, scheme)]
    for _ in range(3):
        directly, states[0] = play.step(
            directly,
            lambda z, _: adjust(field, z, PLAYERS, 0.01),
            states[0],
            rule,
            lr=0.01,
            hyper={},
            players=PLAYERS,
        )
        through, states[1] = scheme.step(
            through, lambda z, _: field(z), states[1], rule, lr=0.01, hyper={}, players=PLAYERS
        )
        assert torch.equal(directly, through)
        assert not through.requires_grad
    assert scheme.evaluations(2) == play.evaluations(2) * (1 + adjust.products(2))


@pytest.mark.parametrize("adjust", ALL[:-1], ids=repr)
def test_adjusted_steps_are_differentiable(adjust: Adjustment) -> None:
    field, rule = field_of(losses), RULES["sgd"]
    scheme = Adjusted(adjust)
    moves = Moves(rule, 0.05, {}, PLAYERS, in_place=False)

    def step(z: Tensor) -> Tensor:
        return scheme.turn(z, lambda p, _: field(p), scheme.init(z, rule, {}, PLAYERS), moves)[0]

    z = points(2).requires_grad_()
    assert torch.autograd.gradcheck(step, (z,))


# What the papers say of the bilinear game x'Ay, whose field is (Ay, -A'x): along a singular value s, in the
# complex coordinate of the pair, the field is multiplication by -is.

KNOWN: dict[str, tuple[Callable[[float], Adjustment], Callable[[float, float], float]]] = {
    # 1 - lr (gamma s^2 - i s)
    "consensus": (lambda lr: Consensus(0.4), lambda lr, s: abs(1 - lr * (0.4 * s * s - 1j * s))),
    # For a bilinear game consensus and the symplectic adjustment are the same.
    "symplectic": (lambda lr: SymplecticGradient(0.4), lambda lr, s: abs(1 - lr * (0.4 * s * s - 1j * s))),
    "anticipating": (lambda lr: Anticipating(), lambda lr, s: abs(1 - lr * (lr * s * s - 1j * s))),
    "lola": (lambda lr: LOLA(), lambda lr, s: abs(1 - lr * (2 * lr * s * s - 1j * s))),
    # z' = z - lr (I + lr F)^-1 F z: |1 / (1 - i lr s)|, the implicit (proximal) step; it converges at any lr.
    "competitive": (lambda lr: Competitive(), lambda lr, s: 1 / math.sqrt(1 + (lr * s) ** 2)),
}


@pytest.mark.parametrize("name", KNOWN)
@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 2.0), st.floats(0.1, 2.0))
def test_rates_on_a_bilinear_game_are_the_papers(name: str, lr: float, s: float) -> None:
    make, rate = KNOWN[name]

    def field(z: Tensor, draw: int) -> Tensor:
        return s * torch.stack([z[:, 1], -z[:, 0]], dim=1)

    players = (slice(0, 1), slice(1, 2))
    scheme, rule = Adjusted(make(lr)), RULES["sgd"]
    z = torch.tensor([[1.0, 0.5], [-0.3, 2.0]], dtype=torch.float64)
    state = scheme.init(z, rule, {}, players)
    for _ in range(3):
        before = z.norm(dim=1)
        z, state = scheme.step(z, field, state, rule, lr=lr, hyper={}, players=players)
        torch.testing.assert_close(
            z.norm(dim=1) / before, torch.full((2,), rate(lr, s)).double(), rtol=1e-6, atol=1e-9
        )
