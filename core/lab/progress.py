"""Progress for people, in one place: a bar with the time left on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Protocol, Self

from tqdm import tqdm


class Progress(Protocol):
    """What a run tells about itself."""

    def expect(self, cost: float) -> None:
        """More work has become known."""

    def advance(self, cost: float, label: str) -> None:
        """Work is done."""

    def note(self, message: str) -> None:
        """A line that stays."""


class Quiet:
    """Says nothing but notes, which go to `notes`."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def expect(self, cost: float) -> None:
        """Ignored."""

    def advance(self, cost: float, label: str) -> None:
        """Ignored."""

    def note(self, message: str) -> None:
        """Kept."""
        self.notes.append(message)


class Bar:
    """A bar on standard error if that is a terminal; notes are lines there in any case."""

    def __init__(self, title: str) -> None:
        self._bar: tqdm[Any] = tqdm(
            total=0,
            desc=title,
            file=sys.stderr,
            disable=None,
            dynamic_ncols=True,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed} gone, {remaining} left  {postfix}",
        )

    def expect(self, cost: float) -> None:
        """Lengthen the bar."""
        if not self._bar.disable:
            self._bar.total = (self._bar.total or 0) + cost
            self._bar.refresh()

    def advance(self, cost: float, label: str) -> None:
        """Move the bar."""
        self._bar.set_postfix_str(label, refresh=False)
        self._bar.update(cost)

    def note(self, message: str) -> None:
        """Write a line above the bar."""
        tqdm.write(message, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
