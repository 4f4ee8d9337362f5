"""Run every study, write the report, print the verdict table and where the report lies.

Stored results are reused and a stopped run goes on where it was, so calling this twice costs little.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.lab.commands import print_verdicts, run_studies, write_report
from core.lab.terminal import guarded


@dataclass
class Args:
    """Every study, one report."""

    plan: Literal["tiny", "quick", "full"] = "quick"
    """tiny: a smoke test; quick: minutes; full: hours"""
    out: Path = Path("out")
    """folder of the results and the report"""
    workers: int | None = None
    """processes; default: one a core"""
    device: str = "cpu"
    """where it is computed"""


def main(args: Args) -> None:
    """Run, report, and say where it lies."""
    # Judged once, by the report.
    run_studies((), args.plan, None, args.device, args.out, args.workers, judged=False)
    index = write_report(args.plan, None, args.device, args.out, args.workers, tell=print_verdicts)
    print(f"\nOpen {index.resolve().as_uri()}")


if __name__ == "__main__":
    arguments = tyro.cli(Args, description=__doc__)
    sys.exit(guarded(lambda: main(arguments)))
