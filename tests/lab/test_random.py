"""Keyed randomness: the same question has the same answer; the answers are uniform, normal, unbiased,
independent."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.lab.random import Keys

KINDS = {
    "uniform": lambda k: k.uniform(3, 2),
    "uniform64": lambda k: k.uniform(5, dtype=torch.float64),
    "normal": lambda k: k.normal(7),
    "normal64": lambda k: k.normal(3, 3, dtype=torch.float64),
    "normal of odd count in bfloat16": lambda k: k.normal(1, dtype=torch.bfloat16),
    "integers": lambda k: k.integers(1000, 4),
    "signs": lambda k: k.signs(64),
    "stream": lambda k: k.fold("batch").fold(3).at(17).normal(4),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_row_has_the_same_bits_in_any_batch_and_order(kind: str) -> None:
    draw = KINDS[kind]
    whole = draw(Keys.of(range(50)))
    assert torch.equal(whole, draw(Keys.of(range(50))))
    for seeds in ([49, 3, 17], [0], [7, 7, 8], list(range(20, 50))):
        assert torch.equal(draw(Keys.of(seeds)), whole[seeds])
        assert torch.equal(draw(Keys.of(range(50)).rows(torch.tensor(seeds))), whole[seeds])
    assert torch.equal(draw(Keys.of(range(50)).rows(slice(4, 9))), whole[4:9])


@pytest.mark.parametrize("kind", KINDS)
def test_copies_share_the_draws_of_their_seed(kind: str) -> None:
    draw = KINDS[kind]
    copies = draw(Keys.of([5, 2, 9], copies=4))
    once = draw(Keys.of([5, 2, 9]))
    assert torch.equal(copies, once.repeat(4, *(1 for _ in once.shape[1:])))
    assert torch.equal(Keys.of([5, 2, 9], copies=4).spread(once), copies)
    assert len(Keys.of([5, 2, 9], copies=4)) == 12
    assert len(Keys.of([5, 2, 9], copies=4).distinct()) == 3


def test_streams_steps_seeds_and_studies_differ() -> None:
    keys = Keys.of(range(3))
    streams = [
        keys,
        keys.fold("a"),
        keys.fold("b"),
        keys.fold(1),
        keys.fold("1"),
        keys.fold("a").fold("b"),
        keys.fold("b").fold("a"),
        keys.at(0),
        keys.at(1),
        keys.at(0).at(0),
        Keys.of(range(3), study="other"),
        Keys.of(range(3, 6)),
    ]
    words = torch.cat([k.words for k in streams])
    assert len(set(words.tolist())) == 3 * len(streams)
    draws = torch.cat([k.normal(32, dtype=torch.float64) for k in streams])
    assert len(set(draws.flatten().tolist())) == draws.numel()
    correlation = torch.corrcoef(draws).fill_diagonal_(0.0)
    # Of 630 correlations of 32 normals, the largest is about 3.2 / sqrt(32) = 0.57.
    assert correlation.abs().max() < 0.75


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("across", ["positions", "seeds", "steps"])
def test_draws_are_uniform_and_normal(dtype: torch.dtype, across: str) -> None:
    n = 20_000
    if across == "positions":
        u, z = (f(n, dtype=dtype)[0] for f in (Keys.of([3]).uniform, Keys.of([3]).fold("z").normal))
    elif across == "seeds":
        keys = Keys.of(range(n))
        u, z = keys.uniform(dtype=dtype), keys.fold("z").normal(dtype=dtype)
    else:
        keys = Keys.of([3])
        u = torch.cat([keys.at(t).uniform(20, dtype=dtype)[0] for t in range(n // 20)])
        z = torch.cat([keys.fold("z").at(t).normal(20, dtype=dtype)[0] for t in range(n // 20)])
    assert u.dtype == z.dtype == dtype
    assert u.shape == z.shape == (n,)
    assert stats.kstest(u.double().numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(z.double().numpy(), "norm").pvalue > 1e-3
    z = z.double()
    bound = 4.0 / n**0.5
    assert abs(z.mean()) < bound
    assert abs(z.var() - 1) < bound * 2**0.5
    assert abs((z**3).mean()) < bound * 15**0.5
    assert abs((z**4).mean() - 3) < bound * 96**0.5
    assert abs((z[1:] * z[:-1]).mean()) < bound


def test_the_two_halves_of_a_pair_are_uncorrelated() -> None:
    z = Keys.of(range(4)).normal(10_000, dtype=torch.float64)
    first, second = z[:, :5000].flatten(), z[:, 5000:].flatten()
    for a, b in ((first, second), (first**2, second**2), (first.abs(), second)):
        assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 4 / 20_000**0.5


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bits", [0, -1, 1 << 63 - 1, -(1 << 63), 0xFFFFFFFF])
def test_the_most_extreme_words_give_draws_inside_the_interval(
    dtype: torch.dtype, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Keys, "_bits", lambda self, *shape: torch.full((1, *shape), bits, dtype=torch.int64))
    keys = Keys.of([0])
    u, z = keys.uniform(4, dtype=dtype), keys.normal(4, dtype=dtype)
    assert bool(((u > 0) & (u < 1)).all())
    assert bool(torch.isfinite(z).all())
    assert float(z.abs().max()) <= (8.7 if dtype == torch.float64 else 5.8)
    assert keys.integers(7, 4).min() >= 0
    assert keys.integers(7, 4).max() <= 6
    assert bool((keys.signs(4, dtype=dtype).abs() == 1).all())


@pytest.mark.parametrize("high", [2, 3, 10, 97])
def test_integers_are_unbiased(high: int) -> None:
    drawn = Keys.of(range(100)).integers(high, 500)
    assert drawn.min() == 0
    assert drawn.max() == high - 1
    assert stats.chisquare(torch.bincount(drawn.flatten(), minlength=high).numpy()).pvalue > 1e-3


def test_signs_are_unbiased() -> None:
    signs = Keys.of(range(100)).signs(1000, dtype=torch.float64)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert abs(signs.mean()) < 4 / 100_000**0.5


def test_generator_seeds_are_shared_as_the_rows_share_seeds() -> None:
    seeds = Keys.of(range(100), copies=2).generator_seeds()
    assert seeds[:100] == seeds[100:]
    assert len(set(seeds)) == 100
    assert all(0 <= s < 2**31 for s in seeds)
    assert all(type(s) is int for s in seeds)


@given(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=8), st.integers(0, 2**40), st.text())
def test_any_seed_step_and_stream_is_taken(seeds: list[int], step: int, stream: str) -> None:
    draw = Keys.of(seeds).fold(stream).at(step).normal(3)
    assert torch.equal(draw[0], Keys.of(seeds[:1]).fold(stream).at(step).normal(3)[0])
    assert bool(torch.isfinite(draw).all())


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        Keys.of([])
    with pytest.raises(ValueError, match="one copy"):
        Keys.of([1], copies=0)
    with pytest.raises(ValueError, match="high >= 1"):
        Keys.of([1]).integers(0)
