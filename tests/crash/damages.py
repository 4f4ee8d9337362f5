"""Ways to damage the bytes of a file."""

from __future__ import annotations

import random
from collections.abc import Callable

Damage = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def flip_early(data: bytes, rng: random.Random) -> bytes:
    """In the first page, where most bytes mean something to all the rest."""
    damaged = bytearray(data)
    damaged[rng.randrange(min(len(data), 4096))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def append(data: bytes, rng: random.Random) -> bytes:
    return data + rng.randbytes(rng.randrange(1, 9000))


def zero(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    length = min(rng.randrange(1, 5000), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def garble(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    length = min(rng.randrange(1, 600), len(data) - start)
    return data[:start] + rng.randbytes(length) + data[start + length :]


def swap(data: bytes, rng: random.Random) -> bytes:
    """Two blocks of a disk in each other's place."""
    size = 4096 if len(data) > 3 * 4096 else max(1, len(data) // 4)
    a, b = sorted(rng.sample(range(len(data) // size), 2))
    first, second = data[a * size : (a + 1) * size], data[b * size : (b + 1) * size]
    return data[: a * size] + second + data[(a + 1) * size : b * size] + first + data[(b + 1) * size :]


def insert(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + rng.randbytes(rng.randrange(1, 50)) + data[start:]


DAMAGES: dict[str, Damage] = {
    f.__name__: f for f in (flip, flip_early, truncate, append, zero, garble, swap, insert)
}
