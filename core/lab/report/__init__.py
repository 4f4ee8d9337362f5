"""The report: static HTML pages that open from disk, with no network; only the explorer has scripts."""

from core.lab.report.build import build_report
from core.lab.report.entry import Entry, Provenance

__all__ = ["Entry", "Provenance", "build_report"]
