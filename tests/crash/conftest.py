"""One server of children, and what an undisturbed run leaves."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.crash.children import Children, deadly_library, rows, task


@pytest.fixture(scope="session")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Children]:
    running = Children(deadly_library(tmp_path_factory.mktemp("library")))
    yield running
    running.close()


@pytest.fixture(scope="session")
def undisturbed(children: Children, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole") / "out"
    assert children.run(task(folder)) == [0]
    found = rows(folder)
    assert len(found) > 10
    return found
