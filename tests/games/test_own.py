"""Games of one's own: the module's example runs, and games are what their losses and fields say."""

import contextlib
import io
import textwrap
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import games.own
from core.lab.conformance import check_problem
from core.lab.errors import VhatError
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from core.lab.variant import Variant
from core.optim.adjustments import Competitive, Consensus
from games.bilinear import BilinearGame
from games.own import FieldGame, ModuleGame, game_from, game_of
from games.spectrum import Point, predicted_rates

torch.set_num_threads(1)
KEYS = Keys.of(range(3), study="own")
SOFTPLUS = nn.functional.softplus


def gan() -> ModuleGame:
    return game_from(
        (nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1))),
        (
            lambda g, d, z, x: SOFTPLUS(-d(g(z))).mean(),
            lambda g, d, z, x: (SOFTPLUS(-d(x)) + SOFTPLUS(d(g(z)))).mean(),
        ),
        lambda keys: (keys.fold("z").normal(7, 2), 3.0 + keys.fold("x").normal(7, 2)),
    )


def saddle() -> FieldGame:
    return game_of(lambda z: torch.stack([z[1], -z[0]]), (1, 1), equilibrium=torch.zeros(2))


def test_the_example_runs() -> None:
    text = str(games.own.__doc__)
    example = textwrap.dedent(text[text.index("    import torch") : text.index("Any update rule")])
    assert len([line for line in example.splitlines() if line.strip()]) <= 15
    shown, names = io.StringIO(), {}  # type: ignore[var-annotated]
    with contextlib.redirect_stdout(shown):
        exec(example, names)
    assert "adam" in shown.getvalue()
    assert names["saddle"].dim == 2


@pytest.mark.parametrize("game", [gan(), saddle()], ids=["modules", "field"])
def test_own_games_keep_the_contract(game: ModuleGame | FieldGame) -> None:
    check_problem(game, exact=False)


def test_field_holds_every_modules_gradient_of_its_own_loss() -> None:
    game = gan()
    params = game.init(KEYS).double()
    z, x = (t.double() for t in game.sample(KEYS.fold("batch").at(4)))
    values, losses = torch.func.vmap(game._row)(params, z, x)
    for row in range(3):
        g, d = nn.Linear(2, 2).double(), nn.Sequential(nn.Linear(2, 5), nn.Tanh(), nn.Linear(5, 1)).double()
        for module, player in zip((g, d), game.players, strict=True):
            nn.utils.vector_to_parameters(params[row, player], module.parameters())
        expected = []
        for number, module in enumerate((g, d)):
            loss = game.player_losses[number](g, d, z[row], x[row])
            assert losses[row, number].item() == pytest.approx(loss.item(), rel=1e-12)
            expected += [p.flatten() for p in torch.autograd.grad(loss, list(module.parameters()))]
        torch.testing.assert_close(values[row], torch.cat(expected), rtol=1e-10, atol=1e-13)


def test_starts_are_the_modules_own_and_differ_by_seed_and_player() -> None:
    game = gan()
    start = game.init(KEYS)
    assert torch.equal(start, game.init(KEYS))
    assert not torch.equal(start[0], start[1])
    weights = start[:, :4]
    assert weights.abs().max() <= 1 / 2**0.5


@pytest.mark.parametrize("adjust", [None, Consensus(0.3), Competitive()], ids=repr)
def test_a_field_plays_like_the_game_it_is_of(adjust: Any) -> None:
    variant = Variant("m", "momentum", adjust=adjust)
    kept = Recording(points=1, params=True)
    runs = [
        train(game, [Block(variant, slice(0, 3), {"lr": 0.1})], KEYS, steps=30, recording=kept)
        for game in (saddle(), BilinearGame())
    ]
    torch.testing.assert_close(
        torch.from_numpy(runs[0].params), torch.from_numpy(runs[1].params), rtol=1e-10, atol=1e-12
    )


def test_theory_takes_a_field_of_ones_own() -> None:
    game = saddle()
    point = Point(game.mean_field, game.centre, game.players)
    assert predicted_rates(point, Variant("GDA", "sgd"), [0.3])[0] == pytest.approx((1 + 0.09) ** 0.5)


def test_what_does_not_fit_together_is_named() -> None:
    def one(*_: Any) -> Tensor:
        return torch.zeros(())

    with pytest.raises(VhatError, match="1 modules and 2 losses"):
        game_from((nn.Linear(1, 1),), (one, one), lambda keys: ())
    with pytest.raises(VhatError, match="module 0 of the game has no parameters"):
        game_from((nn.Tanh(),), (one,), lambda keys: ())
    with pytest.raises(VhatError, match="keeps buffers"):
        game_from((nn.BatchNorm1d(2),), (one,), lambda keys: ())
    with pytest.raises(VhatError, match="the game fails when it is tried"):
        game_from((nn.Linear(2, 1),), (lambda m, x: m(x),), lambda keys: (keys.normal(4, 3),))
    with pytest.raises(VhatError, match=r"field is \(3,\) a replica; give \(2,\)"):
        game_of(lambda z: torch.cat([z, z[:1]]), (1, 1))
    with pytest.raises(VhatError, match="sizes of at least 1"):
        game_of(lambda z: z, (0, 1))
    with pytest.raises(VhatError, match="the equilibrium has shape"):
        game_of(lambda z: z, (1, 1), equilibrium=torch.zeros(3))
