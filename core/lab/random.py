"""Keyed randomness: a draw is a function of (seed, stream, step, position), with no generator state to keep.

Counter mode over splitmix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators"):
the key of a row is a 64-bit word, and the i-th draw is `mix(key + (i + 1) * GOLDEN)`. Nothing is consumed, so
the same question always has the same answer, in any batch, order, process, or after any interruption.

All variants that share a seed share its draws. `Keys` keeps the distinct seeds once and an index from rows to
seeds, so that a sweep of V variants over S seeds pays for S draws, not V * S.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB


def _signed(word: int) -> int:
    """The int64 with the same bits as an unsigned 64-bit word."""
    word &= 0xFFFFFFFFFFFFFFFF
    return word - (1 << 64) if word >= 1 << 63 else word


def _shift_xor_(z: Tensor, bits: int) -> Tensor:
    # torch's int64 shift is arithmetic; the mask makes it logical.
    return z.bitwise_xor_((z >> bits).bitwise_and_((1 << (64 - bits)) - 1))


def _mix_(z: Tensor) -> Tensor:
    """The splitmix64 finaliser, in place on an int64 tensor (wrap-around arithmetic)."""
    _shift_xor_(z, 30).mul_(_signed(_MIX_1))
    _shift_xor_(z, 27).mul_(_signed(_MIX_2))
    return _shift_xor_(z, 31)


@lru_cache(maxsize=256)
def _word(name: str | int) -> int:
    """A 64-bit word for a stream's name; integers and strings never collide by accident."""
    tag = f"{type(name).__name__}:{name}".encode()
    return int.from_bytes(hashlib.sha256(tag).digest()[:8], "little")


@dataclass(frozen=True)
class Keys:
    """The randomness of R rows.

    Attributes:
        words: int64 `[S]`, the key of each distinct seed.
        index: int64 `[R]`, the seed that each row uses; None means that row r uses seed r (R = S).
    """

    words: Tensor
    index: Tensor | None = None

    @classmethod
    def of(
        cls, seeds: Sequence[int], *, study: str = "", device: torch.device | str = "cpu", copies: int = 1
    ) -> Keys:
        """Keys for `copies` blocks of the given seeds (rows ordered copy by copy), in the namespace `study`.

        Raises:
            ValueError: with no seed, a seed that is no whole number, or with fewer than one copy.
        """
        if any(not hasattr(s, "__index__") for s in seeds):
            raise ValueError(f"seeds are whole numbers, got {list(seeds)[:3]}")
        if not seeds or copies < 1:
            raise ValueError("keys need at least one seed and one copy")
        base = _word(study)
        words = torch.tensor([_signed(base + int(s) * _GOLDEN) for s in seeds], dtype=torch.int64)
        keys = cls(_mix_(words).to(device))
        return (
            keys if copies == 1 else cls(keys.words, torch.arange(len(seeds), device=device).repeat(copies))
        )

    def __len__(self) -> int:
        return int(self.words.shape[0] if self.index is None else self.index.shape[0])

    @property
    def device(self) -> torch.device:
        """Where the keys lie."""
        return self.words.device

    def rows(self, rows: Tensor | slice) -> Keys:
        """The keys of some of the rows, in their order."""
        index = torch.arange(len(self), device=self.device) if self.index is None else self.index
        return Keys(self.words, index[rows])

    def distinct(self) -> Keys:
        """One row a distinct seed: for draws that are made once and then `spread` over the rows."""
        return Keys(self.words)

    def spread(self, values: Tensor) -> Tensor:
        """Values `[S, ...]`, one a distinct seed, as `[R, ...]`, one a row."""
        return values if self.index is None else values.index_select(0, self.index)

    def fold(self, name: str | int) -> Keys:
        """An independent stream: for another purpose (`fold("noise")`) or another draw (`fold(1)`)."""
        return Keys(_mix_(self.words ^ _signed(_word(name))), self.index)

    def at(self, step: int) -> Keys:
        """The stream of one step of training."""
        return Keys(_mix_(self.words + _signed((step + 1) * _GOLDEN)), self.index)

    def between(self, first: int, stop: int) -> Keys:
        """The streams of several steps at once, step by step over the distinct seeds: `[steps * S]` rows."""
        offsets = [_signed((step + 1) * _GOLDEN) for step in range(first, stop)]
        steps = torch.tensor(offsets, dtype=torch.int64, device=self.device)
        return Keys(_mix_((self.words + steps[:, None]).view(-1)))

    def _bits(self, *shape: int) -> Tensor:
        """int64 `[S, *shape]`, all 64 bits random."""
        n = math.prod(shape)
        counter = torch.arange(1, n + 1, dtype=torch.int64, device=self.device).mul_(_signed(_GOLDEN))
        return _mix_(self.words[:, None] + counter).view(-1, *shape)

    def _unit(self, *shape: int) -> Tensor:
        """float64 `[S, *shape]`: the midpoints of 2^52 equal parts of the open interval (0, 1)."""
        # Not 2^53: from a half upwards their midpoints are not float64, and the last one would round to 1.
        top = (self._bits(*shape) >> 12).bitwise_and_((1 << 52) - 1)
        return top.to(torch.float64).add_(0.5).mul_(2.0**-52)

    def uniform(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """`[R, *shape]`, uniform on (0, 1) in float64, rounded to a number of `dtype` that is neither 0 nor
        1."""
        info = torch.finfo(dtype)
        return self.spread(self._unit(*shape).to(dtype).clamp_(info.smallest_normal, 1.0 - info.eps / 2))

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """`[R, *shape]`, standard normal by Box and Muller (1958).

        float64 is computed from two words a pair, at 52 bits; every other dtype is rounded from float32,
        computed from the two halves of one word (the largest magnitude is then 5.8).
        """
        n = math.prod(shape)
        pairs = (n + 1) // 2
        # Contiguous operands only: torch rounds log and cos differently in strided loops.
        if dtype == torch.float64:
            unit = self._unit(2 * pairs)
            first, second = unit[:, :pairs].contiguous(), unit[:, pairs:].contiguous()
        else:
            word = self._bits(pairs)
            first = (word >> 32).to(torch.float32).add_(2.0**31 + 0.5).mul_(2.0**-32)
            second = word.bitwise_and_(0xFFFFFFFF).to(torch.float32).mul_(2.0**-32)
            first.clamp_(max=1.0 - 2.0**-24)
        # log1p(-u) is log of a uniform as well, and many times faster than torch's float64 log.
        radius = first.neg_().log1p_().mul_(-2.0).sqrt_()
        angle = second.mul_(2.0 * math.pi)
        both = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return self.spread(both[:, :n].to(dtype).reshape(-1, *shape))

    def integers(self, high: int, *shape: int) -> Tensor:
        """int64 `[R, *shape]`, uniform on {0, ..., high - 1} (bias below high * 2^-52).

        Raises:
            ValueError: for a `high` below 1.
        """
        if high < 1:
            raise ValueError(f"integers need high >= 1, got {high}")
        return self.spread(self._unit(*shape).mul_(high).to(torch.int64).clamp_(max=high - 1))

    def signs(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """`[R, *shape]`, -1 or +1 with equal probability."""
        return self.spread((self._bits(*shape) >> 63).mul_(2).add_(1).to(dtype))

    def generator_seeds(self) -> list[int]:
        """A seed in [0, 2^31) for each row, for libraries that own their generator; shared as the rows share
        seeds."""
        return [int(s) for s in self.spread(self._unit(1).mul_(2**31).to(torch.int64))[:, 0].tolist()]
