"""Trained policies as files: saved, loaded, and put to the test again.

A file is a numpy archive of plain arrays (no pickle): the parameters of R policies of one task, the task's
name and time limit, and the policies' sizes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from core.lab.errors import VhatError
from core.lab.random import Keys
from core.lab.staging import write_whole
from rl.arrays import Floats
from rl.environments import task
from rl.episodes import Task
from rl.gaussian import GaussianMLP
from rl.policies import CategoricalMLP, Policy
from rl.rollout import Batch, rollout

_FORMAT = 1
_LARGEST = 10_000_000
"""Size of a layer and steps of an episode: what is larger is damage."""


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
        archive = io.BytesIO()
        np.savez(
            archive,
            format=np.array(_FORMAT),
            task=np.array(self.task.id),
            horizon=np.array(self.task.horizon),
            sizes=np.array(self.policy.sizes),
            params=self.params,
        )
        try:
            write_whole(path, archive.getvalue())
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
    except Exception as error:
        # A damaged archive leads numpy and zipfile to errors of all kinds: it is said to be encrypted, packed
        # by a method that nobody knows, or larger than the memory.
        raise VhatError(f"{path} is no file of saved policies; one is written with --save") from error
    if kept["format"].shape != () or kept["format"] != _FORMAT:
        raise VhatError(f"{path} was written by another version of vhat, and cannot be read by this one")
    params = kept["params"]
    try:
        named, horizon, sizes = str(kept["task"]), int(kept["horizon"]), tuple(map(int, kept["sizes"]))
    except (TypeError, ValueError, OverflowError) as error:
        raise VhatError(f"{path} names no task and sizes; one is written with --save") from error
    if len(sizes) < 2 or not all(0 < size <= _LARGEST for size in (*sizes, horizon)):
        raise VhatError(f"the policies in {path} have sizes {sizes} and horizon {horizon}, which none has")
    played = task(named, horizon)
    policy: Policy = CategoricalMLP(sizes) if played.discrete else GaussianMLP(sizes)
    fits = (sizes[0], sizes[-1]) == (played.observation_size, played.actions)
    if not fits or params.ndim != 2 or params.shape[1] != policy.dim or params.dtype.kind != "f":
        raise VhatError(f"the policies in {path} (sizes {sizes}) do not fit {played.id}")
    if not np.isfinite(params).all():
        raise VhatError(f"the policies in {path} are not finite")
    return Agents(played, policy, params)
