"""Changed files: a few bytes, or, where a file is JSON, a few values."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

VALUES: tuple[object, ...] = (
    None, True, -1, 0, 10**400, 2**63, 1e308, float("nan"), float("inf"), "", "x" * 5000,
    "<script>alert(1)</script>", "\x1b[31m", "\u202e", "line\nline", "\ud800", "../../etc/passwd",
    [], {}, [[]], {"a": 1}, "nul\0",
)  # fmt: skip


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to four damages of any kind; sometimes nothing but random bytes."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(0, 2 * len(data)))
    for _ in range(rng.randrange(1, 5)):
        at, kind = rng.randrange(len(data) or 1), rng.randrange(6)
        length = rng.randrange(1, 40)
        if kind == 0 and data:
            data = data[:at] + bytes([data[at] ^ (1 << rng.randrange(8))]) + data[at + 1 :]
        elif kind == 1:
            data = data[:at] + rng.randbytes(length) + data[at + length :]
        elif kind == 2:
            data = data[:at] + data[at + length :]
        elif kind == 3:
            data = data[:at] + data[max(0, at - length) : at] + data[at:]
        elif kind == 4:
            data = data[:at]
        else:
            data = (
                data[:at]
                + rng.choice((b"\0", b"\xff\xfe", b"1e999", b"-1", b'"', b"\n", b",,", b"nan"))
                + data[at:]
            )
    return data


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, own in items:
        yield (*path, key)
        yield from _places(own, (*path, key))


def changed_values(text: str, rng: random.Random) -> bytes:
    """The JSON with one to three values replaced, removed or added; it may be text that is no UTF-8."""
    value = copy.deepcopy(json.loads(text))
    for _ in range(rng.randrange(1, 4)):
        places = list(_places(value))
        if not places:
            break
        *path, last = rng.choice(places)
        holder = value
        for key in path:
            holder = holder[key]
        kind = rng.randrange(4)
        if kind == 0:
            del holder[last]
        elif kind == 1 and isinstance(holder, dict):
            holder[rng.choice(("surprise", "\ud800", "<b>"))] = rng.choice(VALUES)
        else:
            holder[last] = rng.choice(VALUES)
    return json.dumps(value, ensure_ascii=rng.random() < 0.8).encode("utf-8", errors="surrogatepass")
