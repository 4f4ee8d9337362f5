"""A sweep that keeps of each reported path how it swings, and not the path itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from core.lab.experiment import Payload, Spec
from core.lab.run import Run
from core.lab.sweep import Sweep
from games.orbit import turning
from games.oscillation import spectral_peak

KEPT = 60
"""About so many distances of a path are kept, to draw it."""
MEASURES = ("turns", "growth", "peak", "share")


@dataclass(frozen=True)
class SwingSweep(Sweep):
    """A sweep over games that measure `distance` and `angle`; its recording takes in every turn.

    A reported run keeps its distances at some of the recorded steps, the last among them, and what the whole
    path says of its swing (see `swing`). All paths of a study would fill fifty megabytes.
    """

    def run(self, spec: Spec, *, device: str) -> Payload:
        """Train the rows of one shard; of a reported path keep its swing."""
        payload = super().run(spec, device=device)
        return payload if spec["stage"] == "tune" else _condensed(Run.from_arrays(payload)).to_arrays()


def swing(run: Run) -> dict[str, np.ndarray]:
    """`[R]` each: `turns` and spectral `peak` in turns of 1,000 steps (without their signs), `growth` of log
    radius a turn, and `share` of the power at the peak."""
    return {name: run.state[name][:, 0] for name in MEASURES}


def _condensed(run: Run) -> Run:
    distance, angle = run.curves["distance"], run.curves["angle"]
    spacing = float(run.steps[1] - run.steps[0])
    turns, growth = turning(distance, angle)
    peak, share = spectral_peak(angle, spacing)
    columns = (1000.0 * np.abs(turns) / spacing, growth, 1000.0 * np.abs(peak), share)
    last = len(run.steps) - 1
    kept = np.unique(np.append(np.arange(0, last, max(1, last // KEPT)), last))
    return replace(
        run,
        steps=run.steps[kept],
        curves={"distance": distance[:, kept]},
        state={name: column[:, None] for name, column in zip(MEASURES, columns, strict=True)},
    )
