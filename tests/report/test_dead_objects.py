"""While pages are drawn nobody looks for dead objects, until they are many; none is left in the end."""

from __future__ import annotations

import gc
import weakref

import pytest

from core.lab.report import material
from core.lab.report.material import swept, undisturbed


class Loop:
    """Refers to itself, so that only a search finds it dead."""

    def __init__(self) -> None:
        self.own = self


def dead() -> weakref.ref[Loop]:
    return weakref.ref(Loop())


def test_dead_objects_stay_inside_and_are_gone_afterwards() -> None:
    assert gc.isenabled()
    with undisturbed():
        assert not gc.isenabled()
        left = dead()
        swept()
        assert left() is not None
    assert left() is None
    assert gc.isenabled()


def test_many_dead_objects_are_removed_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(material, "_MANY", 1000)
    with undisturbed():
        left = [dead() for _ in range(2000)]
        swept()
        assert not any(own() for own in left)


def test_whoever_wants_no_search_keeps_it_so() -> None:
    gc.disable()
    try:
        with undisturbed():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
