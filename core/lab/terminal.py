"""Errors at a terminal: one line, an exit code, no traceback. For the command line and for scripts."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Callable

from core.lab.errors import VhatError


def guarded(action: Callable[[], None], *, resume: str = "run the same command again") -> int:
    """Run an action for a person at a terminal: an error is one line on standard error, and the exit code is
    returned.

    Set VHAT_DEBUG=1 to see the traceback as well.
    """
    try:
        action()
        sys.stdout.flush()
    except VhatError as error:
        return _fail(f"error: {error}", error.exit_code, getattr(error, "trace", ""))
    except KeyboardInterrupt:
        return _fail(f"stopped; finished shards are kept: {resume} to go on", 130)
    except BrokenPipeError:
        # The reader has gone (as in `vhat list | head`); nothing more can be said to it.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        text = " ".join(str(error).split()) or "no message"
        return _fail(
            f"error: unexpected {type(error).__name__}: {text}; this is a bug in vhat: "
            "set VHAT_DEBUG=1 to see where",
            70,
        )
    return 0


def _fail(line: str, code: int, trace: str = "") -> int:
    say(line)
    if os.environ.get("VHAT_DEBUG"):
        say(trace or traceback.format_exc())
    return code


def say(line: str) -> None:
    """A line on standard error."""
    sys.stderr.write(f"{line}\n")
