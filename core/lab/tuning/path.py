"""What searches have tried, in the order in which they paid for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Path:
    """G searches side by side: rounds of S settings each.

    Attributes:
        settings: by name `[rounds, G, S]`.
        losses: on the tuning seeds `[rounds, G, S]`; not finite where trainings diverged.
        cost: of a round, in plain trainings of one setting on all tuning seeds.
    """

    settings: Mapping[str, Tensor]
    losses: Tensor
    cost: int

    def costs(self) -> Tensor:
        """What had been paid after each round, `[rounds]`."""
        return self.cost * torch.arange(1, len(self.losses) + 1)

    def best(self, rounds: int | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """The setting of lowest loss of each search in its first rounds (all if None): by name `[G]`, and its
        loss `[G]`, which is infinite where every training diverged."""
        losses = self.losses[:rounds]
        flat = torch.where(losses.isfinite(), losses, torch.inf).transpose(0, 1).flatten(1)
        place = flat.argmin(dim=1, keepdim=True)
        settings = {
            name: value[:rounds].transpose(0, 1).flatten(1).gather(1, place)[:, 0]
            for name, value in self.settings.items()
        }
        return settings, flat.gather(1, place)[:, 0]
