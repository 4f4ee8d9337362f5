"""The benchmark of games compares like with like, and says so where it cannot."""

from pathlib import Path
from types import ModuleType

import pytest
import torch

from core.lab.errors import VhatError
from core.lab.random import Keys
from core.lab.run import Recording
from core.lab.train import Block, train
from games.gan import mixture_gan
from tests.script_modules import script_module

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "bench" / "gan_throughput.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The script as a module."""
    return script_module(SCRIPT)


@pytest.mark.parametrize("name", ["xy", "xy, alternating", "10 x 10", "10 x 10, consensus"])
def test_the_loop_plays_the_lab_s_game(bench: ModuleType, name: str) -> None:
    game, variant = bench.LINEAR[name]
    keys = Keys.of(range(2))
    blocks = [Block(variant, slice(0, 2), {"lr": bench.LR})]
    run = train(game, blocks, keys, steps=20, recording=Recording(points=1, params=True))
    assert run.params is not None
    reached = bench.linear_loop(game, variant)(20)
    torch.testing.assert_close(reached, torch.from_numpy(run.params[0]), rtol=1e-9, atol=1e-12)


def test_the_loop_s_networks_have_the_lab_s_sizes(bench: ModuleType) -> None:
    gan = mixture_gan(width=16)
    for network in (gan.generator, gan.discriminator):
        assert sum(p.numel() for p in bench.network(network.sizes).parameters()) == network.size
    bench.gan_loop(gan)(2)


def test_goals_are_among_the_cases(bench: ModuleType) -> None:
    args = bench.Args()
    assert {case for case, _ in bench.GOALS} <= set(args.gans)
    assert {r for _, r in bench.GOALS} <= set(args.replicas)
    assert set(bench.LINEAR_GOALS) <= set(args.linear) <= set(bench.LINEAR)
    assert {r for goals in bench.LINEAR_GOALS.values() for r in goals} <= set(args.linear_replicas)


@pytest.mark.parametrize("case", ["16", "16/x", "0/64", "16/64/2"])
def test_a_case_that_is_none_is_named(bench: ModuleType, case: str) -> None:
    with pytest.raises(VhatError, match="width/batch"):
        bench.sizes_of(case)
