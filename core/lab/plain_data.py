"""Plain data from files that anybody may have written: read with care, refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from core.lab.errors import one_line

MOST_BYTES = 4 * 2**20
"""Of a file that is read: ours have some kilobytes."""
_KINDS: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float), "bool": (bool,)}
REFUSALS = (OSError, ValueError, TypeError, KeyError, RecursionError, OverflowError)
"""What reading such data raises; `reason` says it in a line."""


def reason(error: Exception) -> str:
    """An error's message as the end of a sentence: one short line that any terminal can show."""
    return one_line(str(error))[:120] or "damaged"


def read_object(path: Path, form: str) -> dict[str, Any]:
    """The JSON object in a file, whose entry `format` must be `form`; that entry is left out.

    Raises:
        OSError, ValueError, RecursionError: if there is none.
    """
    if path.stat().st_size > MOST_BYTES:
        raise ValueError("it is too large")
    loaded = json.loads(path.read_text("utf-8"))
    if not isinstance(loaded, dict) or loaded.pop("format", None) != form:
        raise ValueError(f"its format is not {form!r}")
    for text in _texts(loaded):
        if any(not c.isprintable() and c not in "\n\t" for c in text):
            raise ValueError("it holds characters that cannot be shown")
    return loaded


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, own in value.items():
            yield key
            yield from _texts(own)
    elif isinstance(value, list):
        for own in value:
            yield from _texts(own)


def listed(value: Any) -> list[Any]:
    """A list.

    Raises:
        ValueError: if it is none.
    """
    if not isinstance(value, list):
        raise ValueError("a list is missing")
    return value


def built(kind: type[Any], values: Any) -> Any:
    """A dataclass from plain data, its plain fields checked for their types.

    Raises:
        ValueError, TypeError: if a field is missing, unknown, or of another type.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{kind.__name__.lower()} is missing")
    for own in fields(kind):
        expected = _KINDS.get(str(own.type).removesuffix(" | None"))
        value = values.get(own.name)
        if value is None and str(own.type).endswith("None"):
            continue
        if expected and (
            not isinstance(value, expected) or (isinstance(value, bool) != (expected == (bool,)))
        ):
            raise ValueError(f"{own.name} of the {kind.__name__.lower()} is {value!r}")
    unknown = set(values) - {own.name for own in fields(kind)}
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}")
    return kind(**values)
