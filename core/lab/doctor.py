"""`vhat doctor`: a look at this machine and these results in seconds, or, in full, every promise tried again.

The quick look (`core.lab.looks`) changes nothing in the folder of results. The full one (`core.lab.retrial`)
runs the tests that try to break the promises (`core.lab.trust`) and keeps what they count beside the results.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.lab.errors import VhatError
from core.lab.looks import look_around
from core.lab.retrial import retry_promises, verdict_on
from core.lab.study import Table
from core.lab.tables import text_table
from core.lab.trust import FOLDER, standings, stored_trials, trust_text


def examine_machine(results: Path, device: str, *, full: bool, show: Callable[[str], None]) -> None:
    """The command: look around; with `full` try every promise again.

    Raises:
        VhatError: one line, if a check is wrong or a promise is broken.
    """
    checks = list(look_around(results, device))
    show(text_table(Table("", ("check", "state", "found"), tuple((c.what, c.state, c.said) for c in checks))))
    wrong = [c for c in checks if c.state == "wrong"]
    if wrong:
        raise VhatError(f"wrong: {'; '.join(f'{c.what}: {c.said}' for c in wrong)}")
    folder = results.parent / FOLDER
    passed = True
    if full:
        found, passed = retry_promises(folder)
    else:
        found = standings(stored_trials(folder)[0])
    if full or any(s.date for s in found):
        show("\n" + trust_text(found))
    verdict_on(found, passed=passed)
