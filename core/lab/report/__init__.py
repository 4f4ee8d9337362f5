"""The report: static HTML pages that open from disk, with no network. The explorer and films have scripts."""

from core.lab.report.build import build_report
from core.lab.report.entry import Entry, Provenance, Stored

__all__ = ["Entry", "Provenance", "Stored", "build_report"]
