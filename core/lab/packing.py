"""What a shard of a sweep holds: settings by seeds, laid row by row, and cut apart again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from core.lab.experiment import Payload, Spec
from core.lab.run import Run
from core.lab.train import Block
from core.lab.variant import Setting, Variant


def blocks_of(
    rows: list[dict[str, Any]], variants: Mapping[str, Variant], seeds: int, device: str
) -> list[Block]:
    """One block a variant: its settings, setting by setting over the seeds; neighbouring rows of a variant
    join."""
    blocks: list[Block] = []
    start = 0
    while start < len(rows):
        name = rows[start]["variant"]
        stop = start
        while stop < len(rows) and rows[stop]["variant"] == name:
            stop += 1
        settings = [row["setting"] for row in rows[start:stop]]
        hyper = {
            key: torch.tensor(
                [s[key] for s in settings], dtype=torch.float64, device=device
            ).repeat_interleave(seeds)
            for key in settings[0]
        }
        blocks.append(Block(variants[name], slice(start * seeds, stop * seeds), hyper))
        start = stop
    return blocks


def split(spec: Spec, payloads: list[Payload]) -> list[tuple[str, Setting, Run]]:
    """The shards of one stage, cut by row of the spec and joined over their blocks of seeds."""
    runs = [Run.from_arrays(p) for p in payloads]
    counts = [len(run.diverged_at) // len(spec["rows"]) for run in runs]
    return [
        (
            row["variant"],
            row["setting"],
            Run.join([run.rows(slice(i * n, (i + 1) * n)) for run, n in zip(runs, counts, strict=True)]),
        )
        for i, row in enumerate(spec["rows"])
    ]
