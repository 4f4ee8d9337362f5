"""A cache of fetched prices on disk: one text file a ticker, span and adjustment, checked by its SHA-256."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from core.lab.errors import VhatError
from core.lab.staging import write_whole
from finance.prices import Series

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """What was asked for: a ticker's closing prices.

    Attributes:
        ticker: as the source calls it.
        start, end: the first and the last day, ISO, both included.
        adjustment: what the prices are adjusted for.
    """

    ticker: str
    start: str
    end: str
    adjustment: str


@dataclass(frozen=True, eq=False)
class Stored:
    """What was fetched.

    Attributes:
        series: days `[T]` and closing prices `[T]`.
        fetched: the day on which they were, ISO.
    """

    series: Series
    fetched: str


def default_directory() -> Path:
    """Where fetched prices are kept: $VHAT_CACHE, else the user's cache directory."""
    if own := os.environ.get("VHAT_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "vhat" / "prices"


@dataclass(frozen=True)
class PriceCache:
    """Files `[first line: JSON header with a digest of the body and the day it was fetched] [one line a
    day: day,price]` in one directory.

    A file is written beside its place and moved there, so that it is whole or absent. A file that does not
    match its digest or its name is set aside under another name and counts as absent.
    """

    directory: Path

    def path(self, entry: Entry) -> Path:
        """The file of an entry; any ticker makes a legal name."""
        adjustment = hashlib.sha256(entry.adjustment.encode()).hexdigest()[:8]
        return self.directory / f"{quote(entry.ticker, safe='^=')}_{entry.start}_{entry.end}_{adjustment}.csv"

    def load(self, entry: Entry) -> Stored | None:
        """What was stored, or None.

        Raises:
            VhatError: when the directory cannot be read or a damaged file cannot be set aside.
        """
        path = self.path(entry)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise VhatError(f"the price cache at {path} cannot be read ({error.strerror})") from error
        try:
            return _decode(data, entry)
        except ValueError as error:
            self._set_aside(path, str(error))
            return None

    def store(self, entry: Entry, series: Series, fetched: str) -> None:
        """Write an entry, fetched on that day (ISO); after this returns the file is whole, whatever happens
        to the process.

        Raises:
            VhatError: when the directory cannot be written.
        """
        try:
            write_whole(self.path(entry), _encode(entry, series, fetched))
        except OSError as error:
            raise VhatError(
                f"the price cache at {self.directory} cannot be written ({error.strerror}); "
                "set VHAT_CACHE to a directory that can"
            ) from error

    def _set_aside(self, path: Path, reason: str) -> None:
        number = 1
        while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
            number += 1
        try:
            path.replace(aside)
        except FileNotFoundError:
            return  # another process was faster
        except OSError as error:
            raise VhatError(
                f"{path} is damaged ({reason}) and cannot be set aside ({error.strerror})"
            ) from error
        _log.warning("the cached prices %s are damaged (%s): set aside as %s", path, reason, aside.name)


def _encode(entry: Entry, series: Series, fetched: str) -> bytes:
    days, close = series
    lines = zip(np.datetime_as_string(days, unit="D").tolist(), close.tolist(), strict=True)
    # repr of a float is the shortest text that reads back to the same bits.
    body = "".join(f"{day},{price!r}\n" for day, price in lines).encode()
    header = {**_expected(entry, body, fetched), "fetched": fetched}
    return json.dumps(header).encode() + b"\n" + body


def _expected(entry: Entry, body: bytes, fetched: str) -> dict[str, str]:
    digest = hashlib.sha256(fetched.encode() + b"\n" + body).hexdigest()
    return {"format": "vhat prices 2", "sha256": digest, **asdict(entry)}


def _decode(data: bytes, entry: Entry) -> Stored:
    """What a file's bytes hold; ValueError says what is wrong with them."""
    first, newline, body = data.partition(b"\n")
    if not newline:
        raise ValueError("it has no header")
    try:
        header = json.loads(first)
    except (ValueError, RecursionError):
        raise ValueError("its header cannot be read") from None
    fetched = str(header.get("fetched")) if isinstance(header, dict) else ""
    for name, value in _expected(entry, body, fetched).items():
        if not isinstance(header, dict) or header.get(name) != value:
            raise ValueError(f"its {name} does not match")
    rows = [line.split(",") for line in body.decode().splitlines()]
    days = np.array([row[0] for row in rows], dtype="datetime64[D]")
    return Stored((days, np.array([float(row[1]) for row in rows], dtype=np.float64)), fetched)
