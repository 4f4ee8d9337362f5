"""A store with known rows, and what is left of them after damage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.lab.errors import StoreError
from core.lab.experiment import Payload
from core.lab.store import Store


def equal(a: Payload, b: Payload) -> bool:
    return a.keys() == b.keys() and all(
        a[k].dtype == b[k].dtype and a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a
    )


def fill(path: Path, rows: int = 12) -> dict[int, Payload]:
    rng = np.random.default_rng(0)
    payloads = {i: {"v": rng.normal(size=(60, 8)), "i": np.array([i])} for i in range(rows)}
    store = Store(path)
    for i, payload in payloads.items():
        store.put("study", {"row": i, "text": "x" * 50}, "code", payload, 1.0)
    store.close()
    return payloads


def check(path: Path, payloads: dict[int, Payload]) -> tuple[int, list[str]]:
    """Open, read everything, write what is missing, read again. How many rows survived, and what was said."""
    said: list[str] = []
    for _ in range(2):
        try:
            store = Store(path, notify=said.append)
        except StoreError as error:
            return 0, [*said, str(error)]
        try:
            survived = 0
            for i, payload in payloads.items():
                found = store.get("study", {"row": i, "text": "x" * 50}, "code")
                if found is None:
                    store.put("study", {"row": i, "text": "x" * 50}, "code", payload, 1.0)
                else:
                    assert equal(found, payload), "a damaged row was taken for a sound one"
                    survived += 1
            for shard in store.shards("study"):
                assert (shard.study, shard.code, shard.seconds) == ("study", "code", 1.0)
        except StoreError as error:
            said.append(str(error))
            store.close()
            continue
        store.close()
        return survived, said
    return 0, said
