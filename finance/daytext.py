"""Days written as text, all in one time zone or all without."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence

import numpy as np

from core.lab.errors import VhatError
from finance.prices import Days

_SUMMER = datetime.timedelta(hours=1)  # by which one zone's offset changes over a year


def read_days(cells: Sequence[str], place: Callable[[int], str]) -> Days:
    """The days `[T]` of ISO texts (2020-03-16, with or without a time of day); a text with a zone gives the
    day in that zone.

    Args:
        cells: T texts.
        place: where cell i stands, for an error.

    Raises:
        VhatError: for a text that is no day; or when zones are mixed, because then nobody knows which day is
            meant: some texts with a zone and some without, or offsets further apart than summer time.
    """
    days, zones, first = [], dict[datetime.timedelta | None, int](), ""
    for i, cell in enumerate(cells):
        text = cell.strip()
        try:
            moment = datetime.datetime.fromisoformat(text)
        except ValueError:
            raise VhatError(f"{place(i)}: {cell!r} is not a day (write it like 2020-03-16)") from None
        days.append(moment.date())
        zones.setdefault(moment.utcoffset(), i)
        first = first or text
        offsets = [zone for zone in zones if zone is not None]
        if len(offsets) < len(zones) and offsets:
            raise VhatError(
                f"{place(i)}: {text!r} and {first!r} mix days with a time zone and days without; "
                "write all of them alike"
            )
        if offsets and max(offsets) - min(offsets) > _SUMMER:
            raise VhatError(f"{place(i)}: {text!r} and {first!r} stand in different time zones; take one")
    return np.array(days, dtype="datetime64[D]")
