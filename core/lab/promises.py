"""What vhat promises about its results, which tests try to break each promise, and how much must be tried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

EVERY_STUDY = "every study"
"""A count to reach: as many as there are studies."""


@dataclass(frozen=True)
class Promise:
    """A promise and how it is tried.

    Attributes:
        name: of its figures.
        text: the promise.
        tried: how tests try to break it.
        goal: the figure to reach, in words.
        tests: files of tests, or single tests, that try it.
        least: counts to reach before the promise counts as tried, by what is counted: a number or
            `EVERY_STUDY`.
        each: what a test that counts nothing itself is counted as.
    """

    name: str
    text: str
    tried: str
    goal: str
    tests: tuple[str, ...]
    least: Mapping[str, int | str] = field(default_factory=dict)
    each: str = "tests"


_COMMANDS = "tests/crash/test_commands.py"
_KILLED = (
    "test_a_command_with_two_workers_is_killed",
    "test_commands_with_two_workers_are_killed_at_random_instants",
)
_THREADS = (
    "tests/finance/test_finance_studies.py::"
    "test_shards_have_the_same_bits_however_many_threads_linear_algebra_may_use"
)
PROMISES = (
    Promise(
        "kill",
        "A run that is killed at any moment loses at most the shard in flight, and ends in the same bits.",
        "A child kills itself with SIGKILL at the n-th statement of the store, sqlite instruction, byte, "
        "fsync, rename, deletion or step of training, at each system call by which sqlite changes a file, in "
        "the middle of a write, or is killed at a random instant; it is run again and every row is compared. "
        "`vhat run --workers 2` is killed at random instants, alone and with its workers.",
        "at least 200 kill points, all identical, no stray file",
        ("tests/crash/test_kill.py", *(f"{_COMMANDS}::{name}" for name in _KILLED)),
        {"kill points": 200, "kill points at system calls": 100, "killed commands with two workers": 10},
    ),
    Promise(
        "damage",
        "A damaged store or file is noticed, said in one line, and computed again.",
        "Flipped bits, cuts, appended, zeroed, garbled, exchanged and inserted bytes in stores, price "
        "caches, people's own files, benchmarks and what a report keeps, and in the log and its index that a "
        "killed run leaves; stores of another version; a read-only and a full disk, which then has room "
        "again.",
        "at least 1,000 damages, none silent, none with a traceback",
        ("tests/crash/test_damage.py", "tests/lab/test_report_kept.py"),
        {"damages": 1000, "damaged logs of killed runs": 100, "stores of another version": 5},
    ),
    Promise(
        "same-bits",
        "The same bits for any shard size, worker count, engine and order of variants.",
        "Every study in a small plan with shards of three sizes in this process, in two others and on a Dask "
        "cluster, and with its variants and cells the other way round. In its quick plan every study on the "
        "same three engines, on each with its seeds in another number of shards (one, two, three; two seeds "
        "make one), on one of them the other way round: three of the nine pairs of engine and size a study, "
        "all nine over nine studies. Shards of portfolios with linear algebra allowed one, two and four "
        "threads. Every array is compared.",
        "every study, all arrays identical",
        ("tests/crash/test_same_bits.py", "tests/crash/test_rounding.py", _THREADS),
        dict.fromkeys(
            (
                "studies in shards of three sizes",
                "studies the other way round",
                "studies in two other processes",
                "studies on a Dask cluster",
                "quick plans on three engines, one the other way round",
            ),
            EVERY_STUDY,
        ),
    ),
    Promise(
        "replicas",
        "One replica harms no other.",
        "NaN, infinity and huge numbers take the place of one replica's field in every problem that a study "
        "trains or measures; the others are compared bit by bit with a run without the fault.",
        "all problems of all studies, all others identical",
        ("tests/crash/test_replicas.py",),
        {"studies with a broken replica": EVERY_STUDY, "whole lists of classes of problems": 1},
    ),
    Promise(
        "lost-worker",
        "A lost worker or scheduler loses no result.",
        "SIGKILL to a Dask worker in the middle of a shard, to all that come after it, to the scheduler, and "
        "to the process that asked; a scheduler that hangs.",
        "the study ends; or one clear line, and a resume that ends",
        ("tests/crash/test_cluster.py",),
        {"workers killed": 7, "schedulers killed or hung": 2, "askers killed": 1},
    ),
    Promise(
        "bad-input",
        "Bad input gets one clear line.",
        "Unknown names, rates of 0, NaN, no seeds, empty grids, folders that cannot be written, wrong shapes "
        "and types, old stores, closed pipes, bad CSV files, problems that break the contract: to every "
        "command, script and public function.",
        "at least 80 cases: an exit code other than 0 or a typed error, one line, no traceback",
        ("tests/cli/test_bad_command_lines.py", "tests/cli/test_bad_calls.py"),
        {"cases": 80},
        "cases",
    ),
    Promise(
        "untrusted",
        "Nothing untrusted runs.",
        "The syntax tree of every source file is searched for pickle, eval, exec, marshal, torch.load, "
        "yaml.load, shell=True and numpy.load with pickles; markup in names goes through the report; "
        "random bytes and changed bytes in place of every file that is read.",
        "none found, all markup escaped, no file believed that is not whole",
        ("tests/test_untrusted.py", "tests/fuzz"),
        {"source files": 100, "changed files": 1000},
    ),
    Promise(
        "memory",
        "Long work stays small.",
        "Memory of a process over tens of thousands of steps and thousands of shards, with a fixed number of "
        "recorded points, and of two workers over hundreds of shards of a study on prices; its growth in the "
        "second half, as the median of five windows.",
        "memory does not grow with steps or shards beyond what is recorded",
        ("tests/crash/test_memory.py",),
        {
            "long runs of steps": 2,
            "long runs of shards": 2,
            "long runs of shards of a study in two processes": 1,
        },
    ),
    Promise(
        "two-processes",
        "Two processes on one store share the work.",
        "The same study run by two and three processes at once; one of two killed at a statement of the "
        "store or a random instant.",
        "both end right, no shard computed twice",
        ("tests/crash/test_two_processes.py", f"{_COMMANDS}::test_two_commands_at_once_share_one_study"),
        {"runs at once": 20, "commands with two workers at once": 2},
    ),
)


def promise_of(test: str) -> Promise | None:
    """The promise that a test tries, by its name as pytest gives it."""
    for promise in PROMISES:
        if any(test == own or test.startswith((f"{own}::", f"{own}/", f"{own}[")) for own in promise.tests):
            return promise
    return None
