"""A report that is built once for a file of tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.lab.report import build_report
from tests.lab import synthetic_study as synthetic


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    return build_report(synthetic.entries(), tmp_path_factory.mktemp("out") / "report")


@pytest.fixture(scope="module")
def report(built: tuple[Path, tuple[str, ...]]) -> Path:
    return built[0].parent
