"""A short film of a policy before and after training, side by side, on the same start.

Classic tasks are drawn from what the agent saw (`rl.drawing`); any other task is played again, action by
action, in Gymnasium's own environment, which draws it.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.lab.errors import VhatError
from core.lab.random import Keys
from rl.agents import Agents
from rl.drawing import PAINTERS, SIZE
from rl.gymnasium_task import ScalarTask, make

SUFFIXES = (".gif", ".png", ".webp")
"""Formats of a film; `.png` is an animated PNG."""

_HEAD = 44
_FRAME_MS = 40


@dataclass(frozen=True)
class Take:
    """One episode.

    Attributes:
        pictures: one a step, the start first.
        earned: `[T]`, the return up to each step.
        over: True if the task ended it, and not the time limit.
    """

    pictures: Sequence[Image.Image]
    earned: Sequence[float]
    over: bool


def take(agent: Agents, keys: Keys) -> Take:
    """One episode of one policy.

    Raises:
        VhatError: if the task cannot be drawn here.
    """
    batch = agent.episodes(1, keys)
    seen, done, earned = batch.first_episode()
    if agent.task.id in PAINTERS:
        pictures = [PAINTERS[agent.task.id](observation) for observation in seen]
    else:
        assert isinstance(agent.task, ScalarTask)
        pictures = _played_again(agent.task, keys, done)
    return Take(pictures, np.cumsum(earned).tolist(), bool(batch.terminated[0, 0]))


def _played_again(task: ScalarTask, keys: Keys, actions: Any) -> list[Image.Image]:
    """The same episode in an environment that draws."""
    seed = int(task.seeds(keys.fold("starts"), 1)[0, 0])
    env = make(task.id, max_episode_steps=task.horizon, render_mode="rgb_array")
    try:
        env.reset(seed=seed)
        pictures = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of graphics libraries, before they raise what counts
            for action in task.native(actions[None])[0]:
                pictures.append(Image.fromarray(env.render()).resize(SIZE, Image.Resampling.LANCZOS))
                env.step(action)
    except Exception as error:  # whatever a graphics library raises
        raise VhatError(f"{task.id} cannot be drawn here: {error}") from error
    finally:
        with contextlib.suppress(Exception):  # a viewer that could not be made cannot be closed either
            env.close()
    return pictures


def film(path: Path, before: Agents, after: Agents, keys: Keys, *, longest: int = 300) -> Path:
    """Write a film of one policy before and after training, on the same start.

    Args:
        path: its suffix is one of `SUFFIXES`.
        before, after: one policy each.
        keys: one row.
        longest: pictures at most; of longer episodes some are left out.

    Raises:
        VhatError: if the task cannot be drawn, the format is not known, or the file cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise VhatError(f"a film is written as {', '.join(SUFFIXES)}, not as {path.name!r}")
    takes = {"before training": take(before, keys), "after training": take(after, keys)}
    steps = max(len(one.pictures) for one in takes.values())
    every = -(-steps // longest)
    frames = [_frame(after.task.id, takes, step) for step in range(0, steps, every)]
    frames += [_frame(after.task.id, takes, steps - 1)] * 25
    shared = frames[0].quantize(64) if path.suffix == ".gif" else None
    kept = [frame.quantize(palette=shared) for frame in frames] if shared is not None else frames
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept[0].save(path, save_all=True, append_images=kept[1:], duration=_FRAME_MS, loop=0)
    except OSError as error:
        raise VhatError(f"cannot write {path}: {error.strerror or error}; choose another place") from error
    return path


def _frame(title: str, takes: dict[str, Take], step: int) -> Image.Image:
    """Both episodes side by side at one step; one that has ended stands still."""
    frame = Image.new("RGB", (SIZE[0] * len(takes), SIZE[1] + _HEAD), "white")
    draw, large, small = ImageDraw.Draw(frame), ImageFont.load_default(15), ImageFont.load_default(12)
    for place, (name, one) in enumerate(takes.items()):
        at, left = min(step, len(one.pictures) - 1), place * SIZE[0]
        ended = step >= len(one.pictures) - 1
        frame.paste(one.pictures[at], (left, _HEAD))
        draw.text((left + 12, 6), f"{title}, {name}", fill="#222222", font=large)
        words = f"step {at + 1}, return {one.earned[at]:.4g}"
        if ended:
            words += ", ended by the task" if one.over else ", time limit"
        draw.text((left + 12, 25), words, fill="#c8553d" if ended and one.over else "#6b6b6b", font=small)
        if place:
            draw.line([(left, 0), (left, SIZE[1] + _HEAD)], "#d9d9d9", 1)
    return frame
