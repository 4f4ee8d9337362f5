"""What a store holds of a study, as bits: runs that came to the same end hold the same."""

from __future__ import annotations

from core.lab.store import Store


def stored_rows(store: Store, study: str = "tiny-bowl") -> dict[str, bytes]:
    """Every row's names, types, shapes and bits by address, without how long it took."""
    found = {}
    for shard in store.shards(study):
        payload = store.get(shard.study, shard.spec, shard.code)
        assert payload is not None
        found[shard.address] = b"".join(
            f"{k}{v.dtype}{v.shape}".encode() + v.tobytes() for k, v in sorted(payload.items())
        )
    return found
