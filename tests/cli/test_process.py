"""vhat as a process of its own: Ctrl-C, a reader that has gone, and the module as a program."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.tiny_bowl import run, stored

pytestmark = pytest.mark.usefixtures("only_the_tiny_bowl")

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys
from core.lab import commands
from core.cli import main
from tests.lab import bowls
commands.find = lambda name: bowls.REGISTERED
commands.survey = lambda: ({"tiny-bowl": bowls.REGISTERED}, ())
if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "child.py"
    path.write_text(CHILD)
    return path


def start(script: Path, *argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(script), *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        # Buffered as in a shell: what is written to a closed pipe is noticed late.
        env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"} | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_ctrl_c_is_one_line_and_the_same_command_goes_on(workers: str, script: Path, out: Path) -> None:
    # Thousands of seeds: long enough to be interrupted, and each shard is stored as it is done.
    argv = ["run", "tiny-bowl", "--tiny", "--seeds", "3000", "--workers", workers, "--out", str(out)]
    child = start(script, *argv)
    wait_for(out / "results.sqlite")
    # On a busy machine the first shard takes its time. (With two workers it may come while they still start.)
    deadline = time.monotonic() + (60.0 if workers == "1" else 1.0)
    while time.monotonic() < deadline and not (workers == "1" and stored(out)):
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to all processes at once
    stdout, stderr = child.communicate(timeout=60)
    assert child.returncode == 130, stderr
    assert stdout == ""
    assert stderr == "stopped; finished shards are kept: run the same command again to go on\n"
    kept = stored(out)
    if workers == "1":
        assert kept
    assert run(out, "--seeds", "4") == 0
    assert kept.items() <= stored(out).items()


def test_ctrl_c_is_the_parents_from_a_workers_first_moment(script: Path, out: Path) -> None:
    """Workers take seconds to import torch; a Ctrl-C that reached them meanwhile would print their
    tracebacks."""
    argv = ["run", "tiny-bowl", "--tiny", "--workers", "2", "--out", str(out)]
    child = start(script, *argv)
    seen: set[str] = set()
    while child.poll() is None:
        with contextlib.suppress(OSError):
            workers = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
            for worker in workers:
                seen.add(worker)
                os.kill(int(worker), signal.SIGINT)
        time.sleep(0.05)
    stdout, stderr = child.communicate(timeout=60)
    assert len(seen) >= 2
    assert child.returncode == 0, stderr
    assert "tests/tiny-bowl" in stdout
    assert stderr.startswith("1 studies in ")
    assert stderr.count("\n") == 1


def test_a_reader_that_has_gone_is_no_error_message(script: Path) -> None:
    child = start(script, "list")
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    assert child.wait(timeout=60) == 1
    assert child.stderr.read() == ""
    child.stderr.close()


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "core.cli", "run", "--seeds", "x"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
