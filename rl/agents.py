"""Trained policies as files: saved, loaded, and put to the test again.

A file is a numpy archive of plain arrays (no pickle): the parameters of R policies of one task, the task's
name and time limit, and the policies' sizes.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core.lab.errors import VhatError
from core.lab.random import Keys
from rl.arrays import Floats
from rl.environments import task
from rl.episodes import Task
from rl.gaussian import GaussianMLP
from rl.policies import CategoricalMLP, Policy
from rl.rollout import Batch, rollout

_FORMAT = 1


@dataclass(frozen=True)
class Agents:
    """R policies of one kind for one task.

    Attributes:
        task: what they play.
        policy: their kind and sizes.
        params: `[R, D]`.
    """

    task: Task
    policy: Policy
    params: Floats

    def episodes(self, episodes: int, keys: Keys) -> Batch:
        """Whole episodes of each policy, on the keys of R rows (see `rl.rollout.rollout`)."""
        return rollout(self.policy, torch.from_numpy(self.params), self.task, keys, episodes)

    def only(self, row: int) -> Agents:
        """One of the policies."""
        return Agents(self.task, self.policy, self.params[row : row + 1])

    def fresh(self, keys: Keys) -> Agents:
        """Policies of the same kind before any training."""
        dtype = torch.from_numpy(self.params).dtype
        return Agents(self.task, self.policy, self.policy.init(keys, dtype).cpu().numpy())

    def save(self, path: Path) -> Path:
        """Write the file, `.npz` added where it has no suffix.

        Raises:
            VhatError: if it cannot be written.
        """
        path = path if path.suffix else path.with_suffix(".npz")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                np.savez(
                    file,
                    format=np.array(_FORMAT),
                    task=np.array(self.task.id),
                    horizon=np.array(self.task.horizon),
                    sizes=np.array(self.policy.sizes),
                    params=self.params,
                )
        except OSError as error:
            raise VhatError(f"cannot write {path}: {error.strerror}; choose another place") from error
        return path


def load(path: Path) -> Agents:
    """The policies in a file.

    Raises:
        VhatError: if it cannot be read, is no such file, or does not fit the task it names.
    """
    try:
        with np.load(path, allow_pickle=False) as found:
            kept = {name: found[name] for name in ("format", "task", "horizon", "sizes", "params")}
    except OSError as error:
        reason = error.strerror or "it is no file of saved policies"
        raise VhatError(f"cannot read {path}: {reason}") from error
    except (ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise VhatError(f"{path} is no file of saved policies; one is written with --save") from error
    if kept["format"].shape != () or kept["format"] != _FORMAT:
        raise VhatError(f"{path} was written by another version of vhat, and cannot be read by this one")
    params = kept["params"]
    played = task(str(kept["task"]), int(kept["horizon"]))
    sizes = tuple(int(x) for x in kept["sizes"])
    policy: Policy = CategoricalMLP(sizes) if played.discrete else GaussianMLP(sizes)
    fits = (sizes[0], sizes[-1]) == (played.observation_size, played.actions)
    if not fits or params.ndim != 2 or params.shape[1] != policy.dim or params.dtype.kind != "f":
        raise VhatError(f"the policies in {path} (sizes {sizes}) do not fit {played.id}")
    return Agents(played, policy, params)
