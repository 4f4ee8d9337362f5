"""Who computes a shard: a process, told apart from every other that had or will have its id.

A name is the machine's boot, the process id, and when that process started. A process in another container
or on another machine looks as if it had ended: what it claimed may be computed twice, to the same bits.
"""

from __future__ import annotations

import os
import subprocess
from functools import cache
from pathlib import Path

_PROC = Path("/proc")


def this_process() -> str:
    """The name of the calling process."""
    pid = os.getpid()
    return f"{_boot()}/{pid}/{_born(pid)}"


def is_alive(owner: str) -> bool:
    """Whether the process of that name still runs; False for anything that is no such name."""
    boot, pid, born = owner.split("/") if owner.count("/") == 2 else ("", "", "")
    return boot == _boot() and pid.isdecimal() and born != "" and _born(int(pid)) == born


def pid_of(owner: str) -> str:
    """The process id in a name."""
    return owner.split("/")[1] if owner.count("/") == 2 else owner


@cache
def _boot() -> str:
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return "boot"


def _born(pid: int) -> str:
    """When a process started; empty if there is none, or if it has ended and its parent has not looked."""
    if (_PROC / "self/stat").exists():
        try:
            # The name in parentheses may hold anything: count from its end. State first, start as the 20th.
            fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return ""
        return "" if fields[0] in (b"Z", b"X") else fields[19].decode("ascii")
    told = subprocess.run(
        ["ps", "-o", "state=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split()
    return "" if not told or told[0].startswith("Z") else "-".join(told[1:])
